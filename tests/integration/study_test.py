#!/usr/bin/env -S python3 -B
"""`leeway study`, the program: its table and its JSON, the seed that repeats a run, and flags that it refuses."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, TestCase, main  # noqa: E402

TRAINS = ["--workers=4", "--model=mlp:16", "--data=synthetic:500", "--batch=16", "--pushes=200"]


class Study(TestCase):
    def study(self, *flags):
        """Exit code, standard output and error."""
        child = self.start("study", LEEWAY, "study", *flags)
        code = child.wait()
        said = child.stdout(), child.stderr()
        for path in (child.stdout_path, child.stderr_path):
            os.unlink(path)
        return code, *said

    def rows(self, *flags):
        code, said, error = self.study("-o", "json", *flags)
        self.assertEqual(code, 0, error)
        return {row["name"]: row for row in json.loads(said)["policies"]}

    def test_a_bound_helps_against_slow_steps_and_not_against_a_slow_worker(self):
        slow = self.rows("--stragglers=persistent")
        self.assertEqual(
            list(slow),
            ["round", "round:7", "bound:1", "bound:3", "bound:10", "bound:-1", "max_delay:8", "max_delay:16", "scale"]
            + ["dc"],
        )
        speed = {name: row["pushes_per_second"] for name, row in slow.items()}
        self.assertAlmostEqual(speed["bound:3"] / speed["round"], 1, delta=0.05)
        self.assertGreater(speed["bound:-1"], 3 * speed["round"])
        self.assertGreater(speed["round:7"], 3 * speed["round"])
        self.assertLess(slow["max_delay:8"]["delay"]["max"], 8)
        self.assertGreater(slow["max_delay:8"]["refused"], 0)
        self.assertEqual(slow["max_delay:8"]["pushes"], 20000)
        self.assertGreater(self.rows("--stragglers=transient")["bound:3"]["pushes_per_second"], 4.8)
        for row in slow.values():
            self.assertTrue(row["complete"], row)
            buckets = row["delay"]["histogram"]
            self.assertEqual(sum(bucket["count"] for bucket in buckets), row["pushes"])
            self.assertTrue(all(a["to"] < b["from"] for a, b in zip(buckets, buckets[1:])))

    def test_the_seed_repeats_a_run(self):
        for flags in (["--stragglers=mixed,deaths", "--pushes=3000"], TRAINS):
            for output in ("table", "json"):
                first = self.study(*flags, f"--output={output}")
                self.assertEqual(first[0], 0, first[2])
                self.assertEqual(self.study(*flags, f"--output={output}"), first)
                other = self.study(*flags, f"--output={output}", "--seed=2")
                self.assertEqual(other[0], 0, other[2])
                self.assertNotEqual(other[1], first[1])

    def test_training(self):
        flags = [*TRAINS, "--policies=round,bound:-1", "--optimizer=momentum", "--learning_rate=0.02"]
        rows = self.rows(*flags, "--target=accuracy:0.3", "--evaluations=8")
        for row in rows.values():
            trained = row["training"]
            self.assertGreater(trained["final_accuracy"], 0.5)
            self.assertEqual(len(trained["curve"]), 8)
            self.assertEqual(trained["curve"][-1]["seconds"], row["seconds"])
            met = [point["seconds"] for point in trained["curve"] if point["accuracy"] >= 0.3]
            self.assertEqual(trained["seconds_to_target"], met[0])
        self.assertIsNone(self.rows(*flags, "--target=loss:0.000001")["round"]["training"]["seconds_to_target"])
        code, said, error = self.study(*flags, "--target=accuracy:0.3")
        self.assertEqual(code, 0, error)
        self.assertIn("time to 30.0 %", said)
        self.assertIn("simulated time", said)
        self.assertIn("mlp:16 on synthetic:500, batches of 16, momentum with rate 0.02", said)

    def test_a_rate_that_diverges_is_said_to(self):
        flags = [*TRAINS, "--policies=bound:-1", "--learning_rate=1e6"]
        row = self.rows(*flags)["bound:-1"]
        self.assertGreater(row["training"]["nonfinite_gradients"], 0)
        self.assertIn("bound:-1: diverged", self.study(*flags)[1])

    def test_a_policy_that_gets_nowhere_is_given_up(self):
        flags = ["--workers=1000", "--policies=max_delay:1", "--pushes=2000"]
        row = self.rows(*flags)["max_delay:1"]
        self.assertFalse(row["complete"])
        self.assertLess(row["pushes"], 2000)
        self.assertIn("max_delay:1: given up", self.study(*flags)[1])

    def test_ten_thousand_workers(self):
        rows = self.rows("--workers=10000", "--pushes=100000", "--stragglers=mixed", "--policies=round,bound:3,scale")
        self.assertEqual([row["pushes"] for row in rows.values()], [100000] * 3)

    def test_flags_that_are_refused(self):
        for flags, words in (
            (["--workers=0"], ["--workers=0", "1 to 20000"]),
            (["--workers=20001"], ["--workers=20001", "1 to 20000"]),
            (["--pushes=10000001"], ["--pushes=10000001", "10000000"]),
            (["--stragglers=slow"], ["--stragglers", "slow", "persistent"]),
            (["--policies=round:9"], ["--policies", "round:9", "max_delay:R"]),
            (["--step_time=0s"], ["--step_time=0", "1ms to 1h"]),
            (["--message_time=2h"], ["--message_time=2h", "0 to 1h"]),
            (["--lease=1ms"], ["--lease=1ms", "10ms to 24h"]),
            (["--evaluations=0"], ["--evaluations=0", "1 to 10000"]),
            (["--target=accuracy:0.5"], ["--target=accuracy:0.5", "--model"]),
            (["--target=accuracy:2", "--model=mlp"], ["--target=accuracy:2", "up to 1"]),
            (["--optimizer=adam"], ["--optimizer=adam", "only with --model"]),
            (["--data=synthetic:100"], ["--data=synthetic:100", "only with --model"]),
            (["--model=perceptron"], ["perceptron", "softmax"]),
            (["--model=gpt:1m"], ["gpt:1m", "synthetic:20000"]),
            (["--model=mlp", "--data=/nowhere"], ["/nowhere"]),
            (["--model=mlp", "--learning_rate=-1"], ["rate", "-1"]),
            (["--model=mlp", "--batch=0"], ["--batch=0"]),
            (["--model=mlp", "--data=synthetic:100", "--workers=101"], ["--workers=101", "100 records"]),
            (["--model=mlp:65536,65536", "--workers=20000"], ["--model=mlp:65536,65536", "memory"]),
            (["--pipeline_depth=15"], ["--pipeline_depth=15", "0 to 14"]),
            (["--model=mlp", "--optimizer=ftrl", "--l1=-1"], ["l1", "-1"]),
            (["--model=mlp", "--optimizer=ftrl", "--l2=-1"], ["l2", "-1"]),
            (["--model=mlp", "--optimizer=ftrl", "--beta=-1"], ["beta", "-1"]),
            (["--staleness_bound=3"], ["leeway study does not take --staleness_bound"]),
            (["-o", "xml"], ["xml", "table, json"]),
            (["round"], ["flags only", "round"]),
        ):
            with self.subTest(flags=flags):
                code, said, error = self.study(*flags)
                self.assertEqual((code, said), (1, ""))
                self.assertEqual(error.count("\n"), 1, error)
                for word in words:
                    self.assertIn(word, error)


if __name__ == "__main__":
    main()
