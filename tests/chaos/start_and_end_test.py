#!/usr/bin/env -S python3 -B
"""Processes that are killed while a run starts, and while it ends: it starts, and ends, all the same.

Many short runs, in each of which one process is killed. LEEWAY_TEST_SEED repeats them.
"""

import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import proof  # noqa: E402
import world  # noqa: E402
from cluster import Cluster, Training  # noqa: E402
from harness import TestCase, main  # noqa: E402

RUNS = 8
LIMIT = 90


class StartAndEnd(TestCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder
        seed = int(os.environ.get("LEEWAY_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"seed: LEEWAY_TEST_SEED={seed}")
        self.draw = random.Random(seed)

    def begin(self, number):
        self.folder = os.path.join(self.root, str(number))
        os.mkdir(self.folder)
        training = Training(epochs=1, policy=["--staleness_bound=8"], worker_flags=["--pace=20ms"])
        training.evaluate = ["--eval_every_epochs=0.5"]
        return Cluster(self, training, links=False)

    def finish(self, cluster):
        cluster.finish(LIMIT)
        try:
            proof.check_journal(self, cluster.keeper.kept, cluster.acknowledged, cluster.final)
            proof.check_leases(self, cluster.keeper.kept, cluster.training.records, cluster.training.epochs)
        except AssertionError as error:
            cluster.fail(str(error)[:4000])
        self.end_all()

    def kill_one(self, cluster):
        target = self.draw.choice(["ps-0", "ps-1", "w0", "eval"])
        if cluster.running(target):
            cluster.say(f"kill {target}")
            cluster.kill(target, self.draw.uniform(0, 0.3))

    def test_killed_while_the_run_starts(self):
        for number in range(RUNS):
            cluster = self.begin(number)
            until = time.monotonic() + self.draw.uniform(0, 0.8)
            cluster.step_until(lambda: time.monotonic() > until, LIMIT, "the start")
            self.kill_one(cluster)
            self.finish(cluster)

    def test_killed_while_the_run_ends(self):
        for number in range(RUNS):
            cluster = self.begin(number)
            cluster.step_until(lambda: cluster.progress() >= 1, LIMIT, "the last push")
            until = time.monotonic() + self.draw.uniform(0, 0.3)
            cluster.step_until(lambda: time.monotonic() > until, LIMIT, "the end")
            self.kill_one(cluster)
            self.finish(cluster)


if __name__ == "__main__":
    world.enter()
    main()
