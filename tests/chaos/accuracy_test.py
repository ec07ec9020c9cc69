#!/usr/bin/env -S python3 -B
"""What chaos costs in accuracy: the same training undisturbed and with kills, stops, cut links and a full disk, over
the same seeds, in turns. Prints a markdown table. Manual: about 15 minutes.

    bazel test --config=opt --test_output=all //tests/chaos:accuracy_test

An MLP with 64 hidden units learns Fashion-MNIST. LEEWAY_TEST_SEED=N: seeds N, N + 1, ...
"""

import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import proof  # noqa: E402
import schedule  # noqa: E402
import world  # noqa: E402
from cluster import Cluster, Training  # noqa: E402
from harness import TestCase, main  # noqa: E402

DATA = "/usr/share/datasets/fashion-mnist"
RECORDS = 60000
EPOCHS = 6
PAIRS = 5
KILLS = 8
POINTS = 0.5  # of accuracy, in percent
END = 300


class Accuracy(TestCase):
    def train(self, seed, kills):
        """The final accuracy, in percent, and the seconds it took."""
        training = Training(
            epochs=EPOCHS,
            model="mlp:64",
            data=DATA,
            records=RECORDS,
            batch=100,
            policy=[
                f"--seed={seed}",
                "--optimizer=adam",
                "--learning_rate=0.001",
                "--schedule=cosine",
                f"--schedule_total_samples={EPOCHS * RECORDS}",
            ],
            worker_flags=["--pace=40ms"],
            ps_flags=["--checkpoint_steps=300"],
            evaluate=["--eval_every_epochs=1"],
        )
        self.folder = os.path.join(self.root, f"{seed}-{kills}")
        os.mkdir(self.folder)
        cluster = Cluster(self, training)
        if kills > 0:
            events = schedule.make(seed, kills, training.workers, training.servers, training.lease, last=0.8)
            schedule.disturb(cluster, events)
        cluster.finish(END)
        proof.check_journal(self, cluster.keeper.kept, cluster.acknowledged, cluster.final)
        proof.check_leases(self, cluster.keeper.kept, RECORDS, EPOCHS)
        accuracy = cluster.logged("ps-0", r"accuracy ([\d.]+) \(final\)")
        self.end_all()
        return 100 * float(accuracy[-1]), time.monotonic() - cluster.began

    def test_chaos_costs_no_accuracy(self):
        self.root = self.folder
        first = int(os.environ.get("LEEWAY_TEST_SEED") or 1)
        print(f"\n| seed | undisturbed | with {KILLS} kills | difference | seconds |")
        print("| ---: | ---: | ---: | ---: | ---: |", flush=True)
        differences = []
        for seed in range(first, first + PAIRS):
            calm, calm_seconds = self.train(seed, 0)
            wild, wild_seconds = self.train(seed, KILLS)
            differences.append(wild - calm)
            seconds = f"{calm_seconds:.0f}, {wild_seconds:.0f}"
            print(f"| {seed} | {calm:.2f} % | {wild:.2f} % | {wild - calm:+.2f} | {seconds} |", flush=True)
        print(f"| mean | | | {statistics.mean(differences):+.2f} | |", flush=True)
        self.assertLess(abs(statistics.mean(differences)), POINTS)


if __name__ == "__main__":
    world.enter()
    main()
