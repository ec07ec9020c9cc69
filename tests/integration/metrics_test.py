#!/usr/bin/env -S python3 -B
"""A real Prometheus scrapes a real training run: what it has at the end is what the run came to. Every name in the
documentation, the dashboard and the alerts is one that the processes give, and the documentation names all of them.

Needs prometheus and promtool (Debian's prometheus package).
"""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import RECORDS, ByHand, free_port  # noqa: E402
from harness import main, read  # noqa: E402

MONITORING = os.path.abspath("deploy/monitoring")
EPOCHS = 8
NAMES = re.compile(r"\b(?:ps|worker|process)_[a-z_]+\b")
HISTOGRAM_PARTS = re.compile(r"_(bucket|sum|count)$")


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def samples(page):
    """Lines of the text format as {(name, labels): value}."""
    found = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            found[name, labels or ""] = float(value)
    return found


def families(page):
    return {line.split(" ")[2] for line in page.splitlines() if line.startswith("# TYPE ")}


class Metrics(ByHand):
    def start_observed(self, name, child):
        """Notes the port of a process that was started with self.http(name)."""
        path = self.port_file(name)
        self.wait_until(lambda: read(path).strip() or child.process.poll() is not None, path, child.everything)
        self.ports[name] = read(path).strip()
        return child

    def port_file(self, name):
        return f"{self.folder}/{name}.http"

    def http(self, name):
        return ["--http_port=0", f"--http_port_file={self.port_file(name)}"]

    def page(self, name):
        return get(f"http://{self.ports[name]}/metrics")

    def start_run(self):
        self.port, self.ports = free_port(), {}
        first = [f"--epochs={EPOCHS}", "--linger=6s", "--checkpoint_steps=40", *self.http("ps-0")]
        self.servers = [
            self.start_observed("ps-0", self.start_ps(0, self.port, *first)),
            self.start_observed("ps-1", self.start_ps(1, 0, *self.http("ps-1"))),
        ]
        self.workers = [
            self.start_observed(name, self.start_worker(name, "--pace=50ms", *self.http(name))) for name in ("w0", "w1")
        ]
        evaluate = ["--role=eval", "--eval_every_epochs=0.5", *self.http("eval")]
        self.workers.append(self.start_observed("eval", self.start_worker("eval", *evaluate)))

    def start_prometheus(self):
        self.prometheus_port = free_port()
        jobs = [
            {"job_name": job, "static_configs": [{"targets": [self.ports[name] for name in names]}]}
            for job, names in (("leeway-ps", ("ps-0", "ps-1")), ("leeway-worker", ("w0", "w1", "eval")))
        ]
        config = {
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "1s"},
            "rule_files": [f"{MONITORING}/alerts.yaml"],
            "scrape_configs": jobs,
        }
        path = f"{self.folder}/prometheus.yaml"
        with open(path, "w", encoding="ascii") as file:
            json.dump(config, file)  # JSON is YAML
        return self.start(
            "prometheus",
            "/usr/bin/prometheus",
            f"--config.file={path}",
            f"--storage.tsdb.path={self.folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{self.prometheus_port}",
        )

    def ask(self, path, **parameters):
        try:
            query = urllib.parse.urlencode(parameters)
            answer = json.loads(get(f"http://127.0.0.1:{self.prometheus_port}/api/v1/{path}?{query}"))
        except OSError:  # it is starting
            return None
        self.assertEqual(answer["status"], "success", f"{path} {parameters}: {answer}")
        return answer["data"]

    def query(self, text):
        """The values of an instant query, by their labels."""
        data = self.ask("query", query=text)
        if data is None:
            return {}
        return {tuple(sorted(row["metric"].items())): float(row["value"][1]) for row in data["result"]}

    def one(self, text):
        values = list(self.query(text).values())
        return values[0] if len(values) == 1 else None

    def last(self, selector):
        """What the last scrape of a process that has perhaps ended has brought."""
        return self.one(f"last_over_time({selector}[5m])")

    def test_a_prometheus_server_has_what_the_run_came_to(self):
        self.start_run()
        prometheus = self.start_prometheus()
        context = lambda: self.everything() + prometheus.output()  # noqa: E731
        self.wait_until(lambda: list(self.query("up").values()) == [1.0] * 5, "all to be scraped", context)
        self.wait_until(lambda: self.one("sum(worker_joined)") == 3, "all to have joined", context)
        committed = "ps_checkpoints_total{result='committed'}"
        self.wait_until(lambda: (self.last(committed) or 0) > 0, "a checkpoint", context)
        self.wait_until(lambda: self.last("ps_evaluation_accuracy") is not None, "an evaluation", context)
        pages = {name: self.page(name) for name in self.ports}
        self.assertEqual(self.one("ps_run_state{state='training'}"), 1)
        self.assertEqual(self.one("sum(ps_workers{state='live'})"), 2)
        self.assertGreater(self.one("min(ps_worker_last_seen_timestamp_seconds)"), 1.7e9)
        self.check_dashboard()
        self.check_rules_are_loaded()

        done = "last_over_time(ps_run_state{state='finished'}[5m]) == 1"
        self.wait_until(lambda: self.query(done), "the end of the run", context)
        total = EPOCHS * RECORDS
        self.wait_until(lambda: self.last("ps_examples_total") == total, f"{total} examples", context)
        at_end = self.page("ps-0")
        for child in self.workers + self.servers:
            self.assertEqual(child.wait(), 0, context())
        log = "".join(child.output() for child in self.workers)
        steps = sum(int(count) for count in re.findall(r"done after (\d+) steps", log))
        self.assertGreaterEqual(steps, total / 50)

        # Shard 0 was scraped after the end; of the others the end may be missing.
        of_ps0 = f'instance="{self.ports["ps-0"]}"'
        self.assertEqual(self.last("ps_global_step"), steps)
        self.assertEqual(self.last(f'ps_pushes_total{{verdict="applied", {of_ps0}}}'), steps)
        self.assertEqual(self.last(f"ps_shard_version{{{of_ps0}}}"), steps)
        self.assertEqual(self.last(f"ps_gradient_staleness_steps_count{{{of_ps0}}}"), steps)
        pushed = self.last(f'ps_push_requests_total{{code="OK", {of_ps0}}}')
        self.assertGreaterEqual(pushed, steps)  # a chunk each; the worker's repetitions, if any
        self.assertEqual(self.last(f"ps_push_duration_seconds_count{{{of_ps0}}}"), pushed)
        floats = self.last(f"ps_parameter_bytes{{{of_ps0}}}")
        self.assertEqual(self.last(f"ps_push_bytes_total{{{of_ps0}}}"), steps * floats)
        examples = sum(self.query("last_over_time(worker_examples_total[5m])").values())
        self.assertLessEqual(examples, total)
        self.assertGreater(examples, total / 2)
        seconds = sum(self.query("last_over_time(worker_step_duration_seconds_sum[5m])").values())
        self.assertGreater(seconds, 0.9 * (total / 2 / 50) * 0.05)  # the pace is the least of a step
        accuracy = float(re.findall(r"accuracy ([\d.]+) \(final\)", self.servers[0].output())[-1])
        self.assertAlmostEqual(self.last("ps_evaluation_accuracy"), accuracy, places=3)
        self.assertEqual(samples(at_end)["ps_examples_total", ""], total)
        prometheus.kill(signal.SIGTERM)
        self.assertEqual(prometheus.wait(), 0)
        self.check_names({**pages, "ps-0 at the end": at_end})

    def check_dashboard(self):
        """Prometheus understands every query, and has data for it or knows why not."""
        for text in self.dashboard_queries():
            text = text.replace("$__rate_interval", "1m").replace("$job", ".*")
            self.assertIsNotNone(self.ask("query", query=text), text)

    def check_rules_are_loaded(self):
        names = set(re.findall(r"- alert: (\w+)", read(f"{MONITORING}/alerts.yaml")))
        self.assertGreater(len(names), 5)
        evaluated = lambda: {  # noqa: E731
            rule["name"]: rule["health"]
            for group in self.ask("rules")["groups"]
            for rule in group["rules"]
        }
        well = lambda: evaluated() == dict.fromkeys(names, "ok")  # noqa: E731
        self.wait_until(well, "rules to be evaluated", lambda: str(evaluated()))

    def dashboard_queries(self):
        dashboard = json.loads(read(f"{MONITORING}/grafana-dashboard.json"))
        return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]

    def check_names(self, pages):
        given = set()
        for name, page in pages.items():
            given |= families(page)
            self.check_lint(name, page)
        histograms = {HISTOGRAM_PARTS.sub("", name) for page in pages.values() for name, _ in samples(page)} & given
        self.assertGreater(len(histograms), 5)
        # What is used.
        expressions = re.findall(r"expr: (.*?)\n +(?:for|labels):", read(f"{MONITORING}/alerts.yaml"), re.S)
        used = {"the dashboard": " ".join(self.dashboard_queries()), "the alerts": " ".join(expressions)}
        for where, text in used.items():
            names = {name for name in NAMES.findall(text)}
            self.assertGreater(len(names), 5, where)
            base = {name if name in given else HISTOGRAM_PARTS.sub("", name) for name in names}
            self.assertEqual(base - given, set(), f"{where} names what no process gives")
        # What is documented: each row of a table begins with the names that it is about.
        rows = re.findall(r"^\| (`(?:ps|worker|process)_.*?) \|", read("docs/metrics.md"), re.M)
        documented = {name for row in rows for name in NAMES.findall(row)}
        self.assertEqual(documented, given, "docs/metrics.md")
        alerts = set(re.findall(r"- alert: (\w+)", read(f"{MONITORING}/alerts.yaml")))
        self.assertEqual(set(re.findall(r"^\| `(Leeway\w+)` \|", read("docs/metrics.md"), re.M)), alerts)

    def check_lint(self, name, page):
        lint = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True, check=False)
        self.assertEqual((lint.returncode, lint.stdout + lint.stderr), (0, ""), name)

    def test_alerts_fire_when_they_should(self):
        for verb, name in (("check", "alerts.yaml"), ("test", "alerts_test.yaml")):
            command = ["promtool", verb, "rules", name]
            done = subprocess.run(command, cwd=MONITORING, text=True, capture_output=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        alerts = re.findall(r"- alert: (\w+)", read(f"{MONITORING}/alerts.yaml"))
        cases = read(f"{MONITORING}/alerts_test.yaml")
        for alert in alerts:
            self.assertRegex(cases, rf"- alertname: {alert}\n", f"{alert} is never seen to fire")


if __name__ == "__main__":
    main()
