#!/usr/bin/env -S python3 -B
"""The systemd units: systemd-analyze has nothing to say, they are well shut in, and their command lines, carried out as
the unit's user would see them, train to the end. systemd itself does not run here: what it makes of its settings at run
time is not tried."""

import os
import re
import shlex
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from cluster import make_bridge  # noqa: E402  (first: it says where the others are)
import world  # noqa: E402
from harness import PS, TestCase, WORKER, main, read  # noqa: E402
from sandbox import BIN, Sandbox  # noqa: E402

UNITS = os.path.abspath("deploy/systemd")
MOST_EXPOSED = {"leeway-ps@.service": 2.0, "leeway-worker@.service": 3.0}  # of 10, as `systemd-analyze security` counts
USER = (65532, 65532, [])


def command_of(unit, **specifiers):
    """The words of ExecStart."""
    line = re.search(r"^ExecStart=(.*)$", read(os.path.join(UNITS, unit)), re.MULTILINE).group(1)
    for name, value in specifiers.items():
        line = line.replace("%" + name, value)
    return shlex.split(line)


class Systemd(TestCase):
    def analyze(self, *words):
        """With the programs where the units say they are, which is possible in namespaces of this test's own."""
        if not world.apart() or not shutil.which("systemd-analyze"):
            self.skipTest("needs systemd-analyze and namespaces")
        opt = os.path.join(self.folder, "opt")
        os.makedirs(opt + BIN.removeprefix("/opt"), exist_ok=True)
        for program in (PS, WORKER):
            shutil.copy(program, opt + BIN.removeprefix("/opt"))
        script = f'mount --bind {opt} /opt && exec systemd-analyze "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def test_units_are_right(self):
        for unit in MOST_EXPOSED:
            done = self.analyze("verify", "--man=no", os.path.join(UNITS, unit))
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""), unit)

    def test_what_is_wrong_is_found(self):
        spoilt = os.path.join(self.folder, "leeway-ps@.service")
        text = read(os.path.join(UNITS, "leeway-ps@.service"))
        for old, new, expected in (
            ("RestartSec=", "RestartSecs=", "RestartSecs"),
            (BIN + "/ps", BIN + "/pps", "not executable"),
        ):
            with open(spoilt, "w", encoding="utf-8") as file:
                file.write(text.replace(old, new))
            done = self.analyze("verify", "--man=no", spoilt)
            self.assertIn(expected, done.stderr)

    def test_units_are_shut_in(self):
        for unit, most in MOST_EXPOSED.items():
            done = self.analyze("security", "--offline=yes", f"--threshold={int(10 * most)}", os.path.join(UNITS, unit))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertRegex(done.stdout, r"Overall exposure level for \S+: [\d.]+")

    def test_the_command_lines_train(self):
        if not world.apart():
            self.skipTest("no namespaces here: units cannot have machines of their own")
        make_bridge(self, "10.78.0.1")
        state = os.path.join(self.folder, "state")  # the file system that the machines share
        os.mkdir(state)
        os.chmod(state, 0o777)
        machines = []
        for serial, address in enumerate(("10.78.0.2", "10.78.0.3"), 1):
            flags = os.path.join(self.folder, f"etc{serial}")
            os.mkdir(flags)
            for name in ("ps.flags", "worker.flags"):
                text = read(os.path.join(UNITS, name))
                # --listen and --advertise are the machine's own, --coordinator is the first one's.
                text = re.sub(r"(--(?:listen|advertise))=10\.0\.0\.1", rf"\1={address}", text)
                text = text.replace("10.0.0.1", "10.78.0.2").replace("/opt/leeway/data", "synthetic:2000")
                with open(os.path.join(flags, name), "w", encoding="utf-8") as file:
                    file.write(text)
            mounts = [("/var/lib/leeway", state, False), ("/etc/leeway", flags, True)]
            machines.append(Sandbox(self, f"m{serial}", serial, address, "10.78.0.1", "invalid", mounts, True))
        children = []
        for index, machine in enumerate(machines):
            ps = command_of("leeway-ps@.service", i=str(index))
            worker = command_of("leeway-worker@.service", i="0", H=machine.name)
            for name, words in ((f"ps-{index}", ps), (f"worker-{index}", worker)):
                children.append(self.start(name, *machine.inside(self, {}, USER, words)))
        for child in children:
            self.assertEqual(child.wait(), 0, "".join(one.output() for one in children))
        self.assertIn("6 epochs are done", children[0].output())
        self.assertIn("joined as worker", children[1].output())


if __name__ == "__main__":
    world.enter()
    main()
