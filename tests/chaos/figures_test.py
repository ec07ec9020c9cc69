#!/usr/bin/env -S python3 -B
"""How fast a cluster is without a killed worker, and back with a killed `ps`. Manual; prints what it measures.

    bazel test --config=opt --test_output=all //tests/chaos:figures_test
"""

import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import world  # noqa: E402
from cluster import Cluster, Training  # noqa: E402
from harness import TestCase, main  # noqa: E402

LIMIT = 120
TIMES = 5
MODEL = f"mlp:{25_000_000 // (784 + 1 + 10)}"  # of 25 million parameters on images of 28 x 28


def evict(folder):
    """Has the system write the folder's files to the disk and forget them."""
    for path, _, names in os.walk(folder):
        for name in names:
            file = os.open(os.path.join(path, name), os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def table(what, values, goal):
    values = sorted(values)
    found = f"{values[0]:.2f} to {values[-1]:.2f} s, median {statistics.median(values):.2f} s"
    print(f"{what}: {found}; at most {goal:.0f} s", flush=True)


class Figures(TestCase):
    def test_a_killed_worker_is_out_of_the_clock(self):
        training = Training(epochs=200, workers=TIMES + 2, policy=["--staleness_bound=1"])
        training.worker_flags = ["--pace=20ms", "--pipeline_depth=0"]
        cluster = Cluster(self, training, links=False)
        cluster.step_until(lambda: len(cluster.pushes) > 100, LIMIT, "training")
        times = []
        for name in [f"w{i}" for i in range(TIMES)]:
            killed = time.monotonic()
            cluster.kill(name, None)
            cluster.step_until(lambda: cluster.logged("ps-0", f"worker '{name}' is out"), LIMIT, f"{name} to be out")
            # The others waited for it, and go on: two steps of each are more than the bound lets through without.
            pushes = len(cluster.pushes)
            cluster.step_until(lambda: len(cluster.pushes) > pushes + 4 * training.workers, LIMIT, "the others")
            times.append(time.monotonic() - killed)
        goal = training.lease + 1
        table(f"a killed worker is out, and the others have made 4 more steps (lease {training.lease} s)", times, goal)
        self.assertLess(statistics.median(times), goal)

    def measure_restarts(self, drop):
        # A step pushes the whole shard: 10 of them are 1 GB of journal behind the checkpoint.
        training = Training(epochs=1000, servers=1, workers=1, model=MODEL, data="synthetic:200")
        training.records, training.batch, training.evaluate = 200, 10, ()
        training.ps_flags = ["--checkpoint_steps=10", "--checkpoint_keep=1"]
        training.worker_flags = ["--pipeline_depth=1"]
        cluster = Cluster(self, training, links=False, keep=False)
        times = []
        for _ in range(TIMES):
            before = len(cluster.pushes)
            cluster.step_until(lambda: len(cluster.pushes) > before + 25, LIMIT, "training")
            cluster.kill("ps-0", LIMIT)
            if drop:
                evict(cluster.checkpoints)
            before = len(cluster.pushes)
            started = cluster.members["ps-0"].start_at = time.monotonic()
            cluster.step_until(lambda: len(cluster.pushes) > before, LIMIT, "a push that is acknowledged")
            times.append(time.monotonic() - started)
        for line in cluster.logged("ps-0", r"restored from .*|[0-9]+ records .* replayed from .*"):
            print("  ps-0:", line.replace(cluster.checkpoints, "..."))
        what = "page cache dropped" if drop else "page cache as it was"
        table(f"a killed ps with a shard of 100 MB acknowledges a push again, {what}", times, 5)
        self.assertLess(statistics.median(times), 5)

    def test_a_killed_ps_of_100_mb_serves_again(self):
        self.measure_restarts(drop=False)

    def test_a_killed_ps_of_100_mb_serves_again_from_the_disk(self):
        self.measure_restarts(drop=True)


if __name__ == "__main__":
    world.enter()
    main()
