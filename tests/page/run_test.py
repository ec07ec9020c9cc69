#!/usr/bin/env -S python3 -B
"""The status page of a real training run, in headless Chromium: what it shows is what the cluster says.

LEEWAY_PICTURES=FOLDER keeps pictures.
"""

import json
import os
import signal
import sys
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))

from chromium import PROGRAM, Chromium  # noqa: E402
from harness import PS, WORKER, TestCase, main, read  # noqa: E402

PICTURES = os.environ.get("LEEWAY_PICTURES")


def get(url):
    """Status code and body."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class StatusPage(TestCase):
    def test_a_run_from_beginning_to_end(self):
        self.assertTrue(PROGRAM, "no chromium: apt-get install chromium")
        checkpoints = f"--checkpoint_dir={self.folder}/checkpoints"
        browser = Chromium()
        self.addCleanup(browser.close)
        browser.look(1280, 900)
        run = self.run_leeway(
            "--http_port=0",
            "--num_ps=2",
            "--num_workers=3",
            "--staleness_bound=2",
            "--epochs=10",
            "--pace=40ms",
            f"--ps_flags=--lease=4s --linger=9s {checkpoints} --checkpoint_steps=100",
        )
        url = run.wait_for(r"status page: (http://\S+)").group(1)
        browser.open(url)
        browser.wait_for("last !== null && last.state === 'TRAINING' && last.fastest > 4")
        self.assertEqual(get(url + "healthz"), (200, "ok\n"))
        self.assertEqual(get(url + "readyz"), (200, "ready\n"))
        self.assertIn("--staleness_bound=2", get(url + "statusz")[1])
        self.assertEqual(get(url + "nothing")[0], 404)

        os.kill(run.pid_of("worker-1"), signal.SIGKILL)
        # The others come to the gate and wait there, until it is out.
        browser.wait_for("last.workers.some((w) => w.state === 'live' && w.at_gate)")
        browser.wait_for("$('t-workers-sub').textContent.includes('1 out')")
        self.assertIn("'worker-1' is out", browser.text("#events"))
        rows = browser.value("[...document.querySelectorAll('#workers tr')].map((row) => row.innerText)")
        self.assertIn("expired", [row for row in rows if "worker-1" in row][0])
        browser.wait_for("last.checkpoints.length > 0 && last.evaluations.accuracy.length > 1")
        browser.wait_for("last.rates.samples.some((rate) => rate > 0) && last.shards.every((s) => s.push_rate > 0)")
        if PICTURES:
            browser.picture(os.path.join(PICTURES, "run.png"))

        browser.wait_for("last.state === 'FINISHED'")
        shown = browser.value("last")
        names = ("state", "t-accuracy", "t-gap-sub", "t-delay", "note", "run")
        texts = {name: browser.text("#" + name) for name in names}
        problems = list(browser.problems)
        summary = run.finish()
        self.assertEqual(problems, [])
        self.assertEqual(texts["state"], "finished")
        self.assertEqual(shown["samples"], summary["samples"])
        self.assertEqual(shown["steps"], summary["steps"])
        accuracy = 100 * summary["final_accuracy"]
        self.assertEqual(texts["t-accuracy"], f"{accuracy:.1f} %" if accuracy > 10 else f"{accuracy:.2f} %")
        self.assertEqual(shown["gap"]["counts"], summary["gap"]["counts"])
        self.assertEqual(shown["delay"]["counts"], summary["delay"]["counts"])
        self.assertIn(f"mean {summary['mean_gap']:.2f}", texts["t-gap-sub"])
        self.assertEqual(texts["t-delay"], f"{summary['mean_delay']:.2f}")
        self.assertIn(summary["stop_reason"], texts["note"])
        self.assertIn(summary["run_id"], texts["run"])
        self.assertEqual(
            {worker["name"]: (worker["state"], worker["clock"]) for worker in shown["workers"]},
            {worker["name"]: (worker["state"], worker["clock"]) for worker in summary["workers"]},
        )
        told = [shard["push_bytes"] for shard in summary["shards"]]
        self.assertEqual([shard["push_bytes"] for shard in shown["shards"]], told)

    def test_every_process_says_how_it_is(self):
        port_files = [f"{self.folder}/{name}.http" for name in ("ps-0", "ps-1", "worker")]
        urls = {}

        def url(index):
            self.wait_until(lambda: read(port_files[index]).strip(), port_files[index])
            return f"http://{read(port_files[index]).strip()}/"

        def ready(index, code, reason):
            # Until it is so.
            def so():
                answer = get(urls[index] + "readyz")
                return answer[0] == code and reason in answer[1]

            self.wait_until(so, f"readyz {code}, {reason}, of {index}", lambda: str(get(urls[index] + "readyz")))
            self.assertEqual(get(urls[index] + "healthz")[0], 200)

        http = [["--http_port=0", f"--http_port_file={file}"] for file in port_files]
        zero = self.start("ps-0", PS, "--num_shards=2", f"--port_file={self.folder}/port", *http[0])
        urls[0] = url(0)
        ready(0, 200, "ready")
        self.wait_until(lambda: read(f"{self.folder}/port").strip(), "the coordinator's address")
        coordinator = f"--coordinator={read(f'{self.folder}/port').strip()}"
        data = ["--model=mlp:16", "--data=synthetic:2000", "--pace=50ms"]
        worker = self.start("worker", WORKER, coordinator, "--name=w", *data, *http[2])
        urls[2] = url(2)
        ready(2, 503, "waits to join the cluster")  # a ps is missing
        self.assertIn("missing: ps 1", json.loads(get(urls[0] + "api/status")[1])["waiting_for"])
        zero.kill(signal.SIGSTOP)
        one = self.start("ps-1", PS, "--num_shards=2", "--shard_index=1", coordinator, *http[1])
        urls[1] = url(1)
        ready(1, 503, "waits for ps 0 at ")
        self.assertEqual(get(urls[1])[0], 404)  # the page is shard 0's
        zero.kill(signal.SIGCONT)
        ready(1, 200, "ready")
        ready(2, 200, "ready")
        self.assertIn("w, up for ", get(urls[2] + "statusz")[1])
        for child in (worker, one, zero):
            child.kill(signal.SIGTERM)
            self.assertEqual(child.wait(), 0, child.output())


if __name__ == "__main__":
    main()
