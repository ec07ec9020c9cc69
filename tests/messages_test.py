#!/usr/bin/env -S python3 -B
"""Each message that docs/troubleshooting.md quotes (in bold) is printed by the programs: its fixed parts stand in the
string literals of one source file."""

import os
import re
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # beside this file in the source tree
FOLDERS = ("cli", "common", "kernels", "server", "worker")
QUOTED = re.compile(r"^\*\*`(.+)`\*\*$")
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
SHORTEST = 4  # of a fixed part, in characters: shorter ones are everywhere


def messages(text):
    return [match.group(1) for match in map(QUOTED.match, text.split("\n")) if match]


def fixed_parts(message):
    """What stands around the placeholders: "no answer from <whom> for <time>" has two parts."""
    parts = [part.strip(" :,'") for part in re.split(r"<[^<>]*>", message)]
    return [part for part in parts if len(part) >= SHORTEST]


def literals(source):
    """All string literals of a C++ file in one text; those that the compiler joins are joined."""
    source = re.sub(r"^\s*(#include|//).*$", "", source, flags=re.MULTILINE)
    joined = re.sub(r'(?<!\\)"\s*\n\s*"', "", source)
    return "\n".join(match.group(1).replace('\\"', '"') for match in LITERAL.finditer(joined))


def missing(message, texts):
    """Nothing when one of `texts` has every part."""
    parts = fixed_parts(message)
    if parts and any(all(part in text for part in parts) for text in texts):
        return []
    return parts or [message]


class Messages(unittest.TestCase):
    def test_what_is_quoted_is_printed(self):
        with open(os.path.join(ROOT, "docs/troubleshooting.md"), encoding="utf-8") as file:
            quoted = messages(file.read())
        texts = []
        for folder in FOLDERS:
            for place, _, names in os.walk(os.path.join(ROOT, folder)):
                for name in names:
                    if name.endswith((".cc", ".h")):
                        with open(os.path.join(place, name), encoding="utf-8") as file:
                            texts.append(literals(file.read()))
        self.assertGreater(len(quoted), 25)
        self.assertGreater(len(texts), 100)
        self.assertEqual({message: found for message in quoted if (found := missing(message, texts))}, {})
        self.assertEqual(len(set(quoted)), len(quoted))

    def test_this_test_sees_what_is_not_printed(self):
        text = literals('#include "a.h"\nf("no answer from {} "\n  "for {}", x);\n// "only a comment"\ng("it\\"s");')
        self.assertEqual(missing("no answer from <whom> for <time>", [text]), [])
        self.assertEqual(missing("no reply from <whom>", [text]), ["no reply from"])
        self.assertEqual(missing("only a comment", [text]), ["only a comment"])
        self.assertNotEqual(missing("no answer from <whom> in file <f>", ["no answer from", "in file"]), [])
        self.assertEqual(missing("<a> <b>", [text]), ["<a> <b>"])
        self.assertEqual(messages("**`a <b>`**\n`c`\n**d**\n"), ["a <b>"])


if __name__ == "__main__":
    unittest.main()
