#!/usr/bin/env -S python3 -B
"""deploy/gpu/check.sh, with stand-ins for the programs of the bundle and of CUDA: what fails, what never ends and what
has no time left is in the table and in the exit code; what is asked for wrongly, and a machine without a GPU, is one
line; nothing is left behind by a signal. And where deploy/gpu/env.sh finds cuBLASLt."""

import os
import re
import shutil
import signal
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from harness import TestCase, main, read, read_bytes  # noqa: E402

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
    "bin/parity": '[ -z "${NO_GPU:-}" ] || { echo "UNAVAILABLE: $NO_GPU" >&2; exit 2; }\n'
    + "echo result: no case of $* failed",
    "bin/conv_test": "true",
    "bin/benchmark": "${BENCHMARK:-true}\necho result: fast",
    "bin/leeway": f"""
echo "$*"
${{LEEWAY:-true}}
for flag; do case $flag in --out=*) cat >"${{flag#--out=}}/summary.json" <<'END'
{SUMMARY}
END
;; esac; done""",
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

    def start_check(self, *arguments, program="check.sh", **environment):
        nothing = {f"SANITIZER_{what}": "none" for what in ("FAILS", "HANGS", "REFUSES", "SLEEPS")}
        words = [f"{name}={value}" for name, value in {**nothing, **environment}.items()]
        program = os.path.join(self.folder, program)
        return self.start("check", "/usr/bin/env", "--default-signal=INT", *words, program, *arguments)

    def check(self, *arguments, **environment):
        """The exit code, and the table's rows by step: (verdict, result)."""
        child = self.start_check(*arguments, **environment)
        code = child.wait()
        self.wait_until_gone()
        table = child.stdout().partition("\nstep         verdict")[2].splitlines()[1:]
        rows = [re.fullmatch(r"(\w+) +(.{12}) +\d+ s  (.*)", row) for row in table]
        self.assertTrue(all(rows), child.everything())
        self.output = child.everything()
        return code, {row[1]: (row[2].strip(), row[3]) for row in rows}

    def refused(self, pattern, *arguments, **environment):
        """One line that has the pattern, exit code 2, and nothing was run."""
        before = sorted(os.listdir(self.folder))
        child = self.start_check(*arguments, **environment)
        self.assertEqual(child.wait(), 2, child.everything())
        self.assertRegex(child.stderr(), pattern)
        self.assertEqual(child.stderr().count("\n"), 1, child.stderr())
        self.assertNotIn("verdict", child.stdout())
        for path in (child.stdout_path, child.stderr_path):
            os.remove(path)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def left(self):
        """What lies in OUT but logs."""
        return [name for name in os.listdir(os.path.join(self.folder, "results")) if not name.endswith(".log")]

    def test_all_is_well(self):
        code, rows = self.check()
        self.assertEqual(code, 0, self.output)
        expected = {"machine", "parity", "tests", "memcheck", "racecheck", "benchmark", "torch", "compile", *TRAINING}
        self.assertEqual(set(rows), expected)
        skipped = {name for name, (verdict, _) in rows.items() if verdict == "skipped"}
        self.assertEqual(skipped, {"torch", "compile"})
        self.assertEqual({verdict for verdict, _ in rows.values()}, {"ok", "skipped"})
        self.assertEqual(self.left(), [])
        self.assertIn("no case of --device=cuda:0 failed", rows["parity"][1])
        self.assertIn("6 steps of 500.0 ms", rows["gpt4"][1])
        self.assertIn("exposed [0.25]", rows["gpt4"][1])
        self.assertIn("there is no PyTorch", rows["torch"][1])
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

    def test_a_run_that_does_not_end_leaves_nothing(self):
        code, rows = self.check(LEEWAY="sleep 1000", CHECK_ONLY="gpt1", CHECK_SECONDS="2")
        self.assertEqual(code, 1, self.output)
        self.assertRegex(rows["gpt1"][0], "over [0-9] s")
        self.assertEqual(self.left(), [])

    def test_a_machine_on_which_the_sanitizer_cannot_work(self):
        code, rows = self.check(SANITIZER_REFUSES="memcheck", CHECK_ONLY="memcheck")
        self.assertEqual(code, 0, self.output)
        self.assertEqual(rows["memcheck"][0], "skipped")
        self.assertIn("compute-sanitizer says: Device not supported", rows["memcheck"][1])

    def test_what_is_asked_for_wrongly(self):
        self.refused("there is no step paritty", CHECK_ONLY="paritty")
        self.refused("no step is left", CHECK_ONLY="parity tests", CHECK_SKIP="tests parity")
        self.refused("no step is left", CHECK_ONLY=" ")
        for seconds in ("5m", "1e3", "08", "0", "-1", "1 2", "abc", "12,3", "9" * 20):
            self.refused(f"CHECK_SECONDS={seconds}", CHECK_SECONDS=seconds)
        self.refused("--all .usage:", "--all")
        self.refused("2 arguments .usage:", "one", "two")
        for out in ("/proc/x", "/dev/null"):
            self.refused(out, out)

    def test_help_writes_nothing(self):
        before = sorted(os.listdir(self.folder))
        for flag in ("-h", "--help"):
            child = self.start_check(flag)
            self.assertEqual(child.wait(), 0, child.everything())
            self.assertIn("usage:", child.stdout())
        self.assertEqual(sorted({*os.listdir(self.folder)} - {"check.out", "check.err"}), before)

    def test_a_machine_without_a_gpu(self):
        os.mkdir(os.path.join(self.folder, "results"))
        self.refused("no GPU can be used here", NO_GPU="no GPU can be used here")
        self.assertEqual(os.listdir(os.path.join(self.folder, "results")), [])
        os.remove(os.path.join(self.folder, "bin/parity"))
        self.refused("bin/parity")

    def test_a_bundle_without_the_programs(self):
        for name in ("leeway", "conv_test"):
            os.remove(os.path.join(self.folder, "bin", name))
        code, rows = self.check(CHECK_ONLY=f"parity tests {' '.join(TRAINING)}")
        self.assertEqual(code, 0, self.output)
        self.assertEqual(rows.pop("parity")[0], "ok")
        self.assertEqual(set(rows), {"tests", *TRAINING})
        self.assertEqual({verdict for verdict, _ in rows.values()}, {"skipped"})

    def test_a_run_that_fails_is_no_matter_of_python(self):
        code, rows = self.check(LEEWAY="exit 3", CHECK_ONLY="gpt1")
        self.assertEqual((code, rows["gpt1"][0]), (1, "failed (3)"), self.output)
        self.assertNotIn("Traceback", self.output)

    def test_without_python_there_are_no_figures(self):
        os.remove(os.path.join(self.folder, "cuda/python3"))
        tools = os.path.join(self.folder, "tools")
        os.mkdir(tools)
        for name in os.listdir("/usr/bin"):
            if not name.startswith("python"):
                os.symlink(f"/usr/bin/{name}", os.path.join(tools, name))
        code, rows = self.check(CHECK_ONLY="torch gpt1", PATH=tools)
        self.assertEqual(code, 0, self.output)
        self.assertEqual(rows["torch"][0], "skipped")
        self.assertEqual(rows["gpt1"][0], "ok")
        self.assertIn("python3", rows["gpt1"][1])

    def test_a_signal_ends_the_step_and_what_it_started(self):
        hangs = {
            "benchmark": {"BENCHMARK": "sleep 1000"},
            "racecheck": {"SANITIZER_HANGS": "only"},
            "compile": {},
            "gpt1": {"LEEWAY": "sleep 1000"},
        }
        # PyTorch is there, and its compiler takes long.
        with open(os.path.join(self.folder, "cuda/python3"), "w", encoding="utf-8") as file:
            file.write('#!/bin/bash\n[ "$1" = -c ] || sleep 1000\n')
        asleep = lambda pid: read_bytes(f"/proc/{pid}/cmdline").startswith(b"sleep\0")  # noqa: E731
        for step, environment in hangs.items():
            for number in (signal.SIGINT, signal.SIGTERM):
                with self.subTest(step=step, number=number):
                    child = self.start_check(CHECK_ONLY=f"{step} torch", **environment)
                    count = len(GROUPS) if step == "racecheck" else 1
                    self.wait_until(lambda n=count: len([*filter(asleep, self.pids())]) == n, "the step")
                    child.kill(number)
                    self.assertEqual(child.wait(), 128 + number)
                    self.wait_until_gone()
                    self.assertNotIn("verdict", child.stdout())
                    self.assertEqual(self.left(), [])

    def test_from_another_folder_through_a_link(self):
        elsewhere = os.path.join(self.folder, "else where's")
        os.mkdir(elsewhere)
        os.symlink("../check.sh", os.path.join(elsewhere, "check"))
        for arguments, out in (((), "results"), (("the logs",), "the logs")):
            words = ["-C", elsewhere, "CHECK_ONLY=parity gpt124m", "./check"]
            child = self.start("link", "/usr/bin/env", *words, *arguments)
            self.assertEqual(child.wait(), 0, child.everything())
            self.assertEqual(sorted(os.listdir(os.path.join(elsewhere, out))), ["gpt124m.log", "parity.log"])
            log = read(os.path.join(elsewhere, out, "gpt124m.log"))
            self.assertRegex(log, f"--data=tokens:{elsewhere}/{out}/tmp.[^/ ]*/long_text --num_workers=1 ")

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
