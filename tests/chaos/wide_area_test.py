#!/usr/bin/env -S python3 -B
"""A cluster over a bad network between sites, where packets are late, lost, come twice and overtake each other, with
processes that are killed: it ends by itself, no acknowledged push is lost, none is applied twice, and every record of
every epoch is committed once.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import proof  # noqa: E402
import wide_area  # noqa: E402
import world  # noqa: E402
from cluster import Cluster, Training  # noqa: E402
from harness import TestCase, main  # noqa: E402

LIMIT = 240  # seconds for each part
NETWORKS = {
    "far": {"delay": 0.15, "jitter": 0.02},
    "lossy": {"delay": 0.02, "jitter": 0.01, "loss": 0.03, "duplicate": 0.01, "overtake": 0.01},
    "slow": {"delay": 0.02, "rate": 250e3, "buffer": 0.5},
}


class WideArea(TestCase):
    def survive(self, network, rounds=False):
        training = Training(
            epochs=2 if network == "lossy" else 1,
            rounds=rounds,
            model="mlp:32",
            policy=["--aggregation=round", "--staleness_bound=0"] if rounds else ["--staleness_bound=8"],
            worker_flags=[f"--pipeline_depth={0 if rounds else 1}", "--pace=100ms"],
        )
        quality = NETWORKS[network] if world.apart() and wide_area.possible() else None
        if quality is None:
            print("no TUN devices here: the network is as good as this machine's")
        cluster = Cluster(self, training, quality=quality)
        for target, at in (("w1", 0.2), ("ps-1", 0.4), ("ps-0", 0.6)):
            cluster.step_until(lambda: cluster.progress() >= at, LIMIT, f"{at} of the run")  # noqa: B023
            cluster.say(f"kill {target}")
            cluster.kill(target, 0.5)
        cluster.finish(LIMIT)
        found = proof.check_journal(self, cluster.keeper.kept, cluster.acknowledged, cluster.final)
        if not rounds:
            found |= proof.check_leases(self, cluster.keeper.kept, training.records, training.epochs)
        print(f"{network}: at most {cluster.pause:.1f} s without a push, {found}")

    def test_far(self):
        self.survive("far")

    def test_lossy(self):
        self.survive("lossy")

    def test_slow(self):
        self.survive("slow")

    def test_rounds_over_a_lossy_one(self):
        self.survive("lossy", rounds=True)


if __name__ == "__main__":
    world.enter()
    main()
