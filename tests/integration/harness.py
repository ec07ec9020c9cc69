"""Starts real leeway, ps and worker processes for the tests of this folder, waits for conditions, ends everything.

A test file defines subclasses of TestCase and calls main(). Nothing sleeps for a fixed time: a test waits until
something is so, at most LIMIT seconds. Whatever a test started is gone when it ends, also when it fails: every
process carries the test's mark in its environment, and the mark is what is looked for.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
import xml.etree.ElementTree as ElementTree

LIMIT = float(os.environ.get("LEEWAY_TEST_LIMIT", 120))
POLL = 0.02
LEEWAY, PS, WORKER = (os.path.abspath(name) for name in ("cli/leeway", "server/ps", "worker/worker"))
MARK = "LEEWAY_TEST_FAMILY"  # leeway run hands LEEWAY_TEST_ variables on to its children
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def read(path):
    """The file's text; nothing where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def read_bytes(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # gone meanwhile
        return b""


def pids_where(predicate):
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and predicate(entry)]


def weights(path):
    """The raw little-endian float32 values of a safetensors file by tensor name."""
    data = read_bytes(path)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    return {name: body[slice(*tensor["data_offsets"])] for name, tensor in header.items()}


class Child:
    """A process that a test started; its stdout and stderr go to files in the test's folder."""

    def __init__(self, case, name, command):
        self.case, self.name = case, name
        self.stdout_path, self.stderr_path = (os.path.join(case.folder, f"{name}.{end}") for end in ("out", "err"))
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, MARK: case.mark},
                cwd=case.folder,
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        self.pid = self.process.pid

    def stdout(self):
        return read(self.stdout_path)

    def stderr(self):
        return read(self.stderr_path)

    def output(self):
        return self.stdout() + self.stderr()

    def everything(self):
        """What a failed test shows."""
        return self.output()

    def wait(self):
        """The exit code (-N: killed by signal N)."""
        self.case.wait_until(lambda: self.process.poll() is not None, f"{self.name} to end", self.everything)
        return self.process.returncode

    def wait_for(self, pattern):
        """The match of a regular expression in what the process has printed; it must not end before."""
        found = lambda: re.search(pattern, self.output())  # noqa: E731
        self.case.wait_until(
            lambda: found() or self.process.poll() is not None, f"{self.name} to print {pattern}", self.everything
        )
        self.case.assertTrue(found(), f"{self.name} ended without printing {pattern}\n{self.everything()}")
        return found()

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)


class Run(Child):
    """`leeway run`, with its results in a folder of its own."""

    def __init__(self, case, flags, name):
        self.out = os.path.join(case.folder, name)
        command = [LEEWAY, "run", f"--out={self.out}", f"--ps_binary={PS}", f"--worker_binary={WORKER}"]
        super().__init__(case, name + ".leeway", command + flags)

    def path(self, name):
        return os.path.join(self.out, name)

    def log(self, name):
        return read(self.path(name + ".log"))

    def wait_for_log(self, name, pattern):
        """The match of a regular expression in a process's log; the run must not end before."""
        found = lambda: re.search(pattern, self.log(name))  # noqa: E731
        self.case.wait_until(
            lambda: found() or self.process.poll() is not None, f"{pattern} in {name}.log", self.everything
        )
        self.case.assertTrue(found(), f"the run ended without {pattern} in {name}.log\n{self.everything()}")
        return found()

    def wait_until_training(self):
        """Until the first pushes have been counted."""
        self.wait_for(r"epoch (?!0\.00)\d+\.\d+")

    def coordinator(self):
        self.case.wait_until(lambda: read(self.path("ps-0.port")).strip(), "ps-0's port", self.everything)
        return read(self.path("ps-0.port")).strip()

    def everything(self):
        logs = sorted(name for name in os.listdir(self.out) if name.endswith(".log")) if os.path.isdir(self.out) else []
        return self.output() + "".join(f"--- {name}\n{read(self.path(name))}" for name in logs)

    def pid_of(self, name):
        """Of the process `name` ("ps-0", "worker-1", "eval") of this run."""
        word = f"--port_file={self.path(name)}.port" if name.startswith("ps-") else f"--name={name}"

        def is_it(pid):
            words = read_bytes(f"/proc/{pid}/cmdline").decode(errors="replace").split("\0")
            return word in words and f"\nPPid:\t{self.pid}\n" in read(f"/proc/{pid}/status")

        pids = []
        self.case.wait_until(lambda: pids.extend(pids_where(is_it)) or pids, f"the process {name}", self.everything)
        return pids[0]

    def summary(self):
        self.case.assertTrue(os.path.exists(self.path("summary.json")), self.everything())
        return json.loads(read(self.path("summary.json")))

    def finish(self):
        """Waits until training has ended by itself, as it should; the summary."""
        code = self.wait()
        self.case.assertEqual(code, 0, self.everything())
        summary = self.summary()
        self.case.assertEqual(summary["state"], "finished", self.everything())
        return summary


