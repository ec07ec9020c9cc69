#!/usr/bin/env -S python3 -B
"""From one worker to many and back while training goes on: everybody ends with 0, nothing is lost or applied twice, and
every record of every epoch is committed once."""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import proof  # noqa: E402
import world  # noqa: E402
from cluster import Cluster, Training  # noqa: E402
from harness import TestCase, main  # noqa: E402

LIMIT = 240  # seconds for each part


class Membership(TestCase):
    most = 16

    def test_one_worker_many_and_one_again(self):
        # The first worker alone makes most of the steps; the others are slow: the run lasts while they come and go.
        training = Training(epochs=100, workers=1, model="softmax", lease=3, policy=["--staleness_bound=-1"])
        training.worker_flags = ["--pipeline_depth=1"]
        cluster = Cluster(self, training, links=False)
        cluster.members["w0"].command.append("--pace=15ms")
        cluster.step_until(lambda: len(cluster.pushes) > 20, LIMIT, "training")

        others = [f"w{i}" for i in range(1, self.most)]
        for name in others:
            cluster.add_worker(name, "--pace=1s")
        trained = lambda: sum(  # noqa: E731
            cluster.members[name].child is not None and "acknowledged" in cluster.members[name].child.stderr()
            for name in others
        )
        cluster.step_until(lambda: trained() == len(others), LIMIT, f"{len(others)} more that train")
        self.assertLess(cluster.progress(), 0.8, "too short")

        # One half is told to go, the other dies.
        for index, name in enumerate(others):
            if index % 2 == 0:
                cluster.members[name].child.kill(signal.SIGTERM)
            else:
                cluster.kill(name, None)
        out = "worker '(w[0-9]+)' is out"
        dead = set(others[1::2])
        cluster.step_until(lambda: dead <= set(cluster.logged("ps-0", out)), LIMIT, "the dead to be out")
        cluster.step_until(lambda: all(cluster.members[name].ended for name in others), LIMIT, "the others to leave")
        self.assertLess(cluster.progress(), 1, "too short")
        alone = len(cluster.pushes)
        cluster.finish(LIMIT)
        self.assertGreater(len(cluster.pushes), alone)
        found = proof.check_journal(self, cluster.keeper.kept, cluster.acknowledged, cluster.final)
        found |= proof.check_leases(self, cluster.keeper.kept, training.records, training.epochs)
        self.assertEqual(len({incarnation for incarnation, _ in cluster.pushes}), self.most)
        print(f"1 to {self.most} workers and back: {found}")


if __name__ == "__main__":
    world.enter()
    main()
