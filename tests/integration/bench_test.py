#!/usr/bin/env -S python3 -B
"""leeway bench: every bench runs, on tiny sizes, and prints the rows it promises; what it measures is not looked at."""

import json
import math
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, WORKER, TestCase, main, read  # noqa: E402

TINY = ["--bench_pairs=1", "--bench_time=1ms", "--bench_elements=50000"]
KEYS = {"name", "value", "unit", "baseline", "ratio", "goal", "goal_is_most", "what"}
OPTIMIZERS = ["sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw", "ftrl"]
# Name to the goal of its ratio; those with a goal at most are in AT_MOST.
TRANSPORT = {
    "transport.raw_tcp.push": 0,
    "transport.raw_tcp.pull": 0,
    "transport.raw_tcp.both": 0,
    "transport.raw_unix.push": 0,
    "transport.raw_unix.pull": 0,
    "transport.raw_tls.push": 0,
    "transport.raw_tls.pull": 0,
    "transport.tls.push": 0.8,
    "transport.tls.pull": 0.8,
    "transport.protobuf.push": 0,
    "transport.protobuf.pull": 0,
    "transport.memcpy": 0,
    "transport.apply_alone": 0,
    "transport.push_then_apply": 0,
    "transport.write": 0,
    "transport.push_then_write": 0,
    "transport.push": 0.95,
    "transport.pull": 0.95,
    "transport.both": 0,
    "transport.unix.push": 0.9,
    "transport.unix.pull": 0.9,
    "transport.ps.push": 0.9,
    "transport.ps.push_journaled": 0.9,
    "transport.ps.pull": 0.95,
    "transport.ps.both": 0,
    "transport.unix.ps.push": 0,
    "transport.unix.ps.pull": 0.9,
    "transport.push_over_protobuf": 6,
    "transport.pull_over_protobuf": 6,
    "transport.ps.push_over_protobuf": 6,
    "transport.ps.pull_over_protobuf": 6,
}
for way in ("push", "pull"):
    for end, goal in {
        **{"raw_tcp": 0, "raw_unix": 0, "raw_tls": 0, "tls": 0, "protobuf": 0, "ps": 0},
        **{"": 1.3, "unix": 1.3},
    }.items():
        TRANSPORT[".".join(filter(None, ["transport", end, way, "cpu"]))] = goal
LATENCY = {
    "latency.grpc.p50": 0,
    "latency.p50": 1.2,
    "latency.push.p50": 0,
    "latency.grpc.p99": 0,
    "latency.p99": 0,
    "latency.local.p50": 0,
    "latency.local.p99": 0,
    "latency.local.calls": 0,
    "latency.grpc.calls": 0,
    "latency.calls": 0.9,
}
APPLY = {"apply.axpy": 0, "apply.dc": 0, "apply.sgd": 0.9, "apply.adam": 0.8, "apply.adamw": 0.8}
for optimizer in OPTIMIZERS:
    APPLY.setdefault(f"apply.{optimizer}", 0)
    APPLY[f"apply.{optimizer}.checked"] = 0
ENCODE = {"encode.memcpy": 0, "encode.axpy": 0}
for encoding in ("bf16", "int8", "top_k"):
    for work in ("encode", "encode_residual", "decode", "decode_add"):
        ENCODE[f"encode.{encoding}.{work}"] = 0
TRAIN = {"train.plain_loop": 0, "train.one_worker_one_ps": 0.95}
AT_MOST = {name for name in TRANSPORT if name.endswith(".cpu")}
AT_MOST |= {"latency.p50", "latency.push.p50", "latency.p99", "latency.local.p50", "latency.local.p99"}


class Bench(TestCase):
    def rows(self, name, *flags):
        child = self.start(name, LEEWAY, "bench", name, *TINY, "-o", "json", *flags)
        self.assertEqual(child.wait(), 0, child.output())
        self.assertEqual(self.pids(), [])
        return json.loads(child.stdout())

    def check(self, rows, expected):
        by_name = {row["name"]: row for row in rows}
        self.assertEqual(len(by_name), len(rows), "a name twice")
        self.assertEqual({name: row["goal"] for name, row in by_name.items()}, expected)
        for row in rows:
            with self.subTest(row=row):
                self.assertEqual(set(row), KEYS)
                self.assertTrue(math.isfinite(row["value"]) and row["value"] > 0)
                self.assertTrue(row["unit"])
                if row["baseline"]:
                    self.assertIn(row["baseline"], by_name)
                    self.assertTrue(math.isfinite(row["ratio"]) and row["ratio"] > 0)
                    self.assertEqual(row["goal_is_most"], row["name"] in AT_MOST)
                else:
                    self.assertEqual((row["ratio"], row["goal"]), (0, 0))

    def test_transport(self):
        self.check(self.rows("transport"), TRANSPORT)

    def test_apply(self):
        self.check(self.rows("apply"), APPLY)

    def test_encode(self):
        self.check(self.rows("encode"), ENCODE)

    def test_latency(self):
        self.check(self.rows("latency"), LATENCY)

    def test_train(self):
        self.check(self.rows("train", "--bench_model=softmax", "--data=synthetic:1000"), TRAIN)

    def test_train_compares_the_same_device_and_takes_text(self):
        text, words = os.path.join(self.folder, "text"), os.path.join(self.folder, "words")
        worker = os.path.join(self.folder, "worker.sh")
        with open(text, "w", encoding="utf-8") as file:
            file.write("some text " * 1000)
        with open(worker, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\necho "$@" >>{words}\nexec {WORKER} "$@"\n')
        os.chmod(worker, 0o755)
        model = "--bench_model=gpt:layers=1,width=32,heads=2,context=32"
        flags = [model, f"--data=tokens:{text}", "--bench_batch=4", f"--worker_binary={worker}"]
        self.check(self.rows("train", *flags), TRAIN)
        self.assertIn(" --device=cpu ", read(words))

    def test_table(self):
        child = self.start("table", LEEWAY, "bench", "apply", *TINY)
        self.assertEqual(child.wait(), 0, child.output())
        self.assertRegex(child.stdout(), r"^name +value +unit +ratio +goal +met +of\n")
        self.assertRegex(child.stdout(), r"\napply\.sgd +[\d.e+]+ +GB/s +[\d.]+ +>= 0.90 +(yes|no) +apply\.axpy\n")
        self.assertRegex(child.stdout(), r"\napply\.sgd +one step")

    def test_what_it_does_not_know(self):
        for flags, words in (
            (["speed"], "transport, apply"),
            (["apply", "-o", "xml"], "table, json"),
            (["apply", "--bench_elements=0"], "1 to"),
            (["apply", "--bench_pairs=0"], "1 and above"),
            (["train", "--device=cuda:0"], "leeway bench does not take --device"),
            (["train", "--bench_model=mlp", "--data=tokens:x"], "tokens are for --model=gpt"),
        ):
            with self.subTest(flags=flags):
                child = self.start("bad" + flags[-1].strip("-"), LEEWAY, "bench", *flags)
                self.assertEqual(child.wait(), 1)
                self.assertEqual(child.stdout(), "")
                self.assertIn(words, child.stderr())

    def test_interrupted(self):
        child = self.start("long", LEEWAY, "bench", "transport", *TINY, "--bench_pairs=1000000")
        # Itself, three peers or more and the `ps`.
        self.wait_until(lambda: len(self.pids()) >= 5, "the peers", child.output)
        child.kill(signal.SIGINT)
        self.assertEqual(child.wait(), 1)
        self.assertIn("interrupted", child.stderr())
        self.wait_until_gone()


if __name__ == "__main__":
    main()
