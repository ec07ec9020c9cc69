#!/usr/bin/env -S python3 -B
"""SIGTERM to a worker: it leaves in good order, and the others train on what it had in hand."""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import TestCase, main, worker_of  # noqa: E402


class Preemption(TestCase):
    def test_sigterm_returns_the_leases_and_nobody_waits(self):
        # With a lease of ten minutes, data that was not handed back would never be trained on in time.
        run = self.run_leeway("--num_workers=3", "--epochs=4", "--pace=20ms", "--ps_flags=--lease=10m")
        run.wait_until_training()
        os.kill(run.pid_of("worker-1"), signal.SIGTERM)
        run.wait_for("worker-1 has left the run")  # which says that its exit code was 0
        summary = run.finish()
        self.assertEqual(summary["samples"], 4 * 2000)
        self.assertIn("preempted after", run.log("worker-1"))
        left = worker_of(summary, "worker-1")
        self.assertEqual((left["state"], left["reason"]), ("left", "preempted"))
        self.assertNotIn("is out", run.log("ps-0"))

    def test_sigterm_in_a_round(self):
        run = self.run_leeway(
            "--num_workers=3", "--aggregation=round", "--epochs=2", "--pace=20ms", "--ps_flags=--lease=10m"
        )
        run.wait_until_training()
        os.kill(run.pid_of("worker-2"), signal.SIGTERM)
        run.wait_for("worker-2 has left the run")
        self.assertEqual(run.finish()["steps"], 2 * 14)  # 667 records of a rank in batches of 50


if __name__ == "__main__":
    main()
