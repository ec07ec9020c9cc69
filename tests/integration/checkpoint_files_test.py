#!/usr/bin/env -S python3 -B
"""leeway checkpoint list, verify, reshard, diff and leeway export, on made-up checkpoints."""

import json
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, TestCase, main, read, weights  # noqa: E402

try:
    import safetensors  # of PyPI; without it, harness.weights alone reads the files
except ImportError:
    safetensors = None

MAKE = os.path.abspath("tests/server/checkpoint/make_checkpoint")
MASK = 2**64 - 1


def mix(x):
    """common/hash.h's Mix64."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def combine(seed, value):
    return mix(seed ^ mix(value))


def made_up_bits(seed, step, elements):
    """The weights' bits that checkpoint_fixture.h promises, as little-endian bytes."""
    stream = combine(seed, step * 8)
    return b"".join(struct.pack("<I", combine(stream, i) & 0xFFFFFFFF) for i in range(elements))


class CheckpointFilesTest(TestCase):
    def setUp(self):
        super().setUp()
        self.calls = 0
        self.dir = os.path.join(self.folder, "checkpoints")

    def make(self, step, elements=20000, shards=2, slots=1, seed=5):
        self.calls += 1
        words = [str(n) for n in (step, elements, shards, slots, seed)]
        child = self.start(f"make{self.calls}", MAKE, self.dir, *words)
        self.assertEqual(child.wait(), 0, child.output())
        return os.path.join(self.dir, f"step-{step:08}")

    def leeway(self, *words, code=0):
        self.calls += 1
        child = self.start(f"leeway{self.calls}", LEEWAY, *words)
        self.assertEqual(child.wait(), code, child.output())
        return child

    def refused(self, *words, what):
        child = self.leeway(*words, code=1)
        self.assertIn(what, child.stderr())
        self.assertEqual(child.stderr().count("\n"), 1, child.stderr())

    def flip(self, path, offset):
        with open(path, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))

    def test_list_and_verify(self):
        for step in (3, 20, 100):
            self.make(step)
        tensors = "shard-00001-of-00002.safetensors"
        os.remove(os.path.join(self.dir, "step-00000100", "COMMITTED"))
        self.leeway("checkpoint", "verify", self.dir)
        self.flip(os.path.join(self.dir, "step-00000020", tensors), 2000)

        # list looks at the index alone: the flipped bit is for verify.
        lines = self.leeway("checkpoint", "list", self.dir).stdout().splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["step", "100", "20", "3"])
        self.assertEqual([line.split()[-1] for line in lines], ["state", "committed", "good", "good"])
        rows = json.loads(self.leeway("checkpoint", "list", self.dir, "-o", "json").stdout())
        self.assertEqual([row["step"] for row in rows], [100, 20, 3])
        self.assertEqual([row["good"] for row in rows], [False, True, True])
        self.assertEqual([row["committed"] for row in rows], [False, True, True])
        self.assertEqual(rows[1]["num_shards"], 2)

        child = self.leeway("checkpoint", "verify", self.dir, code=1)
        self.assertEqual(child.stdout().count("\n"), 2, child.stdout())
        self.assertIn(f"BAD: {self.dir}/step-00000020/{tensors}: damaged in bytes 0 to ", child.stdout())
        self.assertIn("step-00000003: good", child.stdout())
        rows = json.loads(self.leeway("checkpoint", "verify", self.dir, "--output=json", code=1).stdout())
        self.assertEqual([row["good"] for row in rows], [False, True])
        self.assertEqual([(d["file"], d["offset"]) for d in rows[0]["damages"]], [(tensors, 0)])
        self.leeway("checkpoint", "verify", os.path.join(self.dir, "step-00000003"))
        child = self.leeway("checkpoint", "verify", os.path.join(self.dir, "step-00000100"), code=1)
        self.assertIn("is not committed", child.stdout())

    def test_reshard_and_diff(self):
        self.make(3)
        other = os.path.join(self.folder, "other")
        child = self.leeway("checkpoint", "reshard", self.dir, "--num_shards=3", "-o", other)
        path = os.path.join(other, "step-00000003")
        self.assertIn(f"{path}: 3 shards, from {self.dir}/step-00000003", child.stdout())
        self.assertEqual(len([name for name in os.listdir(path) if name.endswith("of-00003.state")]), 3)
        self.leeway("checkpoint", "verify", other)
        self.assertIn(" 0 ", self.leeway("checkpoint", "diff", self.dir, other).stdout())
        self.make(4)
        rows = json.loads(self.leeway("checkpoint", "diff", self.dir, other, "-o", "json", code=1).stdout())
        self.assertEqual([row["name"] for row in rows[:3]], ['first/w "x"', "b", "scalar"])
        self.assertEqual(rows[0]["elements"], 10000)
        self.assertGreater(rows[0]["different"], 9990)
        self.refused("checkpoint", "reshard", other, "--num_shards=2", "-o", other, what="holds a good checkpoint")

    def test_export(self):
        seed, elements = 5, 20001
        self.make(3, elements=elements, shards=3, seed=seed)
        newer = self.make(4, elements=elements, shards=3, seed=seed)
        self.flip(os.path.join(newer, "shard-00000-of-00003.state"), 30)
        file = os.path.join(self.folder, "weights.safetensors")
        child = self.leeway("export", self.dir, "-o", file)
        self.assertIn(f"{file}: 3 tensors of step 3", child.stdout())
        self.assertIn(f"skipped {newer}: {newer}/shard-00000-of-00003.state: damaged", child.stderr())
        wanted = made_up_bits(seed, 3, elements)
        shapes = {'first/w "x"': [5000, 2], "b": [1, elements - 10001, 1], "scalar": []}
        found = weights(file)
        self.assertEqual(b"".join(found[name] for name in shapes), wanted)
        with open(file, "rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        self.assertEqual({name: header[name]["shape"] for name in shapes}, shapes)
        if safetensors is None:
            return
        with open(file, "rb") as opened:
            for name, entry in safetensors.deserialize(opened.read()):
                self.assertEqual(entry["dtype"], "F32")
                self.assertEqual(entry["shape"], shapes[name])
                self.assertEqual(bytes(entry["data"]), found[name])

    def test_refused(self):
        path = self.make(3)
        none = os.path.join(self.folder, "none")
        os.mkdir(none)
        self.refused("checkpoint", what="usage: leeway checkpoint list PATH")
        self.refused("checkpoint", "show", path, what="usage: leeway checkpoint list PATH")
        self.refused("checkpoint", "diff", path, what="usage: leeway checkpoint diff PATH PATH")
        self.refused("checkpoint", "list", path, "-o", "xml", what="-o=xml: allowed: table, json")
        self.refused("checkpoint", "list", none + "/x", what="none/x: no such directory")
        self.refused("checkpoint", "verify", none, what="holds no checkpoint")
        self.refused("checkpoint", "reshard", path, "-o", none, what="--num_shards=0: allowed: 1 and above")
        self.refused("checkpoint", "reshard", path, "--num_shards=2", what="--output=: allowed: the directory")
        self.refused("export", what="usage: leeway export PATH -o FILE")
        self.refused("export", path, what="--output=: allowed: the file")
        self.refused("export", none, "-o", none + "/f", what="holds no good checkpoint")
        self.assertEqual(os.listdir(none), [])
        self.assertEqual(read(os.path.join(path, "COMMITTED"))[-1], "\n")


if __name__ == "__main__":
    main()
