#!/usr/bin/env -S python3 -B
"""A cluster of real processes trains a small transformer on a text: it learns far more than how often letters come."""

import collections
import math
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, TestCase, main, read_bytes, weights  # noqa: E402

WORDS = "parameter server worker gradient clock shard journal lease round block update vector".split()
MODEL = "--model=gpt:layers=1,width=32,heads=2,context=32"


def make_text(characters):
    """Words in random order: letters depend on those before them, words do not."""
    generator = random.Random(7)
    text = ""
    while len(text) < characters:
        text += generator.choice(WORDS) + " "
    return text


def unigram_entropy(text):
    """Nats per character that a model needs which knows the letters' frequencies alone."""
    return -sum(count / len(text) * math.log(count / len(text)) for count in collections.Counter(text).values())


class Gpt(TestCase):
    def write_text(self):
        path = os.path.join(self.folder, "text")
        text = make_text(60_000)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path, text

    def test_a_cluster_learns_a_text(self):
        path, text = self.write_text()
        run = self.run_leeway(
            MODEL, f"--data=tokens:{path}", "--num_ps=2", "--num_workers=2", "--batch=8", "--epochs=15",
            "--optimizer=adam", "--learning_rate=0.003")
        summary = run.finish()
        windows = (len(text) - 1) // 32
        self.assertEqual(summary["samples"], 15 * (windows - windows // 10))
        loss, accuracy = summary["final_loss"], summary["final_accuracy"]
        # Only the words' choice is random: log(12) nats for a word and its space.
        per_character = math.log(len(WORDS)) * len(WORDS) / sum(len(word) + 1 for word in WORDS)
        self.assertLess(loss, 0.5 * unigram_entropy(text))
        self.assertGreater(loss, 0.9 * per_character)
        self.assertGreater(accuracy, 0.6)
        self.assertLess(accuracy, 1)
        tensors = weights(run.path("final.safetensors"))
        self.assertEqual(len(tensors["wte.weight"]), 256 * 32 * 4)
        self.assertIn("h.0.mlp.c_proj.bias", tensors)
        self.assertIn("records of 32 tokens", run.log("worker-0"))

    def test_tokenize_and_train_on_the_tokens(self):
        path, text = self.write_text()
        merges, tokens = os.path.join(self.folder, "merges.txt"), os.path.join(self.folder, "train.bin")
        with open(merges, "w", encoding="utf-8") as file:
            file.write("#version: 0.2\ne r\na r\n\u0120 s\n")
        made = self.start("tokenize", LEEWAY, "tokenize", f"--merges={merges}", path, "-o", tokens)
        self.assertEqual(made.wait(), 0, made.everything())
        count = (os.path.getsize(tokens) - 1024) // 2
        self.assertLess(count, len(text))
        self.assertIn(f"{tokens}: {count} tokens of {len(text)} bytes, vocabulary 260; train on it with", made.stdout())
        run = self.run_leeway(MODEL + ",vocab=260", f"--data=tokens:{tokens}", "--batch=8", "--steps=20")
        self.assertEqual(run.finish()["num_records"], (count - 1) // 32 - (count - 1) // 32 // 10)
        empty, twice = os.path.join(self.folder, "empty"), os.path.join(self.folder, "twice")
        with open(empty, "w", encoding="utf-8"):
            pass
        os.link(tokens, twice)
        before = read_bytes(tokens)
        for words, message in (
            (["tokenize"], "usage: leeway tokenize"),
            (["tokenize", path, "-o", tokens], "--merges="),
            (["tokenize", f"--merges={path}", path, "-o", tokens], "is no merge of two tokens"),
            (["tokenize", f"--merges={merges}", path, "-o", "tokens.txt"], "ends in .bin"),
            (["tokenize", f"--merges={merges}", "/no/such", "-o", tokens], "/no/such: cannot be opened"),
            (["tokenize", f"--merges={merges}", path, empty, "-o", tokens], f"{empty}: is empty"),
            (["tokenize", f"--merges={merges}", path, twice, "-o", tokens], f"its inputs; it is {twice}"),
            (["tokenize", f"--merges={twice}", path, "-o", tokens], f"its inputs; it is {twice}"),
            (["tokenize", f"--merges={merges}", path, "-o", tokens, "--output=x.bin"], "-o is short for --output"),
        ):
            made = self.start("refused", LEEWAY, *words)
            self.assertEqual(made.wait(), 1, made.everything())
            self.assertIn(message, made.stderr())
            self.assertEqual(read_bytes(tokens), before)

    def test_models_and_data_that_do_not_fit_are_refused_before_anything_starts(self):
        path, _ = self.write_text()
        for flags, message in (
            ((MODEL, "--data=synthetic:100"), "a model of tokens takes --data=tokens:FILE"),
            (("--model=cnn", f"--data=tokens:{path}"), "tokens are for --model=gpt"),
            ((MODEL, "--data=tokens:/no/such"), "/no/such: cannot be opened"),
            (("--model=gpt:2m", f"--data=tokens:{path}"), "allowed are a size, 1m"),
        ):
            run = self.run_leeway(*flags)
            self.assertEqual(run.wait(), 1, run.everything())
            self.assertIn(message, run.stderr())
            self.assertEqual(len(run.stderr().strip().splitlines()), 1, run.stderr())


if __name__ == "__main__":
    main()
