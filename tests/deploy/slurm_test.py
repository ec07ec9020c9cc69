#!/usr/bin/env -S python3 -B
"""leeway.sbatch, with stand-ins for srun and scontrol: it trains to the end, and a job that is told to end is queued
again and goes on where it was."""

import os
import re
import signal
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from by_hand import free_port  # noqa: E402
from harness import PS, TestCase, WORKER, main, read, weights  # noqa: E402

SCRIPT = os.path.abspath("deploy/slurm/leeway.sbatch")
FAKE = os.path.abspath("tests/deploy/fake_slurm.py")
EPOCHS, RECORDS = 6, 2000


class Slurm(TestCase):
    def setUp(self):
        super().setUp()
        self.run_folder = os.path.join(self.folder, "run")
        self.requeued = os.path.join(self.folder, "requeued")
        for name in ("srun", "scontrol", "squeue", "scancel"):
            os.symlink(FAKE, os.path.join(self.folder, name))
        for name, target in (("ps", PS), ("worker", WORKER)):
            os.symlink(target, os.path.join(self.folder, name))
        self.port = free_port()

    def sbatch(self, name, *policy, **environment):
        values = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "FAKE_SLURM_REQUEUED": self.requeued,
            "FAKE_SLURM_STATE": "RUNNING",
            "FAKE_SLURM_TASKS": os.path.join(self.folder, f"{name}.tasks"),
            "SLURM_JOB_ID": "17",
            "SLURM_JOB_NODELIST": "127.0.0.1,127.0.0.2,127.0.0.3",
            "BIN_DIR": self.folder,
            "RUN_DIR": self.run_folder,
            "PORT": str(self.port),
            "WORKER_FLAGS": f"--model=mlp:16 --data=synthetic:{RECORDS} --batch=50 --pace=30ms",
            **environment,
        }
        words = [f"{key}={value}" for key, value in values.items()]
        return self.start(name, "env", *words, "bash", SCRIPT, f"--epochs={EPOCHS}", "--linger=0s", *policy)

    def log(self, name):
        return read(os.path.join(self.run_folder, "logs", f"{name}-0.log"))

    def everything(self):
        folder = os.path.join(self.run_folder, "logs")
        return "".join(f"--- {name}\n{read(os.path.join(folder, name))}" for name in sorted(os.listdir(folder)))

    def assert_trained(self, job):
        self.assertEqual(job.wait(), 0, job.output() + self.everything())
        self.assertRegex(self.log("ps-0"), f"{EPOCHS} epochs are done", self.everything())
        self.assertRegex(self.log("ps-0"), rf"evaluation after {EPOCHS * RECORDS} samples: .*\(final\)")
        self.assertTrue(weights(os.path.join(self.run_folder, "final.safetensors")))

    def test_it_trains_to_the_end(self):
        job = self.sbatch("job")
        self.assert_trained(job)
        self.assertIn("shard 1 of 2", self.log("ps-1"), "half of three nodes, at least")
        for index in range(3):
            self.assertIn("joined as worker", read(os.path.join(self.run_folder, "logs", f"worker-{index}.log")))
        self.assertEqual(read(self.requeued), "")

    def test_told_to_end_it_comes_back(self):
        job = self.sbatch("job")
        self.wait_until(lambda: re.search("evaluation after", self.log("ps-0")), "training", job.output)
        job.kill(signal.SIGTERM)
        self.assertEqual(job.wait(), 0, job.output() + self.everything())
        self.assertEqual(read(self.requeued), "17\n", job.output())
        self.assertIn("is committed", self.log("ps-0"), self.everything())
        self.assertNotIn("epochs are done", self.log("ps-0"), "it was over too soon")
        self.wait_until_gone()
        again = self.sbatch("again")
        self.assert_trained(again)
        self.assertRegex(self.log("ps-0"), "the coordinator is back", self.everything())

    def test_ended_by_slurm_it_takes_its_checkpoint_and_leaves_the_rest_to_slurm(self):
        """scancel without a signal, and a node that is lost: Slurm tells steps and script, and a job that a person has
        cancelled does not come back."""
        job = self.sbatch("job", FAKE_SLURM_STATE="COMPLETING")
        self.wait_until(lambda: re.search("evaluation after", self.log("ps-0")), "training", job.output)
        for pid in read(os.path.join(self.folder, "job.tasks")).split():
            os.kill(int(pid), signal.SIGTERM)
        job.kill(signal.SIGTERM)
        self.assertEqual(job.wait(), 0, job.output() + self.everything())
        self.assertIn("Slurm ends the job", job.output())
        self.assertEqual(read(self.requeued), "", job.output())
        self.assertIn("is committed", self.log("ps-0"), self.everything())

    def test_told_to_end_when_training_has_ended_it_does_not_come_back(self):
        job = self.sbatch("job", "--linger=10m")
        final = os.path.join(self.run_folder, "final.safetensors")
        self.wait_until(lambda: os.path.exists(final), "the final weights", job.output)
        job.kill(signal.SIGTERM)
        self.assert_trained(job)
        self.assertEqual(read(self.requeued), "", job.output())

    def test_told_to_end_when_the_run_has_failed_it_does_not_come_back(self):
        diverges = ("--optimizer=sgd", "--learning_rate=50", "--rollback_on_divergence=2", "--quarantine_after=0")
        job = self.sbatch("job", "--linger=10m", "--epochs=1000", "--checkpoint_steps=5", *diverges)
        self.wait_until(lambda: re.search("FINISHED: .*diverged", self.log("ps-0")), "its failure", self.everything)
        job.kill(signal.SIGTERM)
        self.assertEqual(job.wait(), 4, job.output() + self.everything())
        self.assertEqual(read(self.requeued), "", job.output())

    def test_a_wrong_number_of_ps_is_refused(self):
        job = self.sbatch("job", NUM_PS="4")
        self.assertEqual(job.wait(), 1)
        self.assertIn("NUM_PS=4: allowed: 1 to the number of nodes, 3", job.output())


if __name__ == "__main__":
    main()
