#!/usr/bin/env -S python3 -B
"""A run that fails, its loss having diverged: the Jobs fail at once and try nothing again; the `ps` stay with their
status page, say why, and so do those that are made anew then."""

import os
import sys
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from deployed import LIMIT, Deployed, world  # noqa: E402  (first: it says where the others are)
from harness import main  # noqa: E402

WHY = "the run has failed: .*the loss has diverged.*"


class FailedRun(Deployed):
    epochs = 1000
    pace = "--pace=20ms"
    ps_flags = (
        "--optimizer=sgd", "--learning_rate=50", "--schedule=constant", "--schedule_total_samples=0",
        "--warmup_samples=0", "--checkpoint_steps=5", "--rollback_on_divergence=2", "--quarantine_after=0",
    )  # fmt: skip

    def test_it_can_be_seen_why(self):
        self.start_cluster()
        jobs = [self.worker, self.evaluator]
        self.cluster.step_until(lambda: all(job.over() for job in jobs), LIMIT, "the Jobs to end")
        for job in jobs:
            self.assertEqual(set(job.failed), set(job.indexes()), self.cluster.everything())
            self.assertRegex(list(job.failed.values())[0], "ended with 4: FailJob", self.cluster.everything())
            self.assertEqual(job.made, job.spec["completions"], "tried again\n" + self.cluster.everything())
        self.until_servers_stay(WHY)
        former = dict(self.ps.pods)
        for pod in former.values():
            pod.delete()
        self.until_ready(former)
        self.until_servers_stay(WHY)
        self.assert_nobody_crashed()
        first = self.ps.pods[0]
        ok, said = first.execute(["/opt/leeway/bin/leeway", "status", "--coordinator=127.0.0.1:50051"], LIMIT)
        self.assertTrue(ok, said)
        self.assertIn("the loss has diverged", said)
        with urllib.request.urlopen(f"http://{first.address}:8080/api/status", timeout=LIMIT) as answer:
            self.assertIn("the loss has diverged", answer.read().decode())
        print("\n".join(self.cluster.story), flush=True)


if __name__ == "__main__":
    world.enter()
    main()
