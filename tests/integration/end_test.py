#!/usr/bin/env -S python3 -B
"""Where training ends, and how the next one starts from its weights."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import TestCase, main, weights, worker_of  # noqa: E402

TWO = ["--num_ps=2", "--num_workers=2", "--pace=5ms"]
NO_CHANGE = "--learning_rate=1e-30"


class End(TestCase):
    def test_steps(self):
        summary = self.run_leeway(*TWO, "--steps=30").finish()
        self.assertEqual(summary["stop_reason"], "30 steps are done")
        self.assertGreaterEqual(summary["steps"], 30)
        # Workers go on until they have heard of the end: some steps, on a slow machine many, but it comes.
        self.assertLess(summary["accepted_pushes"], 600)

    def test_steps_in_rounds_are_exact(self):
        summary = self.run_leeway(*TWO, "--aggregation=round", "--steps=12", "--ps_flags=--lease=10m").finish()
        self.assertEqual((summary["steps"], summary["samples"]), (12, 12 * 2 * 50))

    def test_minutes(self):
        summary = self.run_leeway(*TWO, "--minutes=0.02").finish()
        self.assertIn("minute", summary["stop_reason"])
        self.assertGreaterEqual(summary["seconds"], 1.2)

    def test_target_metric(self):
        summary = self.run_leeway(*TWO, "--target_metric=accuracy:0.6", "--epochs=1000").finish()
        self.assertIn("accuracy", summary["stop_reason"])
        self.assertGreaterEqual(summary["best_accuracy"], 0.6)

    def test_patience(self):
        # At this rate no weight changes, so nothing becomes better.
        often = "--eval_every_epochs=0.1"
        summary = self.run_leeway(
            *TWO, "--target_metric=accuracy", "--patience=2", NO_CHANGE, often, "--epochs=1000"
        ).finish()
        self.assertIn("accuracy", summary["stop_reason"])
        self.assertGreaterEqual(len(summary["evaluations"]), 3)
        self.assertLess(summary["samples"], 1000 * 2000)

    def test_a_worker_with_max_steps_leaves_and_the_others_finish(self):
        run = self.run_leeway(*TWO, "--epochs=3", "--worker_flags=1:--max_steps=5")
        summary = run.finish()
        self.assertIn("done after 5 steps", run.log("worker-1"))
        self.assertEqual(worker_of(summary, "worker-1")["steps"], 5)
        self.assertEqual(summary["samples"], 3 * 2000)

    def test_init_from_final_and_best_weights(self):
        first = self.run_leeway(*TWO, "--epochs=3")
        before = first.finish()
        for name, expected in (("final", before["final_accuracy"]), ("best", before["best_accuracy"])):
            start = first.path(name + ".safetensors")
            # At this rate no weight changes.
            run = self.run_leeway(*TWO, "--epochs=1", NO_CHANGE, f"--init_from={start}")
            after = run.finish()
            self.assertEqual(after["final_accuracy"], expected)
            self.assertEqual(weights(run.path("final.safetensors")), weights(start))


if __name__ == "__main__":
    main()