def worker_of(summary, name):
    """The newest entry of the worker `name`."""
    return [worker for worker in summary["workers"] if worker["name"] == name][-1]


class TestCase(unittest.TestCase):
    def setUp(self):
        self.mark = uuid.uuid4().hex
        self.folder = tempfile.mkdtemp(prefix="leeway-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.addCleanup(self.end_all)
        self.runs = 0

    def pids(self):
        """Of all living processes of this test, whoever is their parent now."""
        mark = f"{MARK}={self.mark}".encode()
        me = str(os.getpid())
        return pids_where(lambda pid: pid != me and mark in read_bytes(f"/proc/{pid}/environ").split(b"\0"))

    def end_all(self):
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.wait_until_gone()

    def wait_until_gone(self):
        self.wait_until(lambda: not self.pids(), "all processes to be gone", lambda: str(self.pids()))

    def wait_until(self, condition, what, context=lambda: ""):
        deadline = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"waited {LIMIT} s for {what}\n{context()}")
            time.sleep(POLL)

    def run_leeway(self, *flags):
        """Starts `leeway run` on a small model; later flags win."""
        self.runs += 1
        small = ["--model=mlp:16", "--data=synthetic:2000", "--batch=50", "--display_every=100ms"]
        return Run(self, small + list(flags), f"run{self.runs}")

    def start(self, name, *command):
        return Child(self, name, list(command))


class Result(unittest.TextTestResult):
    """Keeps what JUnit's report needs."""

    def startTest(self, test):  # noqa: N802
        super().startTest(test)
        test.started_at = time.monotonic()

    def stopTest(self, test):  # noqa: N802
        super().stopTest(test)
        self.times = getattr(self, "times", []) + [(test, time.monotonic() - test.started_at)]

    def write_junit(self, path):
        bad = dict(self.failures + self.errors)
        suite = ElementTree.Element("testsuite", name=os.path.basename(sys.argv[0]))
        suite.set("tests", str(self.testsRun))
        suite.set("failures", str(len(self.failures) + len(self.errors)))
        for test, seconds in getattr(self, "times", []):
            case = ElementTree.SubElement(suite, "testcase", name=test.id(), time=f"{seconds:.3f}")
            if test in bad:
                failure = ElementTree.SubElement(case, "failure", message="failed")
                failure.text = re.sub(r"[^\t\n\x20-\x7e]", "?", bad[test])
        ElementTree.ElementTree(suite).write(path)


def main():
    """Runs the tests of the file that calls it (--test_filter: those whose name contains it), writes the report."""
    only = os.environ.get("TESTBRIDGE_TEST_ONLY")
    argv = sys.argv + (["-k", only] if only else [])
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Result, stream=sys.stdout)
    result = unittest.main(module="__main__", argv=argv, testRunner=runner, exit=False).result
    if "XML_OUTPUT_FILE" in os.environ:
        result.write_junit(os.environ["XML_OUTPUT_FILE"])
    # No test at all is a wrong filter, not a success.
    sys.exit(0 if result.wasSuccessful() and result.testsRun > 0 else 1)
