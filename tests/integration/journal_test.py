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
    def journaled(self, *flags, ps=""):
        self.directory = os.path.join(self.folder, "checkpoints")
        return self.run_leeway("--num_ps=2", f"--ps_flags=--checkpoint_dir={self.directory} {ps}", *flags)

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

    def test_delay_compensation_is_reproduced_bit_for_bit_also_when_a_ps_is_killed(self):
        run = self.journaled(
            *["--num_workers=3", "--epochs=9", "--pace=10ms", "--restart_ps", "--delay_policy=dc", "--dc_lambda=2"],
            *["--staleness_bound=-1", "--push_encoding=int8", "--pull_encoding=bf16"],
            ps="--keep_journal",
        )
        run.wait_until_training()
        os.kill(run.pid_of("ps-1"), signal.SIGKILL)
        run.wait_for_log("ps-0", re.escape("ps 1 is back"))
        summary = run.finish()
        self.assertEqual(summary["samples"], 9 * 2000)
        self.assertEqual(len(self.check_replay(run)), 2 * summary["steps"])
        # Bit for bit is something to show only where there were corrections. (What was read from the killed process has
        # none.)
        listed = re.findall(r"^(\d+):\d+ APPLIED .*?(, corrected)?$", self.replay("--replay_list"), re.MULTILINE)
        for shard in ("0", "1"):
            corrected = [bool(mark) for index, mark in listed if index == shard]
            self.assertGreater(sum(corrected), 0.9 * len(corrected))

    def test_every_checkpoint_and_the_journal_behind_it_lead_to_the_same_weights(self):
        run = self.journaled(
            *["--num_workers=3", "--epochs=3", "--optimizer=ftrl", "--l1=0.1", "--pace=10ms"],
            ps="--checkpoint_steps=20 --checkpoint_keep=1000",
        )
        run.finish()
        expected = weights(run.path("final.safetensors"))
        path = os.path.join(self.folder, "from.safetensors")
        starts = sorted(name for name in os.listdir(self.directory) if name.startswith("step-"))
        self.assertGreaterEqual(len(starts), 2)  # one while it trained, and the last
        records = []
        for start in starts:
            output = self.replay(f"--replay_from={start}", f"--replay_weights={path}")
            self.assertEqual(weights(path), expected, f"{start}\n{output}")
            records.append(int(output.splitlines()[2].split()[1]))
        self.assertEqual(records, sorted(records, reverse=True))  # later ones have less behind them
        self.assertGreater(records[0], records[-1])
        # It stops at a record from a checkpoint as from the beginning.
        listed = self.replay("--replay_list", f"--replay_from={starts[0]}")
        some = [int(record) for record in re.findall(r"^0:(\d+) APPLIED", listed, re.MULTILINE)][10]
        last = [
            self.replay(f"--replay_until=0:{some}", *start).splitlines()[-1]
            for start in ((), (f"--replay_from={starts[0]}",))
        ]
        self.assertEqual(last[0], last[1])
        self.assertNotEqual(last[0], self.replay().splitlines()[-1])
        early = [LEEWAY, "replay", self.directory, "--replay_until=0:1", f"--replay_from={starts[-1]}"]
        refused = subprocess.run(early, capture_output=True, text=True, timeout=LIMIT)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("an earlier one is needed", refused.stderr)

    def test_without_the_first_records_a_replay_begins_at_the_oldest_checkpoint(self):
        run = self.journaled(
            *["--num_workers=2", "--epochs=9", "--pace=15ms", "--restart_ps"],
            ps="--checkpoint_steps=20 --checkpoint_keep=2",
        )
        run.wait_for_log("ps-0", "is committed")
        os.kill(run.pid_of("ps-1"), signal.SIGKILL)  # its journal goes on in another file
        run.finish()
        first = os.path.join(self.directory, "journal", "shard-00001", "00000001.log")
        self.assertFalse(os.path.exists(first))
        path = os.path.join(self.folder, "replayed.safetensors")
        output = self.replay(f"--replay_weights={path}")
        oldest = min(name for name in os.listdir(self.directory) if name.startswith("step-"))
        self.assertRegex(output, f"^from .*/{oldest}\n")
        self.assertEqual(weights(path), weights(run.path("final.safetensors")), output)

    def test_a_run_that_has_gone_back_to_a_checkpoint_that_is_gone_since_is_replayed_from_its_oldest(self):
        def again(number):
            self.runs = 0
            ps = "--checkpoint_steps=20 --checkpoint_keep=1"
            return self.journaled("--num_workers=2", "--epochs=4", "--pace=15ms", f"--num_ps={number}", ps=ps)

        run = again(1)
        run.wait_for_log("ps-0", "is committed")
        run.kill()
        run.wait()
        self.wait_until_gone()
        run = again(2)
        run.finish()
        base = re.search(r"ps 0: goes back to (step-\d+)", run.log("ps-0"))[1]
        self.assertFalse(os.path.exists(os.path.join(self.directory, base)), "this shows nothing")
        self.check_replay(run)

    def test_a_run_in_rounds_is_reproduced_too(self):
        run = self.journaled("--num_workers=2", "--aggregation=round", "--epochs=1")
        run.finish()
        self.check_replay(run)

    def test_a_killed_ps_comes_back_and_nothing_is_lost_or_applied_twice(self):
        run = self.journaled("--num_workers=2", "--epochs=9", "--pace=15ms", "--restart_ps", ps="--keep_journal")
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
        self.assertEqual(second.wait(), 2, second.output())  # it is worth another start: the first one may end
        self.assertRegex(second.output(), "another process has it")
        run.finish()


if __name__ == "__main__":
    main()
