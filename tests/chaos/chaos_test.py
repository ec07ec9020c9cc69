#!/usr/bin/env -S python3 -B
"""Random kill -9, SIGSTOP beyond the lease, cut links and full disks, while a cluster trains: it ends by itself, no
acknowledged push is lost, none is applied twice, and every record of every epoch is committed once.

LEEWAY_TEST_SEED repeats a run's events (when they hit is in shares of the run's pushes). LEEWAY_CHAOS_KEEP=DIR keeps the
logs and files of a run that fails.
"""

import os
import random
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import proof  # noqa: E402
import schedule  # noqa: E402
import world  # noqa: E402
from cluster import BATCH, RECORDS, Cluster  # noqa: E402
from harness import TestCase, main  # noqa: E402

LEASE = 2  # seconds
PUSHES_PER_KILL = 200  # some seconds of training between two events
END = 120  # seconds that training may take once it is left alone


class Chaos(TestCase):
    kills = 10

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("LEEWAY_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"seed: LEEWAY_TEST_SEED={self.seed}")
        self.passed = False
        self.addCleanup(self.keep)

    def keep(self):
        folder = os.environ.get("LEEWAY_CHAOS_KEEP")
        if folder and not self.passed:
            shutil.copytree(self.folder, os.path.join(folder, f"{self._testMethodName}-{self.seed}"))

    def hit(self, cluster, event):
        """Carries out an event, or says that it must wait: False."""
        if event.kind in ("cut", "fill") and not world.apart():
            return True
        if event.target and not cluster.running(event.target):
            return False
        what, end = f"{event.kind} {event.target or 'the disk'}", f"end of {event.kind} {event.target}"
        if event.kind == "kill":
            cluster.kill(event.target, event.seconds)
        elif any(end == mend[1] for mend in cluster.mends):
            return False
        elif event.kind == "stop":
            child = cluster.members[event.target].child
            child.kill(signal.SIGSTOP)
            # (It may have been killed meanwhile.)
            cluster.later(event.seconds, end, lambda: child.process.poll() is None and child.kill(signal.SIGCONT))
        elif event.kind == "cut":
            cluster.world.cut(event.target, True)
            cluster.later(event.seconds, end, lambda: cluster.world.cut(event.target, False))
        else:
            cluster.world.fill(True)
            cluster.later(event.seconds, end, lambda: cluster.world.fill(False))
        cluster.say(what)
        return True

    def disturb(self, cluster, events):
        waiting, not_before = list(events), 0.0
        reached = False  # what the first of those that wait waits for
        while waiting:
            cluster.step()
            event = waiting[0]
            if not reached and cluster.progress() >= event.at:
                reached, not_before = True, time.monotonic() + event.delay
            if reached and time.monotonic() >= not_before and self.hit(cluster, event):
                waiting.pop(0)
                reached = False
        while not cluster.quiet():
            cluster.step()
        self.assertLess(cluster.progress(), 1, "training was over before the events were")

    def survive(self, policy, worker_flags, rounds=False):
        draw = random.Random(self.seed)
        servers, workers = draw.choice([2, 3]), 3
        policy = [*policy, "--optimizer=" + draw.choice(["sgd", "adam"]), "--learning_rate=0.001"]
        worker_flags = [*worker_flags, "--push_encoding=" + draw.choice(["f32", "f32", "bf16", "int8", "top_k:0.1"])]
        events = schedule.make(self.seed, self.kills, workers, servers, LEASE)
        print(f"{servers} ps, {workers} workers, {' '.join(policy + worker_flags)}")
        cluster = Cluster(
            self,
            workers=workers,
            servers=servers,
            epochs=-(-PUSHES_PER_KILL * self.kills * BATCH // RECORDS),
            lease=LEASE,
            rounds=rounds,
            policy=policy,
            worker_flags=[*worker_flags, "--pace=50ms"],
            ps_flags=["--checkpoint_steps=150", "--checkpoint_keep=2"],
        )
        self.disturb(cluster, events)
        deadline = time.monotonic() + END
        while not cluster.over():
            if time.monotonic() > deadline:
                cluster.fail(f"not at its end {END} s after the last event")
            cluster.step()
        cluster.keeper.look()
        try:
            found = proof.check_journal(self, cluster.keeper.kept, cluster.acknowledged, cluster.final)
            if not rounds:
                found |= proof.check_leases(self, cluster.keeper.kept, RECORDS, cluster.epochs)
        except AssertionError as error:
            cluster.fail(str(error)[:4000])
        first = cluster.members["ps-0"]
        found["checkpoints"] = sum(child.output().count("is committed") for child in [*first.killed, first.child])
        self.assertGreater(found["checkpoints"], 0, "no checkpoint was taken\n" + cluster.everything())
        kinds = {kind: sum(event.kind == kind for event in events) for kind in ("kill", "stop", "cut", "fill")}
        print(f"{kinds}, {time.monotonic() - cluster.began:.0f} s, at most {cluster.pause:.1f} s without a push, {found}")
        self.passed = True

    def test_nothing_is_lost_applied_twice_or_hangs(self):
        draw = random.Random(self.seed + 1)
        self.survive([f"--staleness_bound={draw.choice([-1, 1, 8])}"], [f"--pipeline_depth={draw.choice([0, 1])}"])

    def test_in_rounds_too(self):
        self.survive(["--aggregation=round", "--staleness_bound=0"], ["--pipeline_depth=0"], rounds=True)


if __name__ == "__main__":
    world.enter()
    main()
