#!/usr/bin/env python3
"""Paced runs: accepted pushes per second of a real cluster with stragglers, beside what the simulation predicts.

    bazel build --config=opt //server:ps //worker //cli:leeway //tests/sim:throughput_sim_main
    tests/bench/paced_runs.py

Four workers on one shard; a step is made to last --pace, far longer than it computes, so that the workers do not
fight for the cores. Prints a markdown table; about 11 minutes. Each scenario runs --repeats times, in turns with the
others; medians are shown. The predictions know the time of a message that the first scenario measured, and draw the
same random slow steps as the workers do.
"""

import argparse
import os
import statistics
import sys

import cluster_runs

WORKERS = 4
BASE = {
    "num_workers": WORKERS,
    "pipeline_depth": 0,
    "seed": 1,
}
# What `leeway run` needs and the simulation does not.
REAL = {
    "num_ps": 1,
    "eval": "false",
    "model": "mlp:32",
    "data": "synthetic:20000",
    "batch": 16,
    "data_sharing": "static",
    "display_every": "1m",
}
ROUND = {"aggregation": "round", "staleness_bound": 0}
QUORUM = {**ROUND, "round_quorum": WORKERS - 1}
# A little jitter everywhere: without it equal workers march in step, and their pushes come in bursts.
STRAGGLER = {"straggle": "0:4", "jitter": 0.02}
SLOW = {"slow_steps": "0.05:5", "jitter": 0.02}
JITTER = {"jitter": 0.1}


def bound(s):
    return {"aggregation": "each", "staleness_bound": s}


def scenario(group, name, flags, longer=1):
    return {"group": group, "name": name, "flags": {**BASE, **flags}, "longer": longer}


# The first of each group is what the group's ratios are relative to.
SCENARIOS = [
    scenario("equal workers, small jitter", "no bound", {**bound(-1), **JITTER}),
    scenario("one worker 4 times slower", "round", {**ROUND, **STRAGGLER}),
    scenario("one worker 4 times slower", "round, quorum 3", {**QUORUM, **STRAGGLER}),
    scenario("one worker 4 times slower", "s = 1", {**bound(1), **STRAGGLER}),
    scenario("one worker 4 times slower", "s = 3", {**bound(3), **STRAGGLER}),
    # The fast workers' lead of s + 1 steps counts for less in a longer run.
    scenario("one worker 4 times slower", "s = 10", {**bound(10), **STRAGGLER}, longer=2),
    scenario("one worker 4 times slower", "no bound", {**bound(-1), **STRAGGLER}),
    scenario("5 % of steps 5 times slower", "round", {**ROUND, **SLOW}),
    scenario("5 % of steps 5 times slower", "round, quorum 3", {**QUORUM, **SLOW}),
    scenario("5 % of steps 5 times slower", "s = 3", {**bound(3), **SLOW}),
    scenario("5 % of steps 5 times slower", "s = 10", {**bound(10), **SLOW}),
    scenario("5 % of steps 5 times slower", "no bound", {**bound(-1), **SLOW}),
]
TINY = [SCENARIOS[0], SCENARIOS[1], SCENARIOS[2], SCENARIOS[6]]


def steps_for(cluster, flags, seconds):
    """How many steps the scenario makes in about this time."""
    rate = cluster.simulate({**flags, "steps": 2000})["accepted_pushes_per_second"]
    return max(WORKERS, round(seconds * rate / cluster_runs.pushes_per_step(flags)))


def message_seconds(summary):
    """A quarter of what a step waits for its push, the verdict, its pull and the weights."""
    workers = cluster_runs.trainers(summary)
    waited = sum(worker["seconds"].get(part, 0) for worker in workers for part in ("data", "pull", "push"))
    return waited / sum(worker["steps"] for worker in workers) / 4


def row_of(entry, base):
    """One line of the table, from the medians of the scenario and of its group's first."""
    real, predicted = entry["rate"], entry["prediction"]["accepted_pushes_per_second"]
    ratio, expected = real / base["rate"], predicted / base["prediction"]["accepted_pushes_per_second"]
    return [
        f"{entry['group']}: {entry['name']}",
        f"{real:.2f}",
        f"{predicted:.2f}",
        f"{100 * (real / predicted - 1):+.1f} %",
        f"{ratio:.2f}",
        f"{expected:.2f}",
        f"{100 * (ratio / expected - 1):+.1f} %",
        f"{100 * entry['blocked']:.0f} %",
        f"{100 * entry['prediction']['blocked_share']:.0f} %",
        f"{entry['delay']:.3f}",
        f"{entry['prediction']['mean_delay']:.3f}",
        f"{entry['gap']}",
    ]


def measure(cluster, scenarios, args):
    """Adds medians and predictions to the scenarios; a message's time comes back, in seconds."""
    for entry in scenarios:
        entry["flags"]["pace"] = args.pace
        entry["flags"]["steps"] = steps_for(cluster, entry["flags"], args.seconds * entry["longer"])
        entry["runs"] = []
    for repeat in range(args.repeats):
        for entry in scenarios:
            flags = entry["flags"]
            summary = cluster.run({**REAL, **flags}, args.seconds * entry["longer"])
            entry["runs"].append(summary)
            rate = cluster_runs.pushes_per_second(summary, flags)
            print(f"{repeat + 1}/{args.repeats} {entry['group']}: {entry['name']}: {rate:.2f}/s", file=sys.stderr)
    message = statistics.median(message_seconds(run) for run in scenarios[0]["runs"])
    for entry in scenarios:
        runs = entry["runs"]
        entry["rate"] = statistics.median(cluster_runs.pushes_per_second(run, entry["flags"]) for run in runs)
        entry["blocked"] = statistics.median(cluster_runs.blocked_share(run) for run in runs)
        entry["delay"] = statistics.median(run["mean_delay"] for run in runs)
        entry["gap"] = max(run["max_gap"] for run in runs)
        entry["prediction"] = cluster.simulate({**entry["flags"], "message": f"{message:.6f}s"})
    return message


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    programs = os.path.join(cluster_runs.ROOT, "bazel-bin")
    parser.add_argument("--programs", default=programs, help="folder like bazel-bin")
    parser.add_argument("--pace", default="50ms", help="the least time of a step")
    parser.add_argument("--seconds", type=float, default=11, help="length of one run, about")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="scenarios whose group or name has these words, and the first")
    parser.add_argument("--tiny", action="store_true", help="four scenarios of a second, to see that all this works")
    args = parser.parse_args()
    if args.repeats < 1 or args.seconds <= 0:
        parser.error("--repeats must be 1 or more, --seconds above 0")
    scenarios = SCENARIOS[:1] + [e for e in SCENARIOS[1:] if args.only in f"{e['group']}: {e['name']}"]
    if args.tiny:
        scenarios, args.seconds, args.repeats = TINY, 1, 1
    message = measure(cluster_runs.Cluster(args.programs), scenarios, args)
    rows = [
        ["scenario", "pushes/s", "predicted", "difference", "ratio", "predicted", "difference"]
        + ["blocked", "predicted", "mean delay", "predicted", "largest gap"]
    ]
    first = {}
    for entry in scenarios:
        rows.append(row_of(entry, first.setdefault(entry["group"], entry)))
    print(cluster_runs.markdown(rows))
    print(f"\nPace {args.pace}; a message takes {1000 * message:.2f} ms; medians of {args.repeats}.")


if __name__ == "__main__":
    main()
