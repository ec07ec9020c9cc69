#!/usr/bin/env python3
"""Writes bpe_merges.txt and bpe_golden.inc: merges in GPT-2's format, and what tiktoken makes of some texts with them.

    pip install tiktoken && cd tests/worker/data && ./bpe_golden.py

GPT-2's own merges are not ours to carry along; these are learned from the texts below, which have what is difficult:
contractions, runs of spaces, digits, letters of many scripts, bytes that no token joins.
"""
import collections
import json
import os
import tempfile
import textwrap

import regex
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
MERGES = 150

TEXTS = [
    "the worker pushes the gradient to the server, the server's clock moves; the workers don't wait.",
    "  two spaces,   three spaces\n\n\tand a tab \n  at the end   ",
    "they'll we've I'm it's can't you're he'd 'S 'T'll''s",
    "in 2014 the 1234567 parameters of 3.14 servers cost $1,000.00!!! (50%)",
    "größer naïve Ärger straße Привет, мир! Здравствуй 你好,世界 こんにちは 안녕 مرحبا שלום नमस्ते",
    "x\u00a0y\u2003z\u3000w\u0085v \u00a0 u\u2028t\u2029 ¹²³ ½ Ⅻ ٣٤ _under_score_ a-b--c",
    "🙂🙃 👨‍👩‍👧 e\u0301 \u200b zero\u200bwidth \ufeff",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaa thethethethethe theserverthe\x00\x01\x7f",
    " ",
    "\n",
    "a",
    "   a",
    "a \n b",
]


def byte_letters():
    """GPT-2's letters for bytes: printable ones for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def learn(texts):
    words = collections.Counter()
    for text in texts:
        for word in regex.findall(PATTERN, text):
            words[tuple(bytes([byte]) for byte in word.encode())] += 1
    merges = []
    while len(merges) < MERGES:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        known = {left + right for left, right in merges}
        pairs = {pair: count for pair, count in pairs.items() if pair[0] + pair[1] not in known}
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        after = collections.Counter()
        for word, count in words.items():
            parts, i = [], 0
            while i < len(word):
                joined = word[i : i + 2] == best
                parts.append(word[i] + word[i + 1] if joined else word[i])
                i += 2 if joined else 1
            after[tuple(parts)] += count
        words = after
    return merges


def main():
    letters = byte_letters()
    spell = lambda token: "".join(letters[byte] for byte in token)  # noqa: E731
    merges = learn(TEXTS[:8])
    with open("bpe_merges.txt", "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n")
        for left, right in merges:
            file.write(f"{spell(left)} {spell(right)}\n")
    order = sorted(letters, key=lambda byte: (ord(letters[byte]) > 255, byte))
    numbers = {spell(bytes([byte])): number for number, byte in enumerate(order)}
    for left, right in merges:
        numbers[spell(left + right)] = len(numbers)
    with tempfile.TemporaryDirectory() as folder:
        encoder = os.path.join(folder, "encoder.json")
        with open(encoder, "w", encoding="utf-8") as file:
            json.dump(numbers, file)
        # tiktoken compares the two files: it wants the numbers that GPT-2's rule gives.
        ranks = data_gym_to_mergeable_bpe_ranks(os.path.abspath("bpe_merges.txt"), encoder)
    encoding = tiktoken.Encoding("golden", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    with open("bpe_golden.inc", "w", encoding="utf-8") as file:
        file.write("// Written by bpe_golden.py.\n")
        file.write("const struct {\n  std::string text;\n  std::vector<std::uint16_t> tokens;\n} kGolden[] = {\n")
        for text in TEXTS:
            data = text.encode()
            escaped = "".join(f"\\{byte:03o}" for byte in data)
            tokens = "\n      ".join(textwrap.wrap(", ".join(map(str, encoding.encode(text))), 100))
            lines = "\n     ".join(f'"{escaped[i : i + 100]}"' for i in range(0, len(escaped), 100))
            file.write(f"    {{std::string({lines},\n                 {len(data)}),\n     {{{tokens}}}}},\n")
        file.write("};\n")


if __name__ == "__main__":
    main()
