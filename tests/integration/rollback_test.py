#!/usr/bin/env -S python3 -B
"""A run that goes back to a checkpoint: everybody goes back together, and every record of it is trained on once."""

import glob
import os
import re
import shutil
import signal
import sys
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import EPOCHS, ByHand  # noqa: E402
from harness import main, weights  # noqa: E402

ROUNDS = ["--aggregation=round", "--staleness_bound=0"]
# With this rate the loss is beyond all bounds after some steps, again and again.
DIVERGING = ["--learning_rate=50", "--checkpoint_steps=5", "--rollback_on_divergence=2", "--quarantine_after=0"]


class Rollback(ByHand):
    def restart(self, index, *flags, name):
        server = self.servers[index]
        server.kill()
        server.wait()
        self.servers.append(self.start_ps(index, self.port if index == 0 else 0, *flags, name=name))
        return server

    def committed(self):
        return sorted(glob.glob(f"{self.checkpoint_dir()}/step-*/COMMITTED"))

    def undisturbed(self):
        """The final weights of a run in rounds to which nothing happens."""
        self.cluster = "undisturbed"
        self.start_cluster(*ROUNDS)
        self.assert_all([])
        expected = weights(self.final)
        self.cluster = "disturbed"
        return expected

    def test_without_a_journal_rounds_give_the_same_weights_whoever_was_killed(self):
        expected = self.undisturbed()
        flags = [*ROUNDS, "--journal=off", "--checkpoint_steps=20"]
        # ps 1 keeps a journal, and goes back although it would not need to.
        self.start_cluster(*flags)
        self.wait_until(lambda: len(self.committed()) >= 2, "two checkpoints", self.everything)
        killed = self.restart(0, *flags, name="ps-0-again")
        self.servers[-1].wait_for("goes back from .* steps to step-")
        self.assert_all([killed])
        self.assertEqual(weights(self.final), expected, self.everything())

    def test_a_damaged_journal_takes_everybody_back(self):
        self.start_cluster("--journal=on", "--checkpoint_steps=20")
        self.wait_until(lambda: len(self.committed()) >= 1, "a checkpoint", self.everything)
        # What it wrote is damaged in the middle, where no killed process leaves anything.
        killed = self.servers[1]
        killed.kill()
        killed.wait()
        files = sorted(glob.glob(f"{self.checkpoint_dir()}/journal/shard-00001/*.log"))
        size = os.path.getsize(files[-1])
        with open(files[-1], "r+b") as file:
            file.seek(size // 2)
            byte = file.read(1)
            file.seek(size // 2)
            file.write(bytes([byte[0] ^ 0xFF]))
        self.servers.append(self.start_ps(1, 0, name="ps-1-again"))
        self.servers[0].wait_for("goes back from .* steps to step-")
        self.assertRegex(self.servers[-1].output(), r"cannot go on from its files: .*\.log")
        self.assert_all([killed])

    def lose_the_end_of_a_journal(self):
        """As after a crash of the machine with --journal=on: what is left is sound, but answered pushes are missing."""
        self.wait_until(lambda: len(self.committed()) >= 1, "a checkpoint", self.everything)
        self.servers[0].wait_for("is committed(.|\n)*evaluation after")
        killed = self.servers[1]
        killed.kill()
        killed.wait()
        last = sorted(glob.glob(f"{self.checkpoint_dir()}/journal/shard-00001/*.log"))[-1]
        os.truncate(last, os.path.getsize(last) - 40000)
        self.servers.append(self.start_ps(1, 0, name="ps-1-again"))
        # The second: a membership that the shard had told of is among what is missing.
        self.servers[0].wait_for("the end of the journal is lost|the weights of generation .* are lost")
        self.servers[0].wait_for("goes back from .* steps to step-")
        self.assert_all([killed])

    def test_the_end_of_a_journal_is_lost_and_the_run_goes_back(self):
        self.start_cluster("--checkpoint_steps=20")
        self.lose_the_end_of_a_journal()

    def test_the_end_of_a_journal_is_lost_in_rounds_and_the_weights_are_the_same(self):
        expected = self.undisturbed()
        self.start_cluster(*ROUNDS, "--checkpoint_steps=20")
        self.lose_the_end_of_a_journal()
        self.assertEqual(weights(self.final), expected, self.everything())

    def test_the_machine_is_lost_before_the_first_checkpoint_by_steps_or_time(self):
        # The journals were not synced: of one nothing is left, of the other half. What was: the checkpoint that is
        # taken when training begins.
        self.start_cluster("--checkpoint_interval=inf")
        self.wait_until(lambda: len(self.committed()) == 1, "the first checkpoint", self.everything)
        killed = list(self.servers)
        for server in killed:
            server.kill()
        for server in killed:
            server.wait()
        for index in (0, 1):
            (journal,) = glob.glob(f"{self.checkpoint_dir()}/journal/shard-{index:05}/*.log")
            os.truncate(journal, 0 if index else os.path.getsize(journal) // 2)
        again = self.start_ps(0, self.port, "--checkpoint_interval=inf", name="ps-0-again")
        self.servers += [again, self.start_ps(1, 0, name="ps-1-again")]
        again.wait_for("goes back from .* steps to step-")
        self.assert_all(killed)

    def test_the_newest_checkpoint_is_damaged_and_the_one_before_is_used(self):
        flags = ["--journal=off", "--checkpoint_steps=10"]
        self.start_cluster(*flags)
        self.wait_until(lambda: len(self.committed()) >= 3, "three checkpoints", self.everything)
        killed = self.servers[0]
        killed.kill()
        killed.wait()
        newest, before = (os.path.dirname(path) for path in self.committed()[:-3:-1])
        with open(glob.glob(f"{newest}/shard-00001-of-00002.safetensors")[0], "r+b") as file:
            file.seek(-5, os.SEEK_END)
            file.write(b"\x55\xaa\x55")
        self.servers.append(self.start_ps(0, self.port, *flags, name="ps-0-again"))
        again = self.servers[-1]
        again.wait_for(f"goes back from .* steps to {os.path.basename(before)}")
        self.assertRegex(again.output(), f"{newest}.*shard-00001-of-00002.safetensors")
        self.assert_all([killed])

    def test_another_number_of_ps_goes_on_from_the_newest_checkpoint(self):
        expected = self.undisturbed()
        self.start_cluster(*ROUNDS, "--checkpoint_steps=20")
        self.wait_until(lambda: len(self.committed()) >= 2, "two checkpoints", self.everything)
        killed = list(self.servers)
        for server in killed:
            server.kill()
        for server in killed:
            server.wait()
        self.num_shards = 3
        self.servers.append(self.start_ps(0, self.port, *ROUNDS, name="ps-0-of-3"))
        self.servers += [self.start_ps(index, 0, name=f"ps-{index}-of-3") for index in (1, 2)]
        self.servers[2].wait_for("the run goes on from .* of 2 ps and .* with 3 ps")
        self.assert_all(killed)
        self.assertEqual(weights(self.final), expected, self.everything())

    def test_of_a_run_only_its_checkpoint_is_there(self):
        self.start_cluster("--checkpoint_steps=20")
        self.wait_until(lambda: len(self.committed()) >= 2, "two checkpoints", self.everything)
        for child in self.servers + self.workers:
            child.kill()
            child.wait()
        name = os.path.basename(os.path.dirname(self.committed()[-1]))
        # Beside its journals the coordinator's state is missed, and the way out is said.
        shutil.rmtree(f"{self.checkpoint_dir()}/coordinator")
        orphaned = self.start_ps(0, self.port, "--checkpoint_steps=20", name="ps-0-orphaned")
        self.assertEqual(orphaned.wait(), 1, orphaned.output())
        way_out = f"remove {self.checkpoint_dir()}/journal .*: then the run goes on from its newest checkpoint, {name}"
        self.assertRegex(orphaned.stderr(), way_out)
        shutil.rmtree(f"{self.checkpoint_dir()}/journal")
        old = self.checkpoint_dir()
        self.cluster = "moved"
        os.rename(old, self.checkpoint_dir())
        self.start_cluster("--checkpoint_steps=20")
        self.assertRegex(self.servers[0].output(), f"the run goes on from .*{name}")
        self.assert_all([])

    def test_a_loss_that_has_diverged_goes_back_and_at_last_ends(self):
        self.start_cluster(*DIVERGING)
        for child in self.servers + self.workers:
            self.assertEqual(child.wait(), 4, child.name + "\n" + self.everything())
            self.assertRegex(child.output(), "the run has failed: .*the loss has diverged", child.name)
        log = self.servers[0].output()
        self.assertGreaterEqual(len(re.findall("the run goes back from", log)), 1, log)
        self.assertRegex(log, "FINISHING: .*the loss has diverged")
        # A worker that is started again all the same, and a ps, hear the same.
        late = self.start_ps(0, self.port, *DIVERGING, name="ps-0-late")
        self.assertEqual(late.wait(), 1, late.output())
        self.assertRegex(late.stderr(), "the run is finished, and has failed: .*the loss has diverged")
        self.assertNotRegex(log, f"{EPOCHS} epochs are done")

    @staticmethod
    def get(server, path):
        """What it answers over HTTP; an error unless that is 200."""
        url = server.wait_for(r"(http://127\.0\.0\.1:\d+)/").group(1)
        with urllib.request.urlopen(url + path, timeout=20) as answer:
            return answer.read().decode()

    def test_a_failed_run_stays_to_be_looked_at(self):
        """With --linger=inf: also a `ps` that is started again then; told to go, each ends with 4."""
        stay = ["--linger=inf", "--http_port=0"]
        self.start_cluster(*DIVERGING, both=stay)
        for worker in self.workers:
            self.assertEqual(worker.wait(), 4, self.everything())
        says = "the run has failed: .*the loss has diverged.*it stays until it is told to go"
        for server in self.servers:
            server.wait_for(says)
        for index, flags in ((1, stay), (0, DIVERGING + stay)):
            self.restart(index, *flags, name=f"ps-{index}-again")
            self.servers[-1].wait_for(says)
        for server in self.servers[2:]:
            self.assertEqual(self.get(server, "/readyz"), "ready\n")
        self.assertIn("the loss has diverged", self.get(self.servers[-1], "/api/status"))
        for server in self.servers[2:]:
            server.kill(signal.SIGTERM)
            self.assertEqual(server.wait(), 4, self.everything())


if __name__ == "__main__":
    main()
