#!/usr/bin/env -S python3 -B
"""Every `ps` with a folder of its own (--checkpoint_storage=own): checkpoints are kept by ps 0, and read from there."""

import glob
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import ByHand, free_port  # noqa: E402
from harness import LEEWAY, LIMIT, main, weights  # noqa: E402

ROUNDS = ["--aggregation=round", "--staleness_bound=0", "--checkpoint_steps=20"]


class OwnStorage(ByHand):
    def folder_of(self, index):
        return f"{self.checkpoint_dir()}.{index}"

    def start_ps(self, index, port, *flags, name=None):
        own = [f"--checkpoint_dir={self.folder_of(index)}", "--checkpoint_storage=own"]
        return super().start_ps(index, port, *own, *flags, name=name)

    def committed(self):
        return sorted(glob.glob(f"{self.folder_of(0)}/step-*/COMMITTED"))

    def kill(self, *servers):
        for server in servers:
            server.kill()
        for server in servers:
            server.wait()

    def assert_only_its_own(self, index):
        """Its journal, and nothing of a checkpoint."""
        self.assertTrue(os.listdir(f"{self.folder_of(index)}/journal/shard-{index:05}"))
        left = glob.glob(f"{self.folder_of(index)}/step-*") + glob.glob(f"{self.folder_of(index)}/outgoing/*/*")
        self.assertEqual(left, [])

    def test_a_ps_is_killed_loses_its_folder_and_the_number_of_ps_changes(self):
        self.cluster = "undisturbed"
        self.start_cluster(*ROUNDS)
        self.assert_all([])
        expected = weights(self.final)
        self.cluster = "disturbed"
        self.start_cluster(*ROUNDS)
        self.wait_until(lambda: len(self.committed()) >= 2, "two checkpoints", self.everything)

        # Killed: its newest checkpoint is ps 0's, the journal behind it its own.
        killed = [self.servers[1]]
        self.kill(*killed)
        again = self.start_ps(1, 0, name="ps-1-again")
        self.servers.append(again)
        again.wait_for(f"restored from 127.0.0.1:{self.port}/step-[0-9]+")
        self.servers[0].wait_for("ps 1 is back")

        # Its volume is lost: everybody goes back.
        newest = self.committed()[-1]
        self.wait_until(lambda: self.committed()[-1] > newest, "another checkpoint", self.everything)
        killed.append(again)
        self.kill(again)
        self.assert_only_its_own(1)
        shutil.rmtree(self.folder_of(1))
        self.servers.append(self.start_ps(1, 0, name="ps-1-empty"))
        self.servers[0].wait_for("goes back from .* steps to step-")
        self.servers[-1].wait_for("goes back to step-(.|\n)*restored from 127.0.0.1")

        # Another number of them, one of which shares ps 0's folder this time.
        killed += [self.servers[0], self.servers[-1]]
        self.kill(*killed[-2:])
        self.num_shards = 3
        shared = [f"--checkpoint_dir={self.folder_of(0)}", "--checkpoint_storage=shared"]
        self.servers.append(self.start_ps(0, self.port, *ROUNDS, name="ps-0-of-3"))
        self.servers.append(self.start_ps(1, 0, *shared, name="ps-1-of-3"))
        self.servers.append(self.start_ps(2, 0, name="ps-2-of-3"))
        self.servers[-3].wait_for("the run goes on from .* of 2 ps and .* with 3 ps")
        self.assert_all(killed)
        self.assertEqual(weights(self.final), expected, self.everything())
        self.assert_only_its_own(2)
        subprocess.run([LEEWAY, "checkpoint", "verify", self.folder_of(0)], check=True, timeout=LIMIT)
        exported = f"{self.folder}/exported.safetensors"
        subprocess.run([LEEWAY, "export", self.folder_of(0), "-o", exported], check=True, timeout=LIMIT)
        self.assertEqual(weights(exported), expected)

    def test_a_ps_that_finds_no_ps_0_waits_says_so_and_ends(self):
        self.port = free_port()
        waits = self.start_ps(1, 0, name="waits")
        gives_up = self.start_ps(1, 0, f"--checkpoint_dir={self.folder}/other", "--start_timeout=1s", name="gives-up")
        self.assertEqual(gives_up.wait(), 2, gives_up.output())
        self.assertRegex(gives_up.output(), f"ps 0 at 127.0.0.1:{self.port}.* gave no answer within 1s: ")
        waits.wait_for(f"waits for ps 0 at 127.0.0.1:{self.port}, which keeps the checkpoints: .*")
        waits.kill(signal.SIGTERM)
        self.assertEqual(waits.wait(), 0, waits.output())

    def test_what_cannot_work_is_said_in_one_line(self):
        self.port = free_port()
        self.start_ps(0, self.port, "--checkpoint_dir=", "--checkpoint_storage=shared")
        keeps_none = self.start_ps(1, 0)
        self.assertEqual(keeps_none.wait(), 1, keeps_none.output())
        self.assertRegex(keeps_none.stderr(), "ps 0 has no --checkpoint_dir: allowed: .*")
        for flags, says in (
            (["--checkpoint_dir="], "--checkpoint_storage=own: .*only with --checkpoint_dir"),
            (["--checkpoint_storage=mine"], "--checkpoint_storage=mine: .*shared or own"),
        ):
            wrong = self.start_ps(1, 0, *flags, name=says[:28].replace("=", "-"))
            self.assertEqual(wrong.wait(), 1, wrong.output())
            self.assertRegex(wrong.stderr(), says)
            self.assertEqual(len(wrong.stderr().strip().splitlines()), 1, wrong.stderr())


if __name__ == "__main__":
    main()
