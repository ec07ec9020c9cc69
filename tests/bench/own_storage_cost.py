#!/usr/bin/env python3
"""Seconds that a checkpoint takes with --checkpoint_storage=own, beside the same cluster with one shared folder.

    bazel build --config=opt //server:ps //worker //cli:leeway
    tests/bench/own_storage_cost.py --dir=/a/folder/on/the/disk/that/counts

Two clusters of --num_ps `ps`, one of each kind, with a worker each that pauses, so that nothing else uses the machine.
They take checkpoints on request, in turns, --repeats each; the ratio is the median of the pairs' ratios. Both kinds
write to the same disk, and the network is loopback: what the pieces cost on their way is the processor's part.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
LIMIT = 120  # seconds for a start


class Cluster:
    def __init__(self, options, folder, kind):
        self.options, self.folder, self.kind = options, os.path.join(folder, kind), kind
        os.mkdir(self.folder)
        self.processes = []
        self.address = self.start_ps(0, "--checkpoint_interval=inf", "--epochs=1000", "--optimizer=adam")
        for index in range(1, options.num_ps):
            self.start_ps(index, f"--coordinator={self.address}", f"--checkpoint_storage={kind}")
        worker = [f"--coordinator={self.address}", f"--model={options.model}", "--data=synthetic:1000", "--batch=8"]
        self.start("worker/worker", *worker, "--pace=10m")

    def start(self, program, *flags):
        log = open(os.path.join(self.folder, f"{len(self.processes)}.log"), "w", encoding="utf-8")
        command = [os.path.join(self.options.programs, program), *flags]
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def start_ps(self, index, *flags):
        """Its address, once it serves."""
        place = os.path.join(self.folder, str(index if self.kind == "own" else 0))
        port = os.path.join(self.folder, f"{index}.port")
        common = [f"--shard_index={index}", f"--num_shards={self.options.num_ps}", "--keep_journal"]
        self.start("server/ps", *common, f"--checkpoint_dir={place}", f"--port_file={port}", *flags)
        end = time.monotonic() + LIMIT
        while not os.path.exists(port) and time.monotonic() < end:
            time.sleep(0.05)
        with open(port, encoding="utf-8") as file:
            return file.read().strip()

    def leeway(self, *words):
        command = [os.path.join(self.options.programs, "cli/leeway"), *words, f"--coordinator={self.address}"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def checkpoint(self):
        """Seconds, and bytes."""
        begun = time.monotonic()
        done = self.leeway("checkpoint", "now")
        seconds = time.monotonic() - begun
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        path = done.stdout.strip()
        size = sum(os.path.getsize(os.path.join(path, name)) for name in os.listdir(path))
        shutil.rmtree(path)  # else the next one, of the same step, need not be written
        return seconds, size

    def wait(self):
        """Until one can be taken."""
        end = time.monotonic() + LIMIT
        while True:
            try:
                return self.checkpoint()
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def end(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", default=os.path.join(ROOT, "bazel-bin"))
    parser.add_argument("--dir", default=None, help="where checkpoints go; default: the system's temporary folder")
    parser.add_argument("--model", default="mlp:100000", help="78.5 M parameters, with Adam 0.95 GB")
    parser.add_argument("--num_ps", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="that it runs, not what it measures")
    options = parser.parse_args()
    options.programs = os.path.abspath(options.programs)
    if options.tiny:
        options.model, options.repeats = "mlp:16", 1
    with tempfile.TemporaryDirectory(prefix="own-storage-", dir=options.dir) as folder:
        clusters = []
        try:
            clusters = [Cluster(options, folder, kind) for kind in ("shared", "own")]
            for cluster in clusters:
                cluster.wait()
            ratios, per_gb = [], {"shared": [], "own": []}
            for _ in range(options.repeats):
                pair = []
                for cluster in clusters:
                    seconds, size = cluster.checkpoint()
                    pair.append(seconds / size * 1e9)
                    per_gb[cluster.kind].append(pair[-1])
                ratios.append(pair[1] / pair[0])
                print(f"shared {pair[0]:.2f} s/GB, own {pair[1]:.2f} s/GB: {ratios[-1]:.2f}", flush=True)
            medians = {kind: statistics.median(values) for kind, values in per_gb.items()}
            both = f"shared {medians['shared']:.2f} s/GB, own {medians['own']:.2f} s/GB"
            print(f"of {size / 1e9:.2f} GB, median: {both}, ratio {statistics.median(ratios):.2f}")
        finally:
            for cluster in clusters:
                cluster.end()


if __name__ == "__main__":
    main()
