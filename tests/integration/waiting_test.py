#!/usr/bin/env -S python3 -B
"""Who waits for whom at this moment is told while it lasts. One worker, and the evaluator, cannot reach one `ps`: its
address leads nowhere, and only who uses its local socket gets through. The other worker waits at the gate. All reach
`ps` 0, so nobody is out."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import ByHand, free_port  # noqa: E402
from harness import LEEWAY, LIMIT, main, read  # noqa: E402

NO_LOCAL = "--local_sockets=false"


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


class Waiting(ByHand):
    def leeway(self, *words):
        command = [LEEWAY, *words, f"--coordinator=127.0.0.1:{self.port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual(done.returncode, 0, f"{words}: {done.stderr}\n{self.everything()}")
        return done.stdout

    def lines(self, *words):
        """The lines about waits, each as one, by who waits."""
        text = self.leeway(*words).replace("\n  ", " ")
        found = re.findall(r"(?m)^waiting: (\S+) for (.*)$", text)
        self.assertEqual(len(found), len({name for name, _ in found}), text)
        return dict(found)

    def waits(self):
        """By worker: its waits, as JSON."""
        workers = json.loads(self.leeway("workers", "-o", "json"))
        return {worker["name"]: worker["waits_under_way"] for worker in workers}

    def http(self, name):
        return ["--http_port=0", f"--http_port_file={self.folder}/{name}.http"]

    def page(self, name, path):
        file = f"{self.folder}/{name}.http"
        self.wait_until(lambda: read(file).strip(), file, self.everything)
        return get(f"http://{read(file).strip()}{path}")

    def start_all(self):
        self.port, self.nowhere = free_port(), f"127.0.0.1:{free_port()}"
        endless = ["--epochs=100000", "--staleness_bound=2", "--lease=3s", *self.http("ps-0")]
        self.servers = [self.start_ps(0, self.port, *endless)]
        self.servers[0].wait_for("serves at")  # who asks, asks once
        self.servers.append(self.start_ps(1, 0, f"--advertise={self.nowhere}"))
        self.workers = [
            self.start_worker("near", "--pipeline_depth=1"),
            self.start_worker("far", "--pipeline_depth=1", NO_LOCAL, *self.http("far")),
            self.start_worker("eval", "--role=eval", "--eval_every_seconds=1", NO_LOCAL),
        ]

    def test_a_worker_that_cannot_reach_one_ps(self):
        self.start_all()
        seen = {}

        def all_told():
            seen.update(self.waits())
            errors = [bool(seen.get(name) and seen[name][0]["error"]) for name in ("far", "eval")]
            # (On a busy machine the gates may say late that they are shut.)
            return all(errors) and [wait["kind"] for wait in seen.get("near", [])] == ["wait_gate"]

        self.wait_until(all_told, "everybody's waits", lambda: json.dumps(seen, indent=1) + self.everything())
        with self.subTest("as JSON"):
            (far,) = seen["far"]
            self.assertEqual((far["kind"], far["shard"], far["address"]), ("wait_pull", 1, self.nowhere))
            self.assertIn("UNAVAILABLE", far["error"])
            self.assertGreaterEqual(far["millis"], 6000)
            ids = {worker["name"]: worker["worker_id"] for worker in json.loads(self.leeway("workers", "-o", "json"))}
            (near,) = seen["near"]
            self.assertEqual((near["kind"], [on["worker_id"] for on in near["on"]]), ("wait_gate", [ids["far"]]))
        with self.subTest("in words"):
            no_answer = rf"ps 1 at {re.escape(self.nowhere)}, \d+ s: no answer, Pull(?: of step 0)?; UNAVAILABLE: "
            for verb in ("status", "workers", "why"):
                lines = self.lines(verb)
                self.assertEqual(list(lines)[-1], "near", lines)  # those first that cannot reach somebody
                self.assertRegex(lines["far"], no_answer)
                self.assertRegex(lines["eval"], no_answer)
                self.assertRegex(lines["near"], r"^far at clock 0, \d+ s: gate, Pull of step \d+$")
            for line in self.leeway("status").splitlines():
                self.assertLessEqual(len(line), 120, line)
            rows = [row for row in json.loads(self.leeway("why", "-o", "json")) if row["under_way"]]
            told = {row["waiter"]: (row["waited_for"], row["reason"], row["call"]) for row in rows}
            self.assertEqual(told["far"], ("shard 1", "no answer", "Pull"))
            self.assertEqual(told["near"], ("far", "gate", "Pull"))
        with self.subTest("over HTTP"):
            self.assertRegex(self.page("far", "/statusz"), rf"(?m)^ready\nwaiting: {no_answer}")
            page = json.loads(self.page("ps-0", "/api/status"))
            waits = {worker["name"]: worker["wait"] for worker in page["workers"]}
            self.assertRegex(waits["far"], no_answer)
            metrics = self.page("ps-0", "/metrics")
            seconds = re.search(r'(?m)^ps_worker_waiting_seconds\{worker="far"\} (\S+)$', metrics)
            self.assertGreater(float(seconds.group(1)), 6, metrics)
        with self.subTest("in its log"):
            self.workers[1].wait_for(r"step 0 has waited 1\ds for " + no_answer.replace(r", \d+ s", ""))
        with self.subTest("until it is over"):
            # Who has left waits for nobody, and nobody for it.
            self.workers[1].kill(signal.SIGTERM)
            self.assertEqual(self.workers[1].wait(), 0, self.everything())
            over = lambda: not self.waits()["far"] and not self.waits()["near"]  # noqa: E731
            self.wait_until(over, "no waits", lambda: json.dumps(self.waits(), indent=1) + self.everything())
            self.assertEqual(list(self.lines("status")), ["eval"])


if __name__ == "__main__":
    main()
