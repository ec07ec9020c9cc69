#!/usr/bin/env -S python3 -B
"""The tree keeps the conventions of tests/tidy.py, and tests/tidy.py sees it when a tree does not."""

import os
import sys
import tempfile
import unittest

# Beside this file in the source tree, wherever the test runs from.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)

import tidy  # noqa: E402

HEADER = "// What it is for.\n#pragma once\n"


class Tree(unittest.TestCase):
    def test_the_tree_is_tidy(self):
        violations = list(tidy.violations(os.path.dirname(HERE)))
        self.assertEqual(len(violations), 0, "\n" + "\n".join(violations))

    def test_the_whole_tree_is_read(self):
        found = set(tidy.files(os.path.dirname(HERE)))
        expected = {"common/mutex.h", "proto/manifest.proto", "tests/tidy.py", "tests/run.sh", ".ci/run", ".bazelrc"}
        self.assertEqual(expected - found, set())


class Planted(unittest.TestCase):
    """Each test plants one violation in a tree of its own."""

    def found(self, path, text):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
            return list(tidy.violations(root))

    def expect(self, path, text, line, message):
        found = self.found(path, text)
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(f"{path}:{line}: "), found)
        self.assertIn(message, found[0])

    def expect_none(self, path, text):
        self.assertEqual(self.found(path, text), [])

    def test_include_direction(self):
        folders = ["proto", "common", "kernels", "server", "worker", "cli", "tests"]
        allowed = {
            "common": "proto common",
            "kernels": "proto common kernels",
            "server": "proto common kernels server",
            "worker": "proto common kernels worker",
            "cli": "proto common kernels server worker cli",
            "tests": " ".join(folders),
        }
        for folder, targets in allowed.items():
            for target in folders:
                text = f'#include "{target}/x.h"\n'
                if target in targets.split():
                    self.expect_none(f"{folder}/sub/a.cc", text)
                else:
                    self.expect(f"{folder}/sub/a.cc", text, 1, f"{folder}/ may not include {target}/")

    def test_include_form(self):
        for name in ["x.h", "./x.h", "../common/x.h"]:
            self.expect("common/a.cc", f'#include "{name}"\n', 1, "from the workspace root")
        self.expect_none("common/a.cc", '#include "absl/status/status.h"\n#include "dnnl.hpp"\n')

    def test_length(self):
        self.expect("common/a.cc", "\n" * 401, 401, "401 lines")
        self.expect("deploy/a.sh", "\n" * 401, 401, "401 lines")
        self.expect("tests/a.py", "\n" * 401, 401, "401 lines")
        self.expect_none("common/a.cc", "\n" * 400)

    def test_whitespace_and_columns(self):
        self.expect("common/a.cc", "\n\tint a;\n", 2, "a tab")
        self.expect("docs/a.md", "text \n", 1, "trailing space")
        self.expect("common/a.cc", "// " + "x" * 118 + "\n", 1, "121 columns")
        self.expect("common/a.cc", "int a;", 1, "no newline")
        self.expect_none("common/a.cc", "// " + "x" * 117 + "\n")

    def test_headers(self):
        self.expect_none("common/a.h", HEADER)
        self.expect("common/a.h", "#pragma once\n", 1, "begins with a // comment")
        self.expect("common/a.h", "// What it is for.\n", 1, "#pragma once")
        self.expect("common/a.h", HEADER + "using namespace std;\n", 3, "using namespace")
        self.expect_none("common/a.cc", "using namespace std;\n")

    def test_leftovers_and_machine_paths(self):
        for word in ["TO" + "DO", "FIX" + "ME", "XX" + "X"]:
            self.expect("deploy/a.sh", f"# {word}: later\n", 1, word)
        self.expect_none("deploy/a.sh", "mktemp -d leeway.XXXX" + "XX\n")
        for path in ["/wo" + "rk/x", "/ro" + "ot/x", "/tmp/w" + "t/x"]:
            self.expect("docs/a.md", f"see {path}\n", 1, "a path of one machine")
        self.expect_none("docs/a.md", "see server/work" + "/x and $HOME/root" + "/x\n")

    def test_banned_calls(self):
        for call, name in [
            ("int a = std::rand();", "rand"),
            ("srand(1);", "rand"),
            ("gettimeofday(&t, nullptr);", "gettimeofday"),
            ("sleep(1);", "sleep"),
            ("usleep(1);", "sleep"),
            ("std::this_thread::sleep_for(x);", "sleep"),
            ("absl::Mutex mu;", "absl::Mutex"),
            ("std::mutex mu;", "std::mutex"),
            ("std::shared_mutex mu;", "std::mutex"),
            ("std::lock_guard lock(mu);", "std::mutex"),
            ("thread.detach();", "detach"),
            ("std::exit(1);", "exit"),
            ("_exit(1);", "exit"),
            ('std::printf("x");', "printf"),
            ('std::cout << "x";', "std::cout"),
            ("strtok(a, b);", "strtok"),
            ("sprintf(a, b);", "sprintf"),
            ("#include <grpcpp/grpcpp.h>", "<grpc"),
            ("#include <grpc/grpc.h>", "<grpc"),
        ]:
            self.expect("worker/a.cc", f"\n{call}\n", 2, f"{name} is banned")

    def test_what_is_not_banned(self):
        self.expect_none("server/a.cc", '// std::mutex\nLog("exit(1)");\nstd::snprintf(a, 1, b);\nOnExit(a);\n')
        self.expect_none("server/a.cc", "std::fprintf(stderr, a);\noperand(1);\nstd::call_once(a, b);\n")
        self.expect_none("common/mutex.h", HEADER + "std::mutex mu;\n")
        self.expect_none("common/grpc_server.h", HEADER + "#include <grpcpp/grpcpp.h>\n")
        self.expect_none("worker/main.cc", "#include <grpc/grpc.h>\nint main(int argc, char** argv) {\n  exit(2);\n}\n")

    def test_targets(self):
        def library(attributes):
            return f'cc_library(\n    name = "a",\n    {attributes},\n)\n'

        self.expect_none("common/BUILD.bazel", library('hdrs = ["a.h"], srcs = ["a.cc", "a_more.cc"]'))
        self.expect("common/BUILD.bazel", library('hdrs = ["a.h", "b.h"]'), 1, "one header per target")
        self.expect("server/BUILD.bazel", library('hdrs = ["a.h"], srcs = ["a.cc", "b.cc"]'), 1, "b.cc does not belong")
        self.expect("kernels/BUILD.bazel", library('srcs = glob(["*.cc"])'), 1, "without glob()")
        self.expect_none("tests/BUILD.bazel", library('hdrs = ["a.h", "b.h"]'))


if __name__ == "__main__":
    unittest.main()
