#!/usr/bin/env python3
"""What encodings cost in accuracy: the same training with float32 and with each encoding, over the same seeds.

    bazel build --config=opt //server:ps //worker //cli:leeway
    tests/bench/encoding_accuracy.py

An MLP with 128 hidden units learns Fashion-MNIST on two asynchronous workers. Each seed runs with every encoding, in
turns. Prints a markdown table: mean accuracy, the mean of the differences to float32 with the same seed and optimizer,
with their 95 % interval (Student's t), and by which factor fewer bytes were pushed and pulled. About 10 minutes.
"""

import argparse
import math
import os
import statistics
import sys

import cluster_runs

EPOCHS = 8
RECORDS = 60000  # of Fashion-MNIST's training set
BASE = {
    "num_ps": 1,
    "num_workers": 2,
    "model": "mlp:128",
    "batch": 64,
    "epochs": EPOCHS,
    "schedule": "cosine",
    "schedule_total_samples": EPOCHS * RECORDS,
    "eval_every_epochs": 0,
    "display_every": "1m",
}
# With momentum m a gradient moves the weights 1 / (1 - m) times as far in the end.
PLAIN = {"learning_rate": 0.1}
MOMENTUM = {"learning_rate": 0.01}
# name: (flags, the float32 run that it is compared with, the greatest loss of accuracy we allow)
SETTINGS = {
    "f32": (PLAIN, None, None),
    "bf16 gradients": ({**PLAIN, "push_encoding": "bf16"}, "f32", 0.003),
    "int8 gradients": ({**PLAIN, "push_encoding": "int8"}, "f32", 0.005),
    "top_k 1 % gradients": ({**PLAIN, "push_encoding": "top_k:0.01"}, "f32", 0.007),
    "bf16 weights": ({**PLAIN, "pull_encoding": "bf16"}, "f32", 0.003),
    "delta weights": ({**PLAIN, "pull_encoding": "delta"}, "f32", 0.005),
    "f32, momentum 0.9": ({**MOMENTUM, "optimizer": "momentum"}, None, None),
    "top_k 1 %, momentum correction 0.9": (
        {**MOMENTUM, "push_encoding": "top_k:0.01", "momentum_correction": 0.9},
        "f32, momentum 0.9",
        0.007,
    ),
}
# The 97.5 % point of Student's t by degrees of freedom; beyond, the normal distribution's.
STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262]


def half_width(values):
    """Of the 95 % interval of the mean."""
    if len(values) < 2:
        return math.inf
    t = STUDENT[len(values) - 2] if len(values) - 2 < len(STUDENT) else 1.96
    return t * statistics.stdev(values) / math.sqrt(len(values))


def bytes_of(run, kind):
    return sum(shard[kind] for shard in run["shards"]) / run["steps"]


def factor(runs, baseline, kind):
    less, more = (statistics.mean(bytes_of(run, kind) for run in several) for several in (runs, baseline))
    return more / less


def row_of(name, runs):
    _, compared_with, goal = SETTINGS[name]
    accuracy = statistics.mean(run["final_accuracy"] for run in runs[name])
    row = [name, f"{100 * accuracy:.2f} %"]
    if compared_with is None:
        return row + ["", "", "1", "1"]
    pairs = zip(runs[name], runs[compared_with])
    differences = [100 * (run["final_accuracy"] - base["final_accuracy"]) for run, base in pairs]
    width = half_width(differences)
    interval = f"{statistics.mean(differences):+.2f}" + (f" ± {width:.2f}" if math.isfinite(width) else "")
    factors = [f"{factor(runs[name], runs[compared_with], kind):.1f}" for kind in ("push_bytes", "pull_bytes")]
    return row + [interval, f"{-100 * goal:.1f}"] + factors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    programs = os.path.join(cluster_runs.ROOT, "bazel-bin")
    parser.add_argument("--programs", default=programs, help="folder like bazel-bin")
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error("--seeds must be 1 or more")
    cluster = cluster_runs.Cluster(args.programs)
    runs = {name: [] for name in SETTINGS}
    for seed in range(1, args.seeds + 1):
        for name, (flags, _, _) in SETTINGS.items():
            summary = cluster.run({**BASE, **flags, "data": args.data, "seed": seed}, 60)
            runs[name].append(summary)
            print(
                f"seed {seed}, {name}: {100 * summary['final_accuracy']:.2f} % in {summary['seconds']:.0f} s",
                file=sys.stderr,
            )
    rows = [["encoding", "accuracy", "difference to f32, points", "goal", "fewer bytes pushed", "pulled"]]
    print(cluster_runs.markdown(rows + [row_of(name, runs) for name in SETTINGS]))


if __name__ == "__main__":
    main()
