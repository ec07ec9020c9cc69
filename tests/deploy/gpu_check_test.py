#!/usr/bin/env -S python3 -B
"""deploy/gpu/check.sh, with stand-ins for the programs of the bundle and of CUDA: what fails, what never ends and what
has no time left is in the table and in the exit code. And where deploy/gpu/env.sh finds cuBLASLt."""

import os
import re
import shutil
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from harness import TestCase, main, read  # noqa: E402

CHECK = os.path.abspath("deploy/gpu/check.sh")
ENV = os.path.abspath("deploy/gpu/env.sh")
TRAINING = [f"{model}{workers}" for model in ("mlp", "cnn", "gpt") for workers in (1, 4)]
TRAINING += ["tf32", "bf16x4", "gpt124m", "int8", "topk"]
GROUPS = ["ops", "transformer", "attention", "vector"]
SUMMARY = """{"final_accuracy": 0.5, "training_loss": 1, "samples_per_second": 2, "seconds": 3, "samples": 4,
"training": [], "workers": [{"role": "trainer", "steps": 6, "communication_per_step": {"exposed_share": 0.25}}]}"""

STAND_INS = {
    "env.sh": "export PATH=$PWD/cuda:$PATH",
    "data/text": "text",
    "cuda/nvidia-smi": "echo A GPU, 1, 2",
    # Whether PyTorch is installed here must not matter.
    "cuda/python3": '[ "$1" = -c ] && exit 1; exec /usr/bin/env -S PATH=/usr/bin:/bin python3 "$@"',
    "bin/parity": "echo result: no case of $* failed",
    "bin/benchmark": "${BENCHMARK:-true}\necho result: fast",
    "bin/leeway": 'for flag; do case $flag in --out=*) cat >"${flag#--out=}/summary.json" <<\'END\'\n'
    + SUMMARY
    + "\nEND\n;; esac; done",
    "cuda/compute-sanitizer": """
case "$*" in
  *$SANITIZER_FAILS*) echo "ERROR SUMMARY: 1 error"; exit 9 ;;
  *$SANITIZER_HANGS*) echo at work; sleep 1000 ;;
  *$SANITIZER_REFUSES*) echo "Error: Device not supported"; exit 1 ;;
esac
while [ "$1" != bin/parity ]; do shift; done
"$@"
case "$*" in *$SANITIZER_SLEEPS*) ;; *) echo "========= RACECHECK SUMMARY: 0 hazards" ;; esac""",
}


