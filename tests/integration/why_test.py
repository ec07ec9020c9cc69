#!/usr/bin/env python3
"""`leeway why` on real processes: every second that a worker did not compute is told, with whom it waited for."""

import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, TestCase, main, worker_of  # noqa: E402


class Why(TestCase):
    def why(self, *words, environment=()):
        child = self.start("why", "env", *environment, LEEWAY, "why", *words)
        code = child.wait()
        said = child.stdout(), child.stderr()
        for path in (child.stdout_path, child.stderr_path):
            os.unlink(path)
        return code, *said

    def check_trace(self, path):
        """What Chrome's Trace Event Format asks for; the slices of a track lie one behind the other. By worker: seconds
        by category."""
        with open(path, encoding="utf-8") as file:
            trace = json.load(file)
        names, seconds, ends = {}, {}, {}
        for event in trace["traceEvents"]:
            self.assertIsInstance(event["name"], str)
            self.assertIsInstance(event["pid"], int)
            self.assertIsInstance(event["tid"], int)
            if event["ph"] == "M":
                if event["name"] == "process_name":
                    names[event["pid"]] = event["args"]["name"]
                continue
            self.assertEqual(event["ph"], "X")
            self.assertGreater(event["dur"], 0)
            # A worker's clock is known to within the time that a report takes; 50 ms is a long time for one.
            self.assertGreater(event["ts"], -50000)
            self.assertGreaterEqual(event["ts"], ends.get(event["pid"], -(10**9)) - 50000, event)
            ends[event["pid"]] = event["ts"] + event["dur"]
            by_kind = seconds.setdefault(names[event["pid"]], {})
            by_kind[event["cat"]] = by_kind.get(event["cat"], 0) + event["dur"] / 1e6
        return seconds

    def test_a_run_with_a_straggler(self):
        """Bound 1: the two others wait for worker 0 at the gates. The rows add up to what the run's summary says."""
        run = self.run_leeway(
            *["--num_ps=2", "--num_workers=3", "--epochs=3", "--staleness_bound=1", "--pace=10ms"],
            *["--straggle=0:6", f"--ps_flags=--checkpoint_dir={self.folder}/kept"],
        )
        run.wait_until_training()
        live = os.path.join(self.folder, "live.json")
        # Workers report once a second.
        while True:
            code, said, error = self.why(f"--coordinator={run.coordinator()}", f"--trace={live}")
            self.assertEqual(code, 0, error)
            if said != "nobody has waited for anybody yet\n":
                break
        self.assertRegex(said, r"^waiter +waited for +why +call +seconds +share +times\n")
        self.assertRegex(error, r"live.json: \d+ waits; open it")
        summary = run.finish()

        path = os.path.join(self.folder, "trace.json")
        code, said, error = self.why(run.out, f"--trace={path}")
        self.assertEqual(code, 0, error)
        for name in ("worker-1", "worker-2"):
            self.assertRegex(said, rf"{name} +worker-0 +gate +Pull ", run.everything())
        code, said, error = self.why(run.out, "-o", "json")
        rows = json.loads(said)
        trace = self.check_trace(path)
        for name in ("worker-0", "worker-1", "worker-2"):
            mine = [row for row in rows if row["waiter"] == name]
            phases = worker_of(summary, name)["seconds"]
            told = sum(row["seconds"] for row in mine)
            # `data` has the reading of records, too, which is nobody's fault.
            waited = phases["blocked"] + phases["pull"] + phases["push"]
            self.assertGreaterEqual(told, waited * 0.999 - 0.001, (name, mine, phases))
            self.assertLessEqual(told, (waited + phases["data"]) * 1.001 + 0.001, (name, mine, phases))
            gates = sum(row["seconds"] for row in mine if row["reason"] == "gate")
            self.assertLessEqual(gates, phases["blocked"] * 1.001 + 0.001)
            # The trace leaves out what is shorter than 0.2 ms.
            self.assertLessEqual(trace.get(name, {}).get("gate", 0), gates + 0.001)
        for name in ("worker-1", "worker-2"):
            mine = [row for row in rows if row["waiter"] == name and row["reason"] == "gate"]
            gates = {row["waited_for"]: row["seconds"] for row in mine}
            self.assertGreater(gates.get("worker-0", 0), 0.5 * worker_of(summary, name)["seconds"]["blocked"], gates)
            self.assertGreater(trace[name]["gate"], 0.5 * gates["worker-0"])

    def test_what_cannot_be_told(self):
        for words, expected in [
            ([], "usage: leeway why RUN_DIRECTORY, or leeway why --coordinator=HOST:PORT"),
            (["a", "b"], "usage: leeway why"),
            (["a", "--coordinator=h:1"], "usage: leeway why"),
            (["--coordinator=::1:7100"], "--coordinator=::1:7100: allowed: host:port of ps 0"),
            ([self.folder], "waits.pb: No such file or directory: the directory of a run by leeway run has this file"),
            ([self.folder, "-o", "yaml"], "allowed: table, json"),
        ]:
            code, _, error = self.why(*words)
            self.assertEqual(code, 1, words)
            self.assertIn(expected, error)
            self.assertEqual(error.count("\n"), 1, error)
        code, _, error = self.why(self.folder, environment=["LEEWAY_COORDINATOR=h:1"])  # for other verbs
        self.assertIn("waits.pb: No such file or directory", error)
        with open(os.path.join(self.folder, "waits.pb"), "wb") as file:
            file.write(b"\xff\xff\xff not protobuf")
        code, _, error = self.why(self.folder)
        self.assertEqual(code, 1)
        self.assertIn("this is no file of leeway run", error)


if __name__ == "__main__":
    main()
