#!/usr/bin/env -S python3 -B
"""Random kill -9, SIGSTOP beyond the lease, cut links and full disks, while a cluster trains: it ends by itself, no
acknowledged push is lost, none is applied twice, and every record of every epoch is committed once.

LEEWAY_TEST_SEED repeats a run's events (when they hit is in shares of the run's pushes). LEEWAY_CHAOS_KEEP=DIR keeps
the logs and files of a run that fails.
"""

import os
import random
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import proof  # noqa: E402
import schedule  # noqa: E402
import world  # noqa: E402
from cluster import Cluster, Training  # noqa: E402
from harness import TestCase, main  # noqa: E402

PUSHES_PER_KILL = 150  # some seconds of training between two events
TAIL = 300  # steps that are left to those who were hit last, so that the run is not over before they are back
END = 120  # seconds that training may take once it is left alone


class Chaos(TestCase):
    kills = 10

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("LEEWAY_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"seed: LEEWAY_TEST_SEED={self.seed}")
        self.passed = False

    def keep(self):
        folder = os.environ.get("LEEWAY_CHAOS_KEEP")
        if folder and not self.passed:
            self.end_all()  # so that nothing is written meanwhile
            shutil.copytree(self.folder, os.path.join(folder, f"{self._testMethodName}-{self.seed}"))

    def survive(self, policy, worker_flags, rounds=False):
        draw = random.Random(self.seed)
        servers = draw.choice([2, 3])
        policy = [*policy, "--optimizer=" + draw.choice(["sgd", "adam"]), "--learning_rate=0.001"]
        worker_flags = [*worker_flags, "--push_encoding=" + draw.choice(["f32", "f32", "bf16", "int8", "top_k:0.1"])]
        training = Training(
            epochs=-(-PUSHES_PER_KILL * self.kills * Training.batch // Training.records),
            servers=servers,
            rounds=rounds,
            policy=policy,
            worker_flags=[*worker_flags, "--pace=50ms"],
            ps_flags=["--checkpoint_steps=150", "--checkpoint_keep=2"],
        )
        last = 1 - TAIL / training.steps()
        events = schedule.make(self.seed, self.kills, training.workers, servers, training.lease, last)
        print(f"{servers} ps, {training.workers} workers, {' '.join(policy + worker_flags)}")
        cluster = Cluster(self, training)
        self.addCleanup(self.keep)  # before its disk is gone
        schedule.disturb(cluster, events)
        cluster.finish(END)
        try:
            found = proof.check_journal(self, cluster.keeper.kept, cluster.acknowledged, cluster.final)
            if not rounds:
                found |= proof.check_leases(self, cluster.keeper.kept, training.records, training.epochs)
        except AssertionError as error:
            cluster.fail(str(error)[:4000])
        found["checkpoints"] = len(cluster.logged("ps-0", "is committed"))
        self.assertGreater(found["checkpoints"], 0, "no checkpoint was taken\n" + cluster.everything())
        seconds = f"{time.monotonic() - cluster.began:.0f} s, at most {cluster.pause:.1f} s without a push"
        print(f"{schedule.counted(events)}, {seconds}, {found}")
        self.passed = True

    def test_nothing_is_lost_applied_twice_or_hangs(self):
        draw = random.Random(self.seed + 1)
        # scale: every push needs a ticket of the coordinator; dc: shards keep what they have given
        late = draw.choice([["apply"], ["dc", "--dc_lambda=1"], ["scale"]])
        self.survive(
            [f"--staleness_bound={draw.choice([-1, 1, 8])}", f"--delay_policy={late[0]}", *late[1:]],
            [f"--pipeline_depth={draw.choice([0, 1])}", f"--pull_encoding={draw.choice(['f32', 'f32', 'delta'])}"],
        )

    def test_in_rounds_too(self):
        self.survive(["--aggregation=round", "--staleness_bound=0"], ["--pipeline_depth=0"], rounds=True)


if __name__ == "__main__":
    world.enter()
    main()
