#!/usr/bin/env -S python3 -B
"""Every encoding of gradients and weights trains, and takes the bytes it should."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import TestCase, main  # noqa: E402

CLUSTER = ["--model=mlp:128", "--num_ps=2", "--num_workers=2", "--epochs=3", "--learning_rate=0.1", "--pace=2ms"]
CLUSTER += ["--ps_flags=--lease=10m"]  # nobody dies: not on a busy machine either


class Encodings(TestCase):
    def finish(self, *flags):
        """The summary of a run that has learned something."""
        summary = self.run_leeway(*CLUSTER, *flags).finish()
        self.assertEqual(summary["samples"], 3 * 2000)
        self.assertGreater(summary["final_accuracy"], 0.6)
        self.assertEqual(sum(shard["pushes"]["partial"] for shard in summary["shards"]), 0)
        return summary

    def smaller(self, summary, kind):
        """By which factor the bytes of the pushes (or the pulls) are fewer than those of float32 are."""
        steps = sum(worker["steps"] for worker in summary["workers"] if worker["role"] == "trainer")
        sent = sum(shard[kind] for shard in summary["shards"])
        return steps * summary["elements"] * 4 / sent

    def test_gradients(self):
        for flags, least, most in (
            (["--push_encoding=f32"], 0.99, 1.01),
            (["--push_encoding=bf16"], 1.99, 2.01),
            (["--push_encoding=int8"], 3.9, 4.01),
            (["--push_encoding=top_k:0.01"], 40, 51),
            (["--push_encoding=top_k:0.01", "--momentum_correction=0.5"], 40, 51),
        ):
            with self.subTest(flags=flags):
                factor = self.smaller(self.finish(*flags), "push_bytes")
                self.assertGreater(factor, least)
                self.assertLess(factor, most)

    def test_weights(self):
        for encoding, least, most in (("f32", 0.9, 1.01), ("bf16", 1.8, 2.01), ("delta", 3, 4.01)):
            with self.subTest(encoding=encoding):
                # The evaluator's pulls are full ones.
                factor = self.smaller(self.finish(f"--pull_encoding={encoding}", "--eval_every_epochs=0"), "pull_bytes")
                self.assertGreater(factor, least)
                self.assertLess(factor, most)

    def test_what_is_refused_is_not_sent(self):
        run = self.run_leeway(*CLUSTER, "--push_encoding=int8", "--max_delay=2", "--straggle=1:3")
        summary = run.finish()
        self.assertGreater(summary["final_accuracy"], 0.6)
        self.assertGreater(sum(worker["pushes"]["refused"] for worker in summary["workers"]), 0)
        self.assertGreater(self.smaller(summary, "push_bytes"), 3.9)

    def test_each_worker_has_its_own(self):
        self.finish("--worker_flags=0:--push_encoding=int8 --pull_encoding=delta;1:--push_encoding=top_k:0.05")

    def test_rounds_are_reproducible(self):
        flags = ["--aggregation=round", "--push_encoding=top_k:0.05", "--pull_encoding=bf16", "--learning_rate=0.2"]
        first, second = (self.finish(*flags)["weights_crc32c"] for _ in range(2))
        self.assertEqual(first, second)

    def test_what_does_not_fit_the_policy_is_refused(self):
        for flags, why in (
            (["--aggregation=round", "--worker_flags=1:--pull_encoding=delta"], "pull_encoding"),
            (
                ["--optimizer=momentum", "--worker_flags=1:--push_encoding=top_k:0.1 --momentum_correction=0.9"],
                "momentum_correction",
            ),
        ):
            with self.subTest(flags=flags):
                run = self.run_leeway(*CLUSTER, *flags)
                run.wait_for_log("worker-1", why)
                run.kill()
                run.process.wait()


if __name__ == "__main__":
    main()
