#!/usr/bin/env -S python3 -B
"""--optimizer=ftrl on a linear model: --l1 keeps the weights that matter, makes the others 0, and costs no accuracy."""

import array
import math
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import TestCase, main, weights  # noqa: E402

INFORMATIVE = 8  # of the features, in half of the records each
FEATURES = 200  # the others are in one of ten


def write_libsvm(path, records, seed):
    draw = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(records):
            there = [i for i in range(FEATURES) if draw.random() < (0.5 if i < INFORMATIVE else 0.1)]
            score = sum(3 if i % 2 == 0 else -3 for i in there if i < INFORMATIVE)
            label = int(draw.random() < 1 / (1 + math.exp(-score)))
            file.write(" ".join([str(label)] + [f"{i + 1}:1" for i in there + [FEATURES]]) + "\n")


class Ftrl(TestCase):
    def trained(self, *flags):
        """Accuracy, and the weights as one list per class."""
        train, test = (os.path.join(self.folder, name) for name in ("train", "test"))
        write_libsvm(train, 4000, 1)
        write_libsvm(test, 4000, 2)
        run = self.run_leeway(
            *["--model=softmax", f"--data=libsvm:{train},{test}", "--optimizer=ftrl", "--learning_rate=0.1"],
            *["--num_ps=2", "--num_workers=2", "--epochs=10", *flags],
        )
        accuracy = run.finish()["final_accuracy"]
        values = array.array("f", weights(run.path("final.safetensors"))["fc.weight"])
        width = len(values) // 2
        return accuracy, [values[:width], values[width:]]

    def test_l1_gives_zeros_at_no_loss_of_accuracy(self):
        dense_accuracy, dense = self.trained()
        self.assertGreater(dense_accuracy, 0.82)
        self.assertEqual(sum(w == 0 for row in dense for w in row), 0)
        accuracy, sparse = self.trained("--l1=3")
        self.assertGreater(accuracy, dense_accuracy - 0.01)
        zeros = sum(w == 0 for row in sparse for w in row) / sum(len(row) for row in sparse)
        self.assertGreater(zeros, 0.8)
        for row in sparse:
            self.assertEqual([w for w in row[:INFORMATIVE] if w == 0], [])


if __name__ == "__main__":
    main()
