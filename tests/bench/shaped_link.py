#!/usr/bin/env python3
"""A slow link: the share of a step that a worker spends in communication, by encoding, with and without overlap.

    bazel build --config=opt //server:ps //worker //cli:leeway
    tests/bench/shaped_link.py

One `ps`, one worker, and between them a link of 100 Mbit/s each way and a round trip of 40 ms: network namespaces and
tests/chaos/wide_area.py, as root, with /dev/net/tun. The MLP 784-1024-1024-10 (7.4 MB of float32), steps paced to
500 ms, as a GPU might take. Prints a markdown table, medians of the runs. About 8 minutes. A thin link that must carry
more at once: --rate=5 --delay=50 --model=mlp:2048,2048 --encoding=f32 --depth=1 --steps=2 --runs=1 --limit=400.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile

import cluster_runs

BASE = {
    "num_ps": 1,
    "num_workers": 1,
    "batch": 128,
    "data": "synthetic:6000",
    "learning_rate": 0.01,
    "pace": "500ms",
    "eval": "false",
    "insecure": "true",
    "local_sockets": "false",
    "display_every": "1m",
}
ENCODINGS = {  # name: (gradients, weights)
    "f32": ("f32", "f32"),
    "bf16": ("bf16", "bf16"),
    "int8, weights as differences": ("int8", "delta"),
    "top_k 1 %, weights f32": ("top_k:0.01", "f32"),
    "top_k 1 %, weights as differences": ("top_k:0.01", "delta"),
}
DEPTHS = [0, 1]
WIDE_AREA = os.path.join(cluster_runs.ROOT, "tests/chaos/wide_area.py")
ADDRESSES = "10.78.0.1", "10.78.0.2"  # of the worker and of the `ps`


@contextlib.contextmanager
def link(quality):
    """What to put before a command to have it run at one end of the link, and at the other."""
    with contextlib.ExitStack() as stack:

        def start(*command):
            child = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(child.kill)
            if child.stdout.readline() != "ready\n":
                sys.exit(f"{command[0]} did not start: see above")
            return child.pid

        holder = "ip link set lo up && echo ready && exec sleep infinity"
        ends = [start("unshare", "--net", "sh", "-c", holder) for _ in ADDRESSES]
        sites = [f"{end}={address}" for end, address in zip(ends, ADDRESSES)]
        start(sys.executable, "-B", WIDE_AREA, json.dumps(quality), *sites)
        yield [["nsenter", f"--net=/proc/{end}/ns/net"] for end in ends]


def wrapper(folder, name, command):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/bash\n{command}\n")
    os.chmod(path, 0o755)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    programs = os.path.join(cluster_runs.ROOT, "bazel-bin")
    parser.add_argument("--programs", default=programs, help="folder like bazel-bin")
    parser.add_argument("--rate", type=float, default=100, help="Mbit/s, each way")
    parser.add_argument("--delay", type=float, default=20, help="ms, one way")
    parser.add_argument("--loss", type=float, default=0, help="share of packets")
    parser.add_argument("--model", default="mlp:1024,1024")
    parser.add_argument("--encoding", choices=ENCODINGS, help="one row instead of all")
    parser.add_argument("--depth", type=int, choices=DEPTHS, help="one of the two depths")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--limit", type=float, default=36, help="seconds that a run may take")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    cluster = cluster_runs.Cluster(args.programs)
    heading = ["encoding", "pushed per step", "pulled"]
    depths = DEPTHS if args.depth is None else [args.depth]
    heading += [word for depth in depths for word in (f"depth {depth}: step", "communication")]
    rows = [heading]
    quality = {"rate": args.rate * 1e6 / 8, "delay": args.delay / 1e3, "loss": args.loss}
    with tempfile.TemporaryDirectory(prefix="leeway-link-") as folder, link(quality) as (near, far):
        # Only the `ps` is at the far end. (The first word is the address that `leeway run` gives it.)
        listen = f"--listen={ADDRESSES[1]}:7070"
        ps = wrapper(folder, "ps", f'exec {" ".join(far)} {cluster.path("server/ps")} "${{@:2}}" {listen}')
        for name in [args.encoding] if args.encoding else ENCODINGS:
            row = [name]
            for depth in depths:
                runs = [run(cluster, near, ps, args, ENCODINGS[name], depth) for _ in range(args.runs)]
                if depth == depths[0]:
                    row += [f"{statistics.median(r[kind] for r in runs) / 1e6:.2f} MB" for kind in ("push", "pull")]
                row.append(f"{1000 * statistics.median(r['step'] for r in runs):.0f} ms")
                row.append(f"{100 * statistics.median(r['share'] for r in runs):.0f} %")
                print(f"{name}, depth {depth}: {row[-2:]}", file=sys.stderr)
            rows.append(row)
    print(cluster_runs.markdown(rows))


def run(cluster, near, ps, args, encodings, depth):
    push, pull = encodings
    flags = {**BASE, "model": args.model, "steps": args.steps, "pipeline_depth": depth}
    flags |= {"push_encoding": push, "pull_encoding": pull}
    summary = cluster.run(flags, args.limit, ps=ps, inside=near)
    trainer = cluster_runs.trainers(summary)[0]
    shard = summary["shards"][0]
    return {
        "step": sum(trainer["seconds"].values()) / trainer["steps"],
        "share": trainer["communication_per_step"]["exposed_share"],
        "push": shard["push_bytes"] / trainer["steps"],
        "pull": shard["pull_bytes"] / trainer["steps"],
    }


if __name__ == "__main__":
    main()
