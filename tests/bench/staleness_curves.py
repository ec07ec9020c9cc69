#!/usr/bin/env python3
"""Staleness curves: accuracy, speed and staleness of the same training under different staleness bounds.

    bazel build --config=opt //server:ps //worker //cli:leeway
    tests/bench/staleness_curves.py --plot=docs/img/staleness.svg

An MLP with 128 hidden units learns Fashion-MNIST on four paced workers, for a fixed number of samples, with equal
workers and with one that is four times slower. Each setting runs with --repeats seeds, in turns with the others.
Prints markdown tables of medians; draws accuracy over time of the first seed. About 11 minutes.

--rates: accuracy without a bound, by number of workers and learning rate, instead. About 3 minutes.
"""

import argparse
import os
import statistics
import sys

import cluster_runs
import line_chart

WORKERS = 4
SAMPLES = 38400
BATCH = 32
RATE = 0.1
BASE = {
    "num_ps": 1,
    "model": "mlp:128",
    "batch": BATCH,
    "pipeline_depth": 0,
    "eval_every_epochs": 0,
    "display_every": "1m",
    "pace": "25ms",
}
PACE_S = 0.025
BOUNDS = ["round", 1, 3, 8, -1]
CLUSTERS = [("equal workers", {}), ("one worker 4 times slower", {"straggle": "0:4"})]


def name_of(bound):
    return {"round": "round", -1: "no bound"}.get(bound, f"s = {bound}")


def flags_for(bound, cluster_flags, data, seed):
    flags = {**BASE, **cluster_flags, "num_workers": WORKERS, "data": data, "seed": seed, "eval_every_seconds": 1}
    pushes = SAMPLES // BATCH
    if bound == "round":
        # The mean of four gradients at four times the rate: the same sum of steps as four single pushes.
        return {**flags, "aggregation": "round", "learning_rate": RATE * WORKERS, "steps": pushes // WORKERS}
    return {**flags, "aggregation": "each", "staleness_bound": bound, "learning_rate": RATE, "steps": pushes}


def median(runs, value):
    return statistics.median(value(run) for run in runs)


def row_of(name, runs):
    accuracies = [run["final_accuracy"] for run in runs]
    return [
        name,
        f"{100 * statistics.median(accuracies):.1f} %",
        f"{100 * min(accuracies):.1f} to {100 * max(accuracies):.1f} %",
        f"{median(runs, lambda run: SAMPLES / run['seconds']):.0f}",
        f"{median(runs, lambda run: run['seconds']):.1f} s",
        f"{100 * median(runs, cluster_runs.blocked_share):.0f} %",
        f"{median(runs, lambda run: run['mean_gap']):.2f}",
        f"{max(run['max_gap'] for run in runs)}",
        f"{median(runs, lambda run: run['mean_delay']):.2f}",
        f"{max(run['max_delay'] for run in runs)}",
    ]


def curve(run):
    return [(point["seconds"], point["accuracy"]) for point in run["evaluations"]]


def measure_bounds(cluster, args):
    runs = {}
    for seed in range(1, args.repeats + 1):
        for title, cluster_flags in CLUSTERS:
            for bound in BOUNDS:
                flags = flags_for(bound, cluster_flags, args.data, seed)
                summary = cluster.run(flags, SAMPLES / BATCH / WORKERS * PACE_S * 4)
                runs.setdefault((title, bound), []).append(summary)
                print(f"seed {seed}, {title}, {name_of(bound)}: {summary['final_accuracy']:.3f}", file=sys.stderr)
    panels = []
    for title, _ in CLUSTERS:
        rows = [["consistency", "accuracy", "of all seeds", "samples/s", "time", "blocked", "mean gap", "largest"]]
        rows[0] += ["mean delay", "largest"]
        rows += [row_of(name_of(bound), runs[title, bound]) for bound in BOUNDS]
        print(f"\n{title.capitalize()}:\n\n{cluster_runs.markdown(rows)}")
        panels.append((title, [(name_of(bound), curve(runs[title, bound][0])) for bound in BOUNDS]))
    if args.plot:
        with open(args.plot, "w", encoding="utf-8") as file:
            file.write(line_chart.chart(panels, (0.5, 0.9), "seconds", "test accuracy", percent=True))


def measure_rates(cluster, args):
    rates = [0.005, 0.01, 0.02, 0.04]
    rows = [["workers (mean delay)"] + [f"rate {rate}" for rate in rates]]
    for workers in (1, 4, 8):
        accuracies, delays = [], []
        for rate in rates:
            flags = {**BASE, "num_workers": workers, "data": args.data, "aggregation": "each", "staleness_bound": -1}
            flags.update(learning_rate=rate, steps=SAMPLES // BATCH, pace=f"{6 * workers}ms", optimizer="momentum")
            flags.update(jitter=0.2)
            runs = []
            for seed in range(1, args.repeats + 1):
                runs.append(cluster.run({**flags, "seed": seed}, 60))
                print(f"{workers} workers, rate {rate}: {runs[-1]['final_accuracy']:.3f}", file=sys.stderr)
            accuracies.append(median(runs, lambda run: run["final_accuracy"]))
            delays.append(median(runs, lambda run: run["mean_delay"]))
        cells = [f"{100 * accuracy:.1f} %" for accuracy in accuracies]
        rows.append([f"{workers} ({statistics.mean(delays):.1f})"] + cells)
    print(cluster_runs.markdown(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    programs = os.path.join(cluster_runs.ROOT, "bazel-bin")
    parser.add_argument("--programs", default=programs, help="folder like bazel-bin")
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--repeats", type=int, default=3, help="seeds")
    parser.add_argument("--plot", help="SVG file to write")
    parser.add_argument("--rates", action="store_true")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats must be 1 or more")
    (measure_rates if args.rates else measure_bounds)(cluster_runs.Cluster(args.programs), args)


if __name__ == "__main__":
    main()
