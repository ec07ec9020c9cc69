"""count_results.py EVENTS...: how many test cases passed and failed in some runs of `bazel test`.

Each EVENTS is BAZEL_STATUS=FILE: the exit status of one run and what it wrote with --build_event_json_file.
Prints "N passed, N failed" and exits 1 if anything failed. Test cases are counted in each test's own report; a
test that crashed, timed out or wrote no report counts as one failed case, and so does a target that did not build.
"""

import json
import os
import sys
import urllib.parse
import xml.etree.ElementTree

# `bazel test` exits with this when no test was selected.
NO_TESTS = 4


def count_report(path):
    """(cases, failed cases) of one JUnit file; (0, 0) where it is missing or cut short."""
    try:
        root = xml.etree.ElementTree.parse(path).getroot()
    except (OSError, xml.etree.ElementTree.ParseError):
        return 0, 0
    cases = failed = 0
    for suite in root.iter("testsuite"):
        cases += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return cases, failed


def count_test(result):
    """(passed, failed) of one testResult event."""
    cases = failed = 0
    for output in result.get("testActionOutput", []):
        if output["name"] == "test.xml":
            path = urllib.parse.unquote(urllib.parse.urlparse(output.get("uri", "")).path)
            in_report = count_report(path)
            cases += in_report[0]
            failed += in_report[1]
    if result["status"] != "PASSED" and failed == 0:
        return cases, 1
    return cases - failed, failed


def read_events(path):
    # A run that was refused at once (a bad flag) leaves no file.
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def count_run(status, path):
    """(passed, failed) of one run of bazel."""
    passed = failed = 0
    for event in read_events(path):
        if "testResult" in event:
            in_test = count_test(event["testResult"])
            passed += in_test[0]
            failed += in_test[1]
        elif "targetCompleted" in event["id"] and not event.get("completed", {}).get("success"):
            failed += 1
    if status not in (0, NO_TESTS) and failed == 0:
        failed = 1
    return passed, failed


def main(runs):
    passed = failed = 0
    for run in runs:
        status, _, path = run.partition("=")
        in_run = count_run(int(status), path)
        passed += in_run[0]
        failed += in_run[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
