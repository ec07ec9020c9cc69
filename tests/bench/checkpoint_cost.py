#!/usr/bin/env python3
"""What checkpoints cost while training goes on: steps per second of a cluster that takes one after the other, beside
the same cluster without.

    bazel build --config=opt //server:ps //worker //cli:leeway
    tests/bench/checkpoint_cost.py --dir=/a/folder/on/the/disk/that/counts

One `ps`, --workers workers, mlp:2048 (6.3 MB, with Adam three times that), journal off, so that only checkpoints write.
The two kinds of runs take turns, --repeats times; the ratio is the median of the pairs' ratios. With --every a new
checkpoint begins so many steps behind the last one's beginning: the figure is the worst case, in which one is nearly
always under way; how many there were is said beside it.
"""

import argparse
import os
import re
import statistics
import tempfile

import cluster_runs

GOAL = 0.9  # pushes slow down by less than a tenth


def run(cluster, options, every, folder):
    """Steps per second, and how many checkpoints were taken."""
    with tempfile.TemporaryDirectory(prefix="checkpoint-cost-", dir=folder) as directory:
        ps = f"--checkpoint_dir={directory} --journal=off --checkpoint_interval=inf --checkpoint_keep=1"
        flags = {
            "num_ps": 1,
            "num_workers": options.workers,
            "eval": "false",
            "model": options.model,
            "data": "synthetic:20000",
            "batch": options.batch,
            "optimizer": "adam",
            "learning_rate": 0.0001,
            "staleness_bound": -1,
            "minutes": options.seconds / 60,
            "display_every": "1m",
            "ps_flags": f"{ps} --checkpoint_steps={every}",
        }
        logs = {}
        summary = cluster.run(flags, options.seconds, logs=logs)
        # The last one is taken when the time is over.
        taken = len(re.findall("is committed", logs["ps-0"])) - 1
        return summary["steps"] / summary["seconds"], taken


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", default=os.path.join(cluster_runs.ROOT, "bazel-bin"))
    parser.add_argument("--dir", default=None, help="where checkpoints go; default: the system's temporary folder")
    parser.add_argument("--model", default="mlp:2048")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=int, default=50, help="steps")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="that it runs, not what it measures")
    options = parser.parse_args()
    if options.tiny:
        options.model, options.batch, options.seconds, options.repeats, options.every = "mlp:16", 16, 1, 1, 20
    cluster = cluster_runs.Cluster(options.programs)
    rows = [["pair", "steps/s without", "steps/s with", "checkpoints", "ratio"]]
    ratios = []
    for pair in range(options.repeats):
        without, _ = run(cluster, options, 0, options.dir)
        taken_with, taken = run(cluster, options, options.every, options.dir)
        ratios.append(taken_with / without)
        rows.append([str(pair + 1), f"{without:.1f}", f"{taken_with:.1f}", str(taken), f"{ratios[-1]:.3f}"])
    print(cluster_runs.markdown(rows))
    print(f"median ratio {statistics.median(ratios):.3f}, goal {GOAL}")
    if int(rows[-1][3]) < 1:
        raise SystemExit("no checkpoint was taken: nothing was measured")


if __name__ == "__main__":
    main()
