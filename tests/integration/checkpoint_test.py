#!/usr/bin/env -S python3 -B
"""Checkpoints that are taken while training goes on, and what a ps that was killed does with them."""

import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, LIMIT, TestCase, main, read, read_bytes, weights, worker_of  # noqa: E402



def varints(data):
    """The top-level varint fields of a protobuf message, by number."""
    fields, at = {}, 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            fields[number] = varint()
        elif kind == 2:
            length = varint()
            at += length
        else:
            at += {1: 8, 5: 4}[kind]
    return fields


VERSION, SAMPLES = 5, 6  # of ShardState
STATE_HEADER = 24  # bytes before it (server/checkpoint/shard_state.cc)


class Checkpoint(TestCase):
    def checkpointed(self, *flags, ps=""):
        self.directory = os.path.join(self.folder, "checkpoints")
        return self.run_leeway("--num_ps=2", f"--ps_flags=--checkpoint_dir={self.directory} {ps}", *flags)

    def leeway(self, *words):
        return subprocess.run([LEEWAY, *words], check=True, capture_output=True, text=True, timeout=LIMIT).stdout

    def committed(self):
        names = sorted(os.listdir(self.directory))
        return [name for name in names if os.path.exists(os.path.join(self.directory, name, "COMMITTED"))]

    def index(self, name):
        return json.loads(read(os.path.join(self.directory, name, "checkpoint.json")))

    def check_progress(self, name):
        """What the coordinator counts as trained on is what each shard has applied, step for step."""
        state = self.index(name)["coordinator_state"]
        for shard in range(2):
            data = read_bytes(os.path.join(self.directory, name, f"shard-{shard:05}-of-00002.state"))
            fields = varints(data[STATE_HEADER:])
            self.assertEqual(fields.get(VERSION, 0), int(state.get("steps", 0)), name)
            self.assertEqual(fields.get(SAMPLES, 0), int(state.get("samples", 0)), name)
        if "leases" in state:
            self.assertEqual(state["leases"].get("committed", "0"), state.get("samples", "0"), name)

    def check(self, run, keep):
        run.finish()
        self.assertRegex(run.log("ps-0"), "checkpoint step-[0-9]+ is committed")
        committed = self.committed()
        self.assertLessEqual(len(committed), keep, committed)
        self.leeway("checkpoint", "verify", self.directory)
        for name in committed:
            self.check_progress(name)
        # The last one is the end.
        exported = os.path.join(self.folder, "exported.safetensors")
        self.leeway("export", self.directory, "-o", exported)
        self.assertEqual(weights(exported), weights(run.path("final.safetensors")))
        return committed

    def test_they_are_taken_kept_and_whole(self):
        run = self.checkpointed(
            *["--num_workers=3", "--epochs=9", "--pace=15ms", "--optimizer=adam"],
            ps="--checkpoint_steps=40 --checkpoint_keep=2",
        )
        self.assertEqual(len(self.check(run, 2)), 2)

    def test_each_says_what_its_weights_were_trained_on(self):
        run = self.checkpointed(
            *["--num_workers=3", "--epochs=6", "--pace=5ms", "--pipeline_depth=2", "--jitter=0.5"],
            ps="--checkpoint_steps=10 --checkpoint_keep=1000",
        )
        self.assertGreaterEqual(len(self.check(run, 1000)), 3)

    def test_in_rounds_too(self):
        run = self.checkpointed(
            *["--num_workers=2", "--aggregation=round", "--epochs=9", "--pace=15ms"],
            ps="--checkpoint_steps=20 --checkpoint_keep=1000",
        )
        self.assertGreaterEqual(len(self.check(run, 1000)), 2)

    def test_rounds_that_end_within_one(self):
        run = self.checkpointed(
            *["--num_workers=2", "--aggregation=round", "--minutes=0.05", "--pace=5ms"],
            ps="--checkpoint_steps=20 --checkpoint_keep=1000 --lease=10m",
        )
        # A round stays open for want of the second worker's push, until the time is over.
        run.wait_for_log("ps-0", "TRAINING: training begins")
        stopped = run.pid_of("worker-1")
        os.kill(stopped, signal.SIGSTOP)
        run.wait_for_log("ps-0", "FINISHING: .* minutes are over")
        os.kill(stopped, signal.SIGCONT)
        self.check(run, 1000)
        summary = run.summary()
        self.assertEqual(self.index(self.committed()[-1])["coordinator_state"].get("steps", "0"), str(summary["steps"]))
        # Its push was held, and then dropped.
        self.assertEqual(worker_of(summary, "worker-0")["steps"], summary["steps"] + 1)

    def test_training_goes_on_meanwhile(self):
        run = self.checkpointed("--num_workers=3", "--epochs=9", "--pace=15ms", ps="--checkpoint_steps=60")
        run.finish()
        meanwhile = re.findall(r"is committed; (\d+) steps were trained on meanwhile", run.log("ps-0"))
        # Far more than what was under way when it began: six of each worker.
        self.assertGreater(max(map(int, meanwhile)), 18, run.log("ps-0"))

    def test_a_killed_ps_goes_on_from_the_newest_and_its_journal(self):
        run = self.checkpointed(
            *["--num_workers=2", "--epochs=9", "--pace=15ms", "--restart_ps"],
            ps="--checkpoint_steps=40 --checkpoint_keep=2",
        )
        run.wait_for_log("ps-0", "is committed")
        os.kill(run.pid_of("ps-1"), signal.SIGKILL)
        run.wait_for_log("ps-1", "restored from .*step-")
        summary = run.finish()
        self.assertEqual(summary["samples"], 9 * 2000)

    def test_on_request(self):
        run = self.checkpointed("--num_workers=2", "--epochs=9", "--pace=15ms")
        run.wait_until_training()
        ask = ["checkpoint", "now", f"--coordinator={run.coordinator()}"]
        paths = [self.leeway(*ask).strip() for _ in range(2)]
        for path in paths:
            self.assertTrue(os.path.exists(os.path.join(path, "COMMITTED")), paths)
        self.assertEqual(len(set(paths)), 2, paths)
        self.check(run, 3)
        # Without a cluster.
        late = subprocess.run([LEEWAY, *ask, "--checkpoint_timeout=1s"], capture_output=True, text=True, timeout=LIMIT)
        self.assertNotEqual(late.returncode, 0)

    def test_on_request_without_a_checkpoint_dir_it_is_refused(self):
        run = self.run_leeway("--epochs=9", "--pace=15ms")
        run.wait_until_training()
        ask = [LEEWAY, "checkpoint", "now", f"--coordinator={run.coordinator()}"]
        refused = subprocess.run(ask, capture_output=True, text=True, timeout=LIMIT)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("no --checkpoint_dir", refused.stderr)
        run.finish()

    def test_a_journal_that_grows_asks_for_one(self):
        run = self.checkpointed(
            *["--num_workers=2", "--epochs=9", "--pace=15ms"],
            ps="--journal_max_bytes=1000000 --checkpoint_keep=1000",
        )
        # Each step's push is half the model's 51 KB on each shard.
        self.assertGreaterEqual(len(self.check(run, 1000)), 3)


if __name__ == "__main__":
    main()
