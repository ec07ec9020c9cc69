#!/usr/bin/env python3
"""How pull, push, apply and memory grow with the number of parameters: a table from 10^5 to 10^9.

    bazel build --config=opt //server:ps //tests/bench:scaling
    tests/bench/scaling.py                                 # SGD to 10^9, Adam to 2.5 x 10^8, as far as memory allows
    tests/bench/scaling.py --most=1e8 --optimizers=sgd     # up to 10^8 parameters

One `ps`, one client, TCP loopback, float32. Pull: until all weights lie in the client's vector. Push: until the last
verdict, the optimizer step included. Apply: the same steps on a BlockStore without a network, on one thread. RSS: of
the `ps`, after the pushes; per parameter without what a `ps` with a tiny model takes. Medians. A row needs 12 bytes per
parameter with SGD, 20 with Adam, in both processes together; rows that do not fit the memory that is free are left
out, and said to be.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import cluster_runs

SIZES = {"sgd": [1e5, 1e6, 1e7, 1e8, 1e9], "adam": [1e5, 1e6, 1e7, 1e8, 2.5e8]}
BYTES = {"sgd": 4, "adam": 12}  # that the ps keeps of a parameter
START_S = 30


def available_bytes():
    with open("/proc/meminfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    raise RuntimeError("no MemAvailable in /proc/meminfo")


def rss_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return 1024 * int(line.split()[1])
    raise RuntimeError(f"no VmRSS of {pid}")


def start_ps(program, optimizer, folder):
    """The process, and its address."""
    port_file = os.path.join(folder, "port")
    flags = {
        "port_file": port_file,
        "optimizer": optimizer,
        "learning_rate": 1e-3,
        "staleness_bound": -1,
        "lease": "1h",  # the client sends no heartbeats
        "log_level": "warn",
    }
    ps = subprocess.Popen([program] + cluster_runs.words(flags), stdout=sys.stderr)
    for _ in range(100 * START_S):
        if os.path.exists(port_file):
            with open(port_file, encoding="utf-8") as file:
                return ps, file.read().strip()
        if ps.poll() is not None:
            break
        time.sleep(0.01)
    ps.kill()
    raise RuntimeError(f"{program} did not start")


def measure(cluster, optimizer, elements, repeats):
    """Seconds of pull, push and apply (medians), and the RSS of the ps in bytes."""
    program = cluster.path("tests/bench/scaling")
    flags = {"elements": elements, "repeats": repeats}
    limit = 120 + repeats * elements / 1e7
    with tempfile.TemporaryDirectory(prefix="leeway-scaling-") as folder:
        ps, address = start_ps(cluster.path("server/ps"), optimizer, folder)
        try:
            output = cluster_runs.execute([program] + cluster_runs.words({**flags, "coordinator": address}), limit)
            seconds = json.loads(output.splitlines()[-1])
            rss = rss_bytes(ps.pid)
        finally:
            ps.send_signal(signal.SIGTERM)
            try:
                ps.wait(20)
            except subprocess.TimeoutExpired:
                ps.kill()
                ps.wait()
    output = cluster_runs.execute(
        [program] + cluster_runs.words({**flags, "apply": "true", "optimizer": optimizer}), limit
    )
    seconds.update(json.loads(output.splitlines()[-1]))
    return {**{name: statistics.median(values) for name, values in seconds.items()}, "rss": rss}


def row(optimizer, elements, figures, idle):
    def both(seconds):
        return [f"{1e3 * seconds:,.1f}", f"{1e9 * seconds / elements:.2f}"]

    return (
        [optimizer, f"{elements:,}"]
        + both(figures["pull"])
        + both(figures["push"])
        + both(figures["apply"])
        + [f"{figures['rss'] / 1e6:,.0f}", f"{(figures['rss'] - idle) / elements:.1f}"]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", default=os.path.join(cluster_runs.ROOT, "bazel-bin"), help="like bazel-bin")
    parser.add_argument("--optimizers", default="sgd,adam")
    parser.add_argument("--most", type=float, default=1e9, help="parameters")
    parser.add_argument("--tiny", action="store_true", help="only that it runs")
    args = parser.parse_args()
    cluster = cluster_runs.Cluster(args.programs)
    rows = [
        ["optimizer", "parameters"]
        + ["pull ms", "ns each", "push ms", "ns each", "apply ms", "ns each"]
        + ["RSS MB", "B each"]
    ]
    for optimizer in args.optimizers.split(","):
        idle = measure(cluster, optimizer, 1000, 1)["rss"]
        for size in [1e5] if args.tiny else SIZES[optimizer]:
            if size > args.most:
                continue
            elements = int(size)
            # In both processes, with the largest messages under way and what is measured beside it.
            needed = (BYTES[optimizer] + 8) * elements * 1.05 + 1e9
            if needed > available_bytes():
                print(f"{optimizer}, {elements:,}: left out, needs {needed / 1e9:.1f} GB", file=sys.stderr)
                continue
            repeats = 2 if args.tiny else max(3, min(50, int(2e8 / elements)))
            rows.append(row(optimizer, elements, measure(cluster, optimizer, elements, repeats), idle))
            print(" ".join(rows[-1]), file=sys.stderr)
    print(cluster_runs.markdown(rows))


if __name__ == "__main__":
    main()
