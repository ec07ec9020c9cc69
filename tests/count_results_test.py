#!/usr/bin/env -S python3 -B
"""The total of tests/run.sh, from event files as `bazel test` writes them."""

import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import count_results  # noqa: E402


class CountRun(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def write(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def result(self, status, report, name="a b.xml"):
        """A testResult event of a test whose report (None: it wrote none) is `report`."""
        outputs = [{"name": "test.log", "uri": "file:///nowhere"}]
        if report is not None:
            path = self.write(name, report)
            outputs.append({"name": "test.xml", "uri": "file://" + path.replace(" ", "%20")})
        return {"id": {"testResult": {}}, "testResult": {"status": status, "testActionOutput": outputs}}

    def count(self, status, *events):
        return count_results.count_run(status, self.write("events", "\n".join(map(json.dumps, events))))

    def test_cases_are_summed(self):
        one = self.result("PASSED", '<testsuites><testsuite tests="3" failures="0"/></testsuites>', "1.xml")
        two = self.result("FAILED", '<testsuites><testsuite tests="4" failures="1"/></testsuites>', "2.xml")
        self.assertEqual(self.count(3, one, two), (6, 1))

    def test_shell_test_with_an_error(self):
        event = self.result("FAILED", '<testsuites><testsuite tests="1" failures="0" errors="1"/></testsuites>')
        self.assertEqual(self.count(3, event), (0, 1))

    def test_crash_without_a_report_is_one_failed(self):
        self.assertEqual(self.count(3, self.result("FAILED", None)), (0, 1))
        self.assertEqual(self.count(3, self.result("FAILED", "<testsuites><testsu")), (0, 1))

    def test_crash_after_the_report_is_one_failed(self):
        event = self.result("FAILED", '<testsuites><testsuite tests="5" failures="0"/></testsuites>')
        self.assertEqual(self.count(3, event), (5, 1))

    def test_target_that_does_not_build_is_one_failed(self):
        broken = {"id": {"targetCompleted": {"label": "//a"}}, "completed": {}}
        aborted = {"id": {"targetCompleted": {"label": "//b"}}, "aborted": {}}
        built = {"id": {"targetCompleted": {"label": "//c"}}, "completed": {"success": True}}
        self.assertEqual(self.count(1, broken, aborted, built), (0, 2))

    def test_run_that_was_refused_is_one_failed(self):
        self.assertEqual(count_results.count_run(2, os.path.join(self.folder.name, "none")), (0, 1))
        self.assertEqual(self.count(2), (0, 1))

    def test_no_test_selected_is_no_failure(self):
        self.assertEqual(self.count(count_results.NO_TESTS), (0, 0))


if __name__ == "__main__":
    unittest.main()
