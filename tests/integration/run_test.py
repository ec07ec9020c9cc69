#!/usr/bin/env -S python3 -B
"""`leeway run` on real processes: its results, its exit codes, and that nothing is left behind."""

import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, PS, WORKER, TestCase, main, read, weights  # noqa: E402

LONG = ["--num_ps=2", "--num_workers=2", "--epochs=1000", "--pace=20ms"]


class Run(TestCase):
    def test_results(self):
        copy = os.path.join(self.folder, "copy.json")
        run = self.run_leeway("--num_ps=2", "--num_workers=2", "--epochs=2", "--pace=5ms", f"--summary_json={copy}")
        summary = run.finish()
        self.assertEqual(summary["samples"], 2 * 2000)
        self.assertEqual(summary["stop_reason"], "2 epochs are done")
        self.assertTrue(summary["final_evaluation"])
        self.assertEqual(read(copy), read(run.path("summary.json")))
        self.assertIn("</html>", read(run.path("report.html")))
        for name in ("ps-0", "ps-1", "worker-0", "worker-1", "eval"):
            self.assertIn("I " + name, run.log(name))
        for name in ("best", "final"):
            values = weights(run.path(name + ".safetensors"))
            self.assertEqual(sum(map(len, values.values())), 4 * summary["elements"])
        self.wait_until_gone()

    def test_ps_and_worker_are_found_beside_leeway_where_they_are_installed(self):
        installed = os.path.join(self.folder, "bin")
        os.mkdir(installed)
        for program in (LEEWAY, PS, WORKER):
            shutil.copy(os.path.realpath(program), installed)
        data = ["--model=softmax", "--data=synthetic:100", "--epochs=1", f"--out={self.folder}/run"]
        run = self.start("installed", f"{installed}/leeway", "run", *data)
        self.assertEqual(run.wait(), 0, run.output())
        self.assertIn(f"worker-0: {installed}/worker ", read(f"{self.folder}/run/commands.txt"))
        os.remove(f"{installed}/ps")
        run = self.start("incomplete", f"{installed}/leeway", "run", *data)
        self.assertEqual(run.wait(), 1, run.output())
        self.assertIn(f"no program at {installed}/ps or {self.folder}/server/ps; --ps_binary=", run.stderr())

    def test_ctrl_c_ends_all_and_keeps_what_was_seen(self):
        run = self.run_leeway(*LONG)
        run.wait_until_training()
        self.assertGreaterEqual(len(self.pids()), 6)
        run.kill(signal.SIGINT)
        self.assertEqual(run.wait(), 130, run.everything())
        self.assertEqual(self.pids(), [])
        self.assertGreater(run.summary()["samples"], 0)
        self.assertIn("leeway: interrupted", run.stderr())

    def test_kill_9_leaves_nothing_behind(self):
        run = self.run_leeway(*LONG)
        run.wait_until_training()
        run.kill(signal.SIGKILL)
        self.assertEqual(run.wait(), -signal.SIGKILL)
        self.wait_until_gone()

    def test_a_lost_ps_ends_the_run_with_2(self):
        run = self.run_leeway(*LONG)
        run.wait_until_training()
        os.kill(run.pid_of("ps-1"), signal.SIGKILL)
        self.assertEqual(run.wait(), 2, run.everything())
        self.assertIn("leeway: ps-1 was killed by signal 9 (Killed) before training had finished", run.stderr())
        self.assertEqual(self.pids(), [])
        self.assertGreater(run.summary()["samples"], 0)

    def test_a_run_that_loses_its_only_worker_ends_with_2(self):
        run = self.run_leeway("--epochs=1000", "--pace=20ms")
        run.wait_until_training()
        os.kill(run.pid_of("worker-0"), signal.SIGKILL)
        self.assertEqual(run.wait(), 2, run.everything())
        self.assertIn("leeway: no worker is left to train", run.stderr())
        self.assertEqual(self.pids(), [])


if __name__ == "__main__":
    main()
