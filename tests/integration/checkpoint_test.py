#!/usr/bin/env -S python3 -B
"""Checkpoints that are taken while training goes on, and what a ps that was killed does with them."""

import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, LIMIT, TestCase, main  # noqa: E402


class Checkpoint(TestCase):
    def checkpointed(self, *flags, ps=""):
        self.directory = os.path.join(self.folder, "checkpoints")
        return self.run_leeway(
            "--num_ps=2",
            f"--ps_flags=--checkpoint_dir={self.directory} --checkpoint_steps=40 --checkpoint_keep=2 {ps}",
            *flags,
        )

    def leeway(self, *words):
        return subprocess.run([LEEWAY, *words], check=True, capture_output=True, text=True, timeout=LIMIT).stdout

    def committed(self, name):
        return os.path.exists(os.path.join(self.directory, name, "COMMITTED"))

    def check(self, run):
        run.finish()
        self.assertRegex(run.log("ps-0"), "checkpoint step-[0-9]+ is committed")
        listed = json.loads(self.leeway("checkpoint", "list", self.directory, "-o", "json"))
        committed = [name for name in os.listdir(self.directory) if self.committed(name)]
        self.assertLessEqual(len(committed), 2, listed)
        self.assertGreaterEqual(len(committed), 1, listed)
        self.leeway("checkpoint", "verify", self.directory)
        self.leeway("export", self.directory, "-o", os.path.join(self.folder, "exported.safetensors"))

    def test_they_are_taken_kept_and_whole(self):
        self.check(self.checkpointed("--num_workers=3", "--epochs=9", "--pace=15ms", "--optimizer=adam"))

    def test_in_rounds_too(self):
        self.check(self.checkpointed("--num_workers=2", "--aggregation=round", "--epochs=9", "--pace=15ms"))

    def test_a_killed_ps_goes_on_from_the_newest_and_its_journal(self):
        run = self.checkpointed("--num_workers=2", "--epochs=9", "--pace=15ms", "--restart_ps")
        run.wait_for_log("ps-0", "is committed")
        os.kill(run.pid_of("ps-1"), signal.SIGKILL)
        run.wait_for_log("ps-1", "restored from .*step-")
        summary = run.finish()
        self.assertEqual(summary["samples"], 9 * 2000)


if __name__ == "__main__":
    main()
