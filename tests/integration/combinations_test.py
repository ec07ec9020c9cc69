#!/usr/bin/env -S python3 -B
"""Random combinations of flags that nobody has written down, on small clusters, some of which are disturbed: each run
ends by itself, with every record trained on as its flags promise, and with what its files and figures say of it in
agreement.

LEEWAY_TEST_SEED repeats the first of them, the next have the seeds behind it.
LEEWAY_TEST_COMBINATIONS=N: how many (12).
"""

import glob
import json
import math
import os
import random
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, LIMIT, TestCase, main, read, weights  # noqa: E402

RATES = {
    "sgd": 0.02, "momentum": 0.003, "adagrad": 0.01, "rmsprop": 0.0005, "adam": 0.0005, "adamw": 0.0005, "ftrl": 0.05,
}  # fmt: skip


class Combination:
    """What a seed draws. Every combination that it can draw is allowed."""

    def __init__(self, seed, folder):
        self.seed, self.draw = seed, random.Random(seed)
        self.ps, self.workers = self.pick(1, 2, 3), self.pick(1, 2, 2, 3, 4)
        self.flags, self.ps_flags = {"seed": seed % 100}, {}
        self.draw_data(folder)
        self.draw_consistency()
        self.draw_optimizer()
        self.draw_wire()
        self.draw_storage(folder)
        self.draw_end()
        self.restarts = self.kept and self.chance(0.6)

    def chance(self, share):
        return self.draw.random() < share

    def pick(self, *values):
        return self.draw.choice(values)

    def maybe(self, share, flags, name, *values):
        if self.chance(share):
            flags[name] = self.pick(*values)

    def draw_data(self, folder):
        kind = self.pick("synthetic", "csv", "libsvm", "tokens")
        self.records = {"synthetic": 1000, "csv": 900, "libsvm": 900, "tokens": None}[kind]
        files = f"{folder}/train.{kind},{folder}/test.{kind}"
        data = {"synthetic": "synthetic:1000", "tokens": f"tokens:{folder}/text"}
        self.flags["data"] = data.get(kind, f"{kind}:{files}")
        models = ["softmax", "mlp:16"] + (["cnn"] if kind == "synthetic" else [])
        self.flags["model"] = "gpt:layers=1,width=16,heads=2,context=32" if kind == "tokens" else self.pick(*models)
        self.flags["batch"] = self.pick(5, 16, 50, 333)
        self.maybe(0.3, self.flags, "accumulate", 2, 3)

    def draw_consistency(self):
        flags = self.flags
        self.rounds = self.chance(0.3)
        if self.rounds:
            flags["aggregation"] = "round"
            self.maybe(0.4, flags, "round_quorum", *range(1, self.workers + 1))
        else:
            flags["staleness_bound"] = self.pick(-1, 0, 1, 3, 8)
            self.maybe(0.35, flags, "max_delay", 2, 4, 16, "sqrt")
            self.maybe(0.5, flags, "delay_policy", "scale", "dc")
            self.maybe(0.3, flags, "data_sharing", "static")
            if "data_sharing" not in flags:
                self.maybe(0.3, flags, "lease_records", 0, 100)
            if flags["staleness_bound"] != 0:
                self.maybe(0.6, flags, "pipeline_depth", 0, 2, 5, 14)
        self.static = self.rounds or "data_sharing" in flags
        self.maybe(0.3, flags, "push_atomicity", "stream", "whole")
        if "push_atomicity" not in flags:
            self.maybe(0.3, flags, "clip_norm", 0.05, 1)

    def draw_optimizer(self):
        flags = self.flags
        flags["optimizer"] = self.pick(*RATES)
        flags["learning_rate"] = RATES[flags["optimizer"]]
        if flags["optimizer"] == "ftrl":
            self.maybe(0.6, flags, "l1", 0.01, 0.1)
        self.maybe(0.3, flags, "weight_decay", 1e-4, 0.01)
        self.maybe(0.3, flags, "group_rate", "bias:2", "bias:0")
        self.maybe(0.3, flags, "warmup_samples", 500)
        if self.chance(0.5):
            step = {"schedule": "step", "schedule_step_samples": 1000, "schedule_gamma": 0.7}
            flags.update(self.pick(step, {"schedule": "cosine", "schedule_total_samples": 6000}))

    def draw_wire(self):
        flags = self.flags
        self.maybe(0.6, flags, "push_encoding", "bf16", "int8", "top_k:0.01", "top_k:0.1")
        if "top_k" in flags.get("push_encoding", "") and flags["optimizer"] not in ("momentum", "adam", "adamw"):
            self.maybe(0.4, flags, "momentum_correction", 0.9)
        self.maybe(0.5, flags, "pull_encoding", "bf16", "bf16" if self.rounds else "delta")
        self.maybe(0.2, flags, "local_sockets", "false")
        self.maybe(0.2, self.ps_flags, "threads", 1, 4)
        self.maybe(0.2, self.ps_flags, "max_held_bytes", 4 << 20)

    def draw_storage(self, folder):
        self.kept = self.chance(0.65)
        if not self.kept:
            return
        flags = self.ps_flags
        flags.update(checkpoint_dir=f"{folder}/kept-{self.seed}", journal=self.pick("on", "on", "fsync", "off"))
        self.maybe(0.3, flags, "checkpoint_storage", "own")
        self.maybe(0.5, flags, "checkpoint_steps", 1, 5, 20)
        self.maybe(0.3, flags, "checkpoint_keep", 1, 100)
        if flags["journal"] != "off":
            self.maybe(0.4, flags, "keep_journal", "true")
            self.maybe(0.3, flags, "journal_max_bytes", 1, 20000)

    def draw_end(self):
        flags = self.flags
        pace = self.pick(5, 20)
        flags["pace"] = f"{pace}ms"
        steps = self.pick(60, 120)  # of a worker
        push = flags["batch"] * flags.get("accumulate", 1)
        end = self.pick("epochs", "epochs", "steps", "minutes", "target_metric")
        if end == "epochs":
            flags["epochs"] = max(1, steps * push * self.workers // (self.records or 700) // (4 if push > 100 else 1))
        elif end == "steps":
            flags["steps"] = steps * (1 if self.rounds else self.workers) // (4 if push > 100 else 1)
        else:
            flags["minutes"] = 0.08
        if end == "target_metric":
            flags.update(target_metric=self.pick("loss:0.5", "accuracy"), patience=2, eval_every_seconds=0.3)
        self.end = end

    def words(self):
        flags = {**self.flags, "num_ps": self.ps, "num_workers": self.workers}
        words = [f"--{name}={value}" for name, value in flags.items()] + (["--restart_ps"] if self.restarts else [])
        return words + ["--restart_workers", "--ps_flags=" + " ".join(f"--{n}={v}" for n, v in self.ps_flags.items())]


class Combinations(TestCase):
    def write_data(self):
        draw = random.Random(5)
        rows = [[draw.gauss(0, 1) for _ in range(20)] for _ in range(4)]
        for part, count in (("train", 900), ("test", 100)):
            with open(f"{self.folder}/{part}.csv", "w", encoding="ascii") as csv, \
                 open(f"{self.folder}/{part}.libsvm", "w", encoding="ascii") as libsvm:  # fmt: skip
                for _ in range(count):
                    values = [draw.gauss(0, 1) for _ in range(20)]
                    label = max(range(4), key=lambda row: sum(a * b for a, b in zip(rows[row], values)))
                    csv.write(f"{label}," + ",".join(f"{value:.4f}" for value in values) + "\n")
                    libsvm.write(f"{label} " + " ".join(f"{i}:{value:.4f}" for i, value in enumerate(values, 1)) + "\n")
        with open(f"{self.folder}/text", "w", encoding="ascii") as text:
            text.write(" ".join(draw.choice(["one", "two", "three", "four"]) for _ in range(5000)))

    def disturb(self, run, combination):
        """Kills a process that will be started again, changes the policy or takes a checkpoint; or nothing."""
        draw = combination.draw
        names = ["eval"] + [f"worker-{i}" for i in range(combination.workers)]
        names += [f"ps-{i}" for i in range(combination.ps)] * 2 if combination.restarts else []
        what = draw.choice(["nothing", "nothing", "kill", "kill", "set", "checkpoint"])
        if what == "nothing":
            return what
        run.wait_for_log("ps-0", "TRAINING: ")
        if what == "kill":
            what = draw.choice(names)
            os.kill(run.pid_of(what), signal.SIGKILL)
            return what
        words = {"set": ["set", "clip_norm=3", "quarantine_after=5"], "checkpoint": ["checkpoint", "now"]}[what]
        where = f"--coordinator={run.coordinator()}"
        said = subprocess.run([LEEWAY, *words, where], capture_output=True, text=True, timeout=LIMIT)
        over = "training is over|is finished|no answer from the coordinator|no --checkpoint_dir|whole with a clip_norm"
        self.assertRegex(said.stderr if said.returncode else "over: no --checkpoint_dir", over)
        return what

    def tool(self, *words):
        return subprocess.run([LEEWAY, *words], check=True, capture_output=True, text=True, timeout=LIMIT).stdout

    def check(self, run, combination, disturbed):
        code = run.wait()
        if code == 2 and disturbed == "eval":
            self.assertIn("no evaluator was there at the end", run.stderr())  # killed within a lease of it
            return
        self.assertEqual(code, 0)
        summary = run.summary()
        self.assertEqual(summary["state"], "finished")
        self.assertTrue(math.isfinite(summary["final_loss"]) and summary["final_evaluation"])
        if not disturbed.startswith(("ps", "worker", "eval")):
            for log in glob.glob(run.path("*.log")):
                self.assertNotRegex(read(log), r"(?m)^\S+ \S+ E ")
            self.assertEqual(sum(shard["pushes"]["partial"] for shard in summary["shards"]), 0)
        if combination.end == "epochs" and not combination.static:
            given_up = max([0] + [int(n) for n in re.findall(r"are given up, .* (\d+) in all", run.log("ps-0"))])
            epochs = combination.flags["epochs"]
            self.assertEqual(summary["samples"], epochs * summary["num_records"] - given_up)
        self.tool("why", run.out)
        if combination.kept:
            self.check_files(run, combination.ps_flags)

    def check_files(self, run, flags):
        final = weights(run.path("final.safetensors"))
        kept = flags["checkpoint_dir"]
        found = json.loads(self.tool("checkpoint", "verify", kept, "-o", "json"))
        self.assertTrue(found)
        path = f"{self.folder}/again.safetensors"
        self.tool("export", kept, "-o", path)
        self.assertEqual(weights(path), final, "the last checkpoint is not of the final weights")
        if flags["journal"] != "off":
            self.tool("replay", kept, f"--replay_weights={path}")
            self.assertEqual(weights(path), final, "the journals do not lead to the final weights")

    def test_each_ends_by_itself_as_its_flags_say(self):
        self.write_data()
        first = int(os.environ.get("LEEWAY_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        for seed in range(first, first + int(os.environ.get("LEEWAY_TEST_COMBINATIONS", 12))):
            combination = Combination(seed, self.folder)
            print(f"LEEWAY_TEST_SEED={seed}: {' '.join(combination.words())}", flush=True)
            run = self.run_leeway(*combination.words())
            disturbed = self.disturb(run, combination)
            try:
                self.check(run, combination, disturbed)
            except (AssertionError, subprocess.CalledProcessError) as error:
                why = f"LEEWAY_TEST_SEED={seed}, {disturbed}: {error} {getattr(error, 'stderr', '')}"
                self.fail(f"{why}\n{run.everything()}")
            self.wait_until_gone()


if __name__ == "__main__":
    main()