class GpuCheck(TestCase):
    def setUp(self):
        super().setUp()
        shutil.copy(CHECK, os.path.join(self.folder, "check.sh"))
        for name, text in STAND_INS.items():
            path = os.path.join(self.folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"#!/bin/bash\n{text}\n" if name != "data/text" else text)
            os.chmod(path, 0o755)

    def check(self, **environment):
        """The exit code, and the table's rows by step: (verdict, result)."""
        nothing = {f"SANITIZER_{what}": "none" for what in ("FAILS", "HANGS", "REFUSES", "SLEEPS")}
        words = [f"{name}={value}" for name, value in {**nothing, **environment}.items()]
        child = self.start("check", "/usr/bin/env", *words, os.path.join(self.folder, "check.sh"))
        code = child.wait()
        self.wait_until_gone()
        table = child.stdout().partition("\nstep         verdict")[2].splitlines()[1:]
        rows = [re.fullmatch(r"(\w+) +(.{12}) +\d+ s  (.*)", row) for row in table]
        self.assertTrue(all(rows), child.everything())
        self.output = child.everything()
        return code, {row[1]: (row[2].strip(), row[3]) for row in rows}

    def test_all_is_well(self):
        code, rows = self.check()
        self.assertEqual(code, 0, self.output)
        expected = {"machine", "parity", "tests", "memcheck", "racecheck", "benchmark", "torch", "compile", *TRAINING}
        self.assertEqual(set(rows), expected)
        self.assertEqual({verdict for verdict, _ in rows.values()}, {"ok"})
        self.assertIn("no case of --device=cuda:0 failed", rows["parity"][1])
        self.assertIn("6 steps of 500.0 ms", rows["gpt4"][1])
        self.assertIn("exposed [0.25]", rows["gpt4"][1])
        self.assertIn("skipped", rows["torch"][1])
        for tool in ("memcheck", "racecheck"):
            self.assertEqual(rows[tool][1].strip(), "ops ok, transformer ok, attention ok, vector ok")
            for group in GROUPS:
                log = read(os.path.join(self.folder, "results", f"{tool}.{group}.log"))
                self.assertIn(f"--only={group}", log)
                self.assertEqual("--small" in log, tool == "racecheck")

    def test_a_sanitizer_that_finds_something(self):
        code, rows = self.check(SANITIZER_FAILS="racecheck*attention", CHECK_ONLY="memcheck racecheck")
        self.assertEqual(code, 1, self.output)
        self.assertEqual(rows["memcheck"][0], "ok")
        verdict, result = rows["racecheck"]
        self.assertEqual(verdict, "failed (1)")
        self.assertEqual(result.strip(), "ops ok, transformer ok, attention failed, vector ok")
        self.assertIn("ERROR SUMMARY: 1 error", self.output)

    def test_a_sanitizer_that_says_nothing_has_not_worked(self):
        code, rows = self.check(SANITIZER_SLEEPS="only=ops", CHECK_ONLY="racecheck")
        self.assertEqual(code, 1, self.output)
        self.assertEqual(rows["racecheck"][1].strip(), "ops failed, transformer ok, attention ok, vector ok")

    def test_a_sanitizer_that_does_not_end_leaves_what_the_others_found(self):
        code, rows = self.check(
            SANITIZER_HANGS="racecheck*vector", CHECK_ONLY="racecheck benchmark", CHECK_SECONDS="10"
        )
        self.assertEqual(code, 1, self.output)
        verdict, result = rows["racecheck"]
        self.assertEqual(verdict, "failed (1)")
        self.assertEqual(result.strip(), "ops ok, transformer ok, attention ok, vector not ended")

    def test_a_step_that_does_not_end_leaves_no_time(self):
        code, rows = self.check(BENCHMARK="sleep 1000", CHECK_ONLY="benchmark torch", CHECK_SECONDS="3")
        self.assertEqual(code, 1, self.output)
        self.assertRegex(rows["benchmark"][0], "over [0-9] s")
        self.assertEqual(rows["torch"], ("no time left", ""))

    def test_a_machine_on_which_the_sanitizer_cannot_work(self):
        code, rows = self.check(SANITIZER_REFUSES="memcheck", CHECK_ONLY="memcheck")
        self.assertEqual(code, 0, self.output)
        self.assertIn("skipped, compute-sanitizer says: Device not supported", rows["memcheck"][1])

    def test_a_step_that_does_not_exist(self):
        code, rows = self.check(CHECK_ONLY="paritty")
        self.assertEqual((code, rows), (2, {}))
        self.assertIn("there is no step paritty", self.output)

    def test_where_cublas_is_found(self):
        def library(folder):
            path = os.path.join(self.folder, folder)
            os.makedirs(path, exist_ok=True)
            with open(os.path.join(path, "libcublasLt.so.13"), "w", encoding="utf-8"):
                pass
            return path

        script = read(ENV).replace("/usr/l", self.folder + "/usr/l")  # this machine's own are not looked at
        # The loader's list names one that is gone.
        gone = f"libcublasLt.so.13 (libc6,x86-64) => {self.folder}/old/libcublasLt.so.13"
        with open(os.path.join(self.folder, "cuda/ldconfig"), "w", encoding="utf-8") as file:
            file.write(f"#!/bin/bash\necho '\t{gone}'\n")
        os.chmod(os.path.join(self.folder, "cuda/ldconfig"), 0o755)
        with open(os.path.join(self.folder, "cuda/python3"), "w", encoding="utf-8") as file:
            file.write('#!/bin/bash\nexec /usr/bin/python3 "$@"\n')

        def found():
            path = f"{self.folder}/cuda:/usr/bin:/bin"
            words = [f"PATH={path}", f"PYTHONPATH={self.folder}/site", "bash", "-c", script]
            child = self.start("env", "/usr/bin/env", "-i", *words)
            self.assertEqual(child.wait(), 0)
            self.wait_until_gone()
            return child.stdout().splitlines()[-1]

        for folder in ("site/nvidia/cu13/lib", "old", "usr/local/cuda-13.0/lib64"):
            place = library(folder)
            self.assertEqual(found(), f"cuBLASLt is in {place}")


if __name__ == "__main__":
    main()
