#!/usr/bin/env -S python3 -B
"""deploy/gpu/bundle.sh, with stand-ins for Bazel and the tools that it packs with: FILE is whole or as it was before,
and what cannot become a bundle is said before anything is built."""

import os
import shutil
import signal
import sys
import tarfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from harness import TestCase, main, read, read_bytes  # noqa: E402

BUNDLE = os.path.abspath("deploy/gpu/bundle.sh")
STAND_INS = {
    "bazel": """
touch "$TOOLS/../built"
${BUILD:-true}
for word; do case $word in //*) path=bazel-bin/${word#//}; path=${path/://}
  mkdir -p "$(dirname "$path")" && echo "$word" >"$path" ;; esac; done""",
    "ldd": 'echo "  libsome.so.1 => $TOOLS/libsome.so.1 (0x1)"',
    "libsome.so.1": "",
    "patchelf": "",
    "strip": "",
    # As far as an interrupted one comes.
    "tar": """
[ -n "${TORN:-}" ] || exec /usr/bin/tar "$@"
for word; do case $word in *.tar.gz) echo torn >"$word" ;; esac; done
exec sleep 1000""",
}


class GpuBundle(TestCase):
    def setUp(self):
        super().setUp()
        self.tools, self.here = (os.path.join(self.folder, name) for name in ("tools", "here"))
        for folder in (self.tools, self.here, os.path.join(self.folder, "leeway/deploy/gpu")):
            os.makedirs(folder)
        for name, text in STAND_INS.items():
            path = os.path.join(self.tools, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"#!/bin/bash\n{text}\n")
            os.chmod(path, 0o755)
        shutil.copy(BUNDLE, os.path.join(self.folder, "leeway/deploy/gpu/bundle.sh"))

    def bundle(self, *arguments, **environment):
        environment |= {"TOOLS": self.tools, "PATH": f"{self.tools}:/usr/bin:/bin"}
        words = ["-C", self.here, "--default-signal=INT", *(f"{name}={value}" for name, value in environment.items())]
        return self.start("bundle", "/usr/bin/env", *words, "../leeway/deploy/gpu/bundle.sh", "--image=cpu", *arguments)

    def test_a_file_relative_to_where_one_stands(self):
        child = self.bundle("x.tar.gz")
        self.assertEqual(child.wait(), 0, child.everything())
        self.assertEqual(os.listdir(self.here), ["x.tar.gz"])
        with tarfile.open(os.path.join(self.here, "x.tar.gz")) as packed:
            names = packed.getnames()
        for name in ("bin/ps", "bin/worker", "bin/leeway", "lib/libsome.so.1"):
            self.assertIn(f"leeway-gpu/{name}", names)

    def test_a_signal_leaves_the_former_file(self):
        former = os.path.join(self.here, "x.tar.gz")
        with open(former, "w", encoding="utf-8") as file:
            file.write("the former one")
        asleep = lambda pid: read_bytes(f"/proc/{pid}/cmdline").startswith(b"sleep\0")  # noqa: E731
        for environment in ({"TORN": "1"}, {"BUILD": "exec sleep 1000"}):
            for number in (signal.SIGINT, signal.SIGTERM):
                with self.subTest(environment=environment, number=number):
                    child = self.bundle("x.tar.gz", **environment)
                    self.wait_until(lambda: any(map(asleep, self.pids())), "it to sleep", child.everything)
                    child.kill(number)
                    self.assertEqual(child.wait(), 128 + number)
                    self.wait_until_gone()
                    self.assertEqual(os.listdir(self.here), ["x.tar.gz"])
                    self.assertEqual(read(former), "the former one")

    def test_what_cannot_become_a_bundle_is_said_before_it_is_built(self):
        wrong = {name: f"{name}: allowed are .tar.xz and .tar.gz" for name in ("x", "x.zip", "x.tar")}
        nowhere = {name: f"{os.path.dirname(name)}/partial" for name in ("nowhere/x.tar.gz", "/proc/x.tar.xz")}
        for name, words in {**wrong, **nowhere}.items():
            child = self.bundle(name)
            self.assertEqual(child.wait(), 2, child.everything())
            self.assertIn(words, child.stderr())
            self.assertEqual(child.stderr().count("\n"), 1, child.stderr())
            self.assertEqual(os.listdir(self.here), [])
            self.assertFalse(os.path.exists(os.path.join(self.folder, "built")))
            os.remove(child.stderr_path)


if __name__ == "__main__":
    main()
