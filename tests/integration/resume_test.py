#!/usr/bin/env python3
"""The same `leeway run` command, given again, goes on where it was interrupted; other directories are left alone."""

import os
import re
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, PS, TestCase, main, read  # noqa: E402

EPOCHS = 4
RECORDS = 2000


class Resume(TestCase):
    def again(self, *flags):
        """The one run of this test, with other flags perhaps."""
        self.runs = 0
        kept = f"--ps_flags=--checkpoint_dir={self.folder}/kept --lease=2s"
        return self.run_leeway("--num_workers=2", "--pace=20ms", f"--epochs={EPOCHS}", kept, *flags)

    def refused(self, words, *flags):
        run = self.again(*flags)
        self.assertEqual(run.wait(), 1, run.everything())
        self.assertIn(words, run.stderr())

    def test_interrupted_and_given_again(self):
        run = self.again()
        run.wait_until_training()
        self.assertIn(f"leeway top --coordinator={run.coordinator()}", run.stdout())
        # A second one, by mistake: the first one's files are left alone.
        second = self.start("second", *run.process.args)
        self.assertEqual(second.wait(), 1, second.output())
        self.assertIn("commands.txt: another process has it (is its run going on?)", second.stderr())
        self.assertTrue(run.coordinator())
        why = self.start("why", LEEWAY, "why", run.out)
        self.assertEqual(why.wait(), 1)
        self.assertIn(f"has not ended; while it goes on: leeway why --coordinator={run.coordinator()}", why.stderr())
        run.kill(signal.SIGINT)
        self.assertEqual(run.wait(), 128 + signal.SIGINT, run.everything())
        self.assertIn(f"interrupted; the same command with --out={run.out} goes on where it was", run.stderr())
        before = run.summary()
        self.assertEqual(before["state"], "training")
        self.assertGreater(before["samples"], 0)
        there = f"{self.folder}/kept, not {self.folder}/other"
        self.refused(
            f"can be gone on with if --ps_flags has --checkpoint_dir={there}",
            f"--ps_flags=--checkpoint_dir={self.folder}/other",
        )

        # Its workers are refused, whatever state the run is in: they would be again.
        self.refused("worker", "--model=softmax")

        run = self.again()
        run.wait_for(f"the run in .* goes on from {re.escape(self.folder)}/kept")
        summary = run.finish()
        # Every record of every epoch once, over both.
        self.assertEqual(summary["samples"], EPOCHS * RECORDS, run.everything())
        self.assertEqual(summary["run_id"], before["run_id"])
        self.refused("a directory that is new or empty; the run in this one is finished")
        self.assertEqual(read(run.path("summary.json")).count('"finished"'), 1)

    def test_directories_that_are_left_alone(self):
        run = self.run_leeway("--steps=10")
        run.finish()
        os.unlink(run.path("summary.json"))
        again = [LEEWAY, "run", f"--out={run.out}", "--model=softmax", "--data=synthetic:100"]
        child = self.start("again", *again)
        self.assertEqual(child.wait(), 1)
        self.assertIn("the run in this one kept nothing to go on from", child.stderr())

        home = os.path.join(self.folder, "home")
        os.mkdir(home)
        with open(os.path.join(home, "thesis.tex"), "w", encoding="utf-8") as file:
            file.write("years of work")
        child = self.start("home", *again, f"--out={home}")
        self.assertEqual(child.wait(), 1)
        self.assertIn("this one holds 'thesis.tex' and is not of an earlier run", child.stderr())
        child = self.start("ps", PS, f"--checkpoint_dir={home}")
        self.assertEqual(child.wait(), 1)
        self.assertIn(f"--checkpoint_dir={home}: it holds 'thesis.tex' and nothing of a run", child.stderr())
        self.assertEqual(os.listdir(home), ["thesis.tex"])


if __name__ == "__main__":
    main()
