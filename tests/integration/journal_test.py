#!/usr/bin/env -S python3 -B
"""Journals: what a ps has acknowledged it still has when it was killed, and a run can be carried out again."""

import collections
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, LIMIT, PS, TestCase, main, weights  # noqa: E402

# One chunk of one worker's step, applied.
APPLIED = re.compile(r"^(\d+):\d+ APPLIED worker \d+ incarnation (\w+) step (\d+) chunk (\d+) of", re.MULTILINE)


class Journal(TestCase):
    def journaled(self, *flags):
        self.directory = os.path.join(self.folder, "checkpoints")
        return self.run_leeway("--num_ps=2", f"--ps_flags=--checkpoint_dir={self.directory}", *flags)

    def replay(self, *flags):
        return subprocess.run(
            [LEEWAY, "replay", self.directory, *flags], check=True, capture_output=True, text=True, timeout=LIMIT
        ).stdout

    def check_replay(self, run):
        """The journals' weights are the run's, bit for bit; nothing was applied twice."""
        path = os.path.join(self.folder, "replayed.safetensors")
        output = self.replay("--replay_list", f"--replay_weights={path}")
        self.assertEqual(weights(path), weights(run.path("final.safetensors")), output)
        applied = collections.Counter(APPLIED.findall(output))
        self.assertEqual([chunk for chunk, times in applied.items() if times > 1], [])
        return applied

    def test_an_asynchronous_run_is_reproduced_bit_for_bit(self):
        run = self.journaled("--num_workers=3", "--epochs=2", "--optimizer=adam", "--learning_rate=0.001")
        summary = run.finish()
        self.assertEqual(len(self.check_replay(run)), 2 * summary["steps"])
        before = self.replay("--replay_until=0:30").splitlines()[-1]
        self.assertNotEqual(before, self.replay().splitlines()[-1])
        self.assertEqual(before, self.replay("--replay_until=0:30").splitlines()[-1])

    def test_a_run_in_rounds_is_reproduced_too(self):
        run = self.journaled("--num_workers=2", "--aggregation=round", "--epochs=1")
        run.finish()
        self.check_replay(run)

    def test_a_killed_ps_comes_back_and_nothing_is_lost_or_applied_twice(self):
        run = self.journaled("--num_workers=2", "--epochs=9", "--pace=15ms", "--restart_ps")
        run.wait_until_training()
        for times in (1, 2):
            os.kill(run.pid_of("ps-1"), signal.SIGKILL)
            run.wait_for_log("ps-0", f"(?s)({re.escape('ps 1 is back')}.*){{{times}}}")
            run.wait_for_log("ps-1", f"(?s)(replayed from.*){{{times}}}")
        summary = run.finish()
        self.assertEqual(summary["samples"], 9 * 2000)
        self.assertEqual(len(self.check_replay(run)), 2 * summary["steps"])

    def test_another_process_cannot_take_a_running_shards_journal(self):
        run = self.journaled("--epochs=9", "--pace=20ms")
        run.wait_until_training()
        flags = ["--num_shards=2", "--shard_index=1", f"--coordinator={run.coordinator()}"]
        second = self.start("second", PS, *flags, f"--checkpoint_dir={self.directory}")
        self.assertNotEqual(second.wait(), 0)
        self.assertRegex(second.output(), "another process has it")
        run.finish()


if __name__ == "__main__":
    main()
