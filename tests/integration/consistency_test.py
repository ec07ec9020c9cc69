#!/usr/bin/env -S python3 -B
"""The bounds of the consistency flags, as the histograms of whole runs show them."""

import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, LIMIT, TestCase, main, worker_of  # noqa: E402

JITTER = ["--num_workers=3", "--pace=4ms", "--jitter=1", "--batch=20"]


class Consistency(TestCase):
    def finish(self, *flags):
        """The summary of a run of two epochs."""
        return self.run_leeway("--num_ps=2", "--epochs=2", *JITTER, *flags).finish()

    def test_clocks_differ_by_at_most_one_more_than_the_bound(self):
        for bound in (1, 3):
            with self.subTest(bound=bound):
                summary = self.finish(f"--staleness_bound={bound}")
                self.assertEqual(summary["samples"], 2 * 2000)
                self.assertLessEqual(summary["gap"]["max"], bound + 1)
                self.assertEqual(len(summary["gap"]["counts"]), summary["gap"]["max"] + 1)
                self.assertGreater(sum(summary["gap"]["counts"]), 200)
                self.assertGreater(sum(shard["pulls_blocked"] for shard in summary["shards"]), 0)

    def test_no_push_with_the_greatest_delay_is_accepted(self):
        summary = self.finish("--staleness_bound=-1", "--max_delay=2", "--straggle=2:4")
        self.assertEqual(len(summary["delay"]["counts"]), 2)
        # What is refused is handed out again, but not for ever.
        self.assertLessEqual(summary["samples"], 2 * 2000)
        refused = sum(worker["pushes"]["refused"] for worker in summary["workers"])
        self.assertGreater(refused, 0)
        applied = sum(worker["pushes"]["applied"] for worker in summary["workers"])
        self.assertEqual(summary["accepted_pushes"], applied)

    def test_a_limit_that_grows_refuses_at_first(self):
        summary = self.finish("--staleness_bound=-1", "--max_delay=sqrt", "--pipeline_depth=0")
        self.assertEqual(summary["policy"]["max_delay_sqrt"], True)
        refused = sum(worker["pushes"]["refused"] for worker in summary["workers"])
        self.assertGreater(refused, 0)
        # Three workers are hardly ever 5 pushes apart, and the limit is there after 25.
        self.assertLess(refused, 0.5 * summary["accepted_pushes"])
        self.assertGreater(summary["final_accuracy"], 0.5)

    def test_the_slow_worker_is_the_one_whose_pushes_are_refused(self):
        # While it computes one gradient the others push some 40: they must not be refused for its sake.
        summary = self.finish(
            "--staleness_bound=-1", "--max_delay=10", "--pipeline_depth=0", "--jitter=0", "--straggle=2:20"
        )

        def refused_share(name):
            pushes = worker_of(summary, name)["pushes"]
            return pushes["refused"] / (pushes["refused"] + pushes["applied"])

        self.assertGreater(refused_share("worker-2"), 0.5)
        for fast in ("worker-0", "worker-1"):
            self.assertLess(refused_share(fast), 0.1)

    def test_every_other_rule_trains(self):
        for flag, atomicity in (
            ("--delay_policy=scale", "stream"),
            ("--delay_policy=dc", "stream"),
            ("--pipeline_depth=0", "stream"),
            ("--pipeline_depth=2", "stream"),
            ("--push_atomicity=whole", "whole"),
            ("--clip_norm=0.5", "whole"),  # the norm is known only when the whole gradient is
        ):
            with self.subTest(flag=flag):
                summary = self.finish(flag, "--pace=1ms")
                self.assertEqual(summary["samples"], 2 * 2000)
                self.assertGreater(summary["final_accuracy"], 0.5)
                self.assertEqual(summary["policy"]["push_atomicity"], atomicity)

    def test_a_quorum_drops_and_counts_what_comes_late(self):
        run = self.run_leeway(
            "--num_ps=2",
            "--aggregation=round",
            "--round_quorum=2",
            "--num_workers=3",
            "--epochs=1",
            "--pace=10ms",
            "--straggle=2:5",
            "--ps_flags=--lease=10m",
        )
        summary = run.finish()
        dropped = {f"worker-{i}": worker_of(summary, f"worker-{i}")["pushes"]["dropped"] for i in range(3)}
        self.assertGreater(dropped["worker-2"], 0)
        self.assertGreater(dropped["worker-2"], dropped["worker-0"] + dropped["worker-1"])
        self.assertEqual(summary["steps"], 14)  # 667 records of a rank in batches of 50

    def workers(self, run):
        """What `leeway workers` says of each, by name."""
        words = [LEEWAY, "workers", f"--coordinator={run.coordinator()}", "-o", "json"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=True)
        return {worker["name"]: worker for worker in json.loads(done.stdout)}

    def test_a_step_is_given_up_when_its_round_closes_without_it(self):
        # A step of worker 2 takes an hour. It goes on with the open round after each that closes.
        run = self.run_leeway(
            *["--num_ps=2", "--aggregation=round", "--round_quorum=2", "--num_workers=3", "--epochs=100000"],
            *["--pace=10ms", "--worker_flags=2:--pace=1h", "--ps_flags=--lease=10m"],
        )
        run.wait_until_training()
        seen = {}

        def given_up():
            seen.update(self.workers(run))
            steps = [seen[f"worker-{i}"]["progress"]["steps"] for i in range(2)]
            return min(steps) >= 5 and seen["worker-2"]["progress"]["steps_given_up"] >= 5

        self.wait_until(given_up, "5 steps to be given up", lambda: json.dumps(seen, indent=1) + run.everything())
        progress = seen["worker-2"]["progress"]
        self.assertEqual(progress["steps"], 0)
        self.assertEqual(progress["samples"], 0)
        self.assertEqual(progress["pushes_applied"], 0)
        # Of the last one the push may not have ended.
        self.assertIn(progress["steps_given_up"] - progress["pushes_dropped"], (0, 1))
        for fast in ("worker-0", "worker-1"):
            self.assertEqual(seen[fast]["progress"]["steps_given_up"], 0)
        run.kill(signal.SIGINT)
        self.assertEqual(run.wait(), 128 + signal.SIGINT, run.everything())


if __name__ == "__main__":
    main()
