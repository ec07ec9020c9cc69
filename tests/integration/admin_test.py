#!/usr/bin/env -S python3 -B
"""leeway status, top, workers, set, drain and checkpoint now, against a cluster that trains."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import ByHand, free_port  # noqa: E402
from harness import LEEWAY, LIMIT, main  # noqa: E402


class Admin(ByHand):
    def call(self, *words):
        where = [f"--coordinator=127.0.0.1:{self.port}"]
        return subprocess.run([LEEWAY, *words, *where], capture_output=True, text=True, timeout=LIMIT)

    def leeway(self, *words):
        done = self.call(*words)
        self.assertEqual(done.returncode, 0, f"{words}: {done.stderr}\n{self.everything()}")
        return done.stdout

    def refused(self, pattern, *words):
        done = self.call(*words)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def status(self):
        return json.loads(self.leeway("status", "-o", "json"))

    def clocks(self):
        return {worker["name"]: worker["clock"] for worker in json.loads(self.leeway("workers", "-o", "json"))}

    def most_apart(self, status):
        return max(shard["stats"]["gap"]["max"] for shard in status["shards"])

    def until(self, condition, what):
        """`condition` of the status, which is asked for again and again."""
        seen = {}

        def holds():
            seen.update(self.status())
            return condition(seen)

        self.wait_until(holds, what, lambda: json.dumps(seen, indent=1) + self.everything())
        return seen

    def start_all(self):
        self.port = free_port()
        endless = ["--epochs=100000", "--num_workers=3", "--num_evaluators=0", "--staleness_bound=4", "--lease=3s"]
        self.servers = [self.start_ps(0, self.port, *endless), self.start_ps(1, 0)]
        self.servers[0].wait_for("serves at")
        self.endless = endless
        self.workers = [
            # (The manifests' exit code, with which a Job makes a new pod: not for one that was drained.)
            self.start_worker(name, f"--pace={pace}ms", "--pipeline_depth=1", "--preempted_exit_code=143")
            for name, pace in (("fast", 20), ("middle", 40), ("slow", 400))
        ]
        self.until(lambda now: now["state"] == "training" and now["steps"] > 10, "training")

    def again(self, index):
        server = self.start_ps(index, self.port if index == 0 else 0, *(self.endless if index == 0 else []),
                               name=f"ps-{index}-{len(self.servers)}")
        self.servers.append(server)
        server.wait_for("serves at")

    def top_on_a_terminal(self):
        """What it has drawn by the time that it has drawn three times; then Ctrl-C."""
        ours, theirs = pty.openpty()
        command = [LEEWAY, "top", f"--coordinator=127.0.0.1:{self.port}"]
        env = {**os.environ, "TERM": "xterm"}
        top = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env)
        self.addCleanup(top.kill)
        os.close(theirs)
        drawn = b""
        deadline = time.monotonic() + LIMIT
        while drawn.count(b"last event") < 3 and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                drawn += os.read(ours, 65536)
        top.send_signal(signal.SIGINT)
        self.assertEqual(top.wait(LIMIT), 128 + signal.SIGINT)
        while select.select([ours], [], [], 0.1)[0]:
            try:
                drawn += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        os.close(ours)
        return drawn.decode(errors="replace")

    def test_every_verb(self):
        self.start_all()
        with self.subTest("tables"):
            text = self.leeway("status")
            words = ("mlp:16 with", "training", "policy 1: staleness_bound=4", "slow", "127.0.0.1:", "newest events")
            for word in words:
                self.assertIn(word, text)
            self.assertRegex(self.leeway("workers"), r"(?m)^fast +[\d,]+ .* live$")
            self.assertIn("staleness_bound      4", self.leeway("set"))
            self.assertEqual(json.loads(self.leeway("set", "-o", "json"))["settings"]["max_delay"], -1)
            self.assertIn("policy 1:", self.leeway("top"))  # no terminal: one table
            drawn = self.top_on_a_terminal()
            self.assertIn("\x1b[", drawn)  # drawn over itself
            self.assertTrue(drawn.rstrip().endswith("\x1b[?25h"), repr(drawn[-80:]))  # the cursor is back
        with self.subTest("what is refused"):
            self.refused("did you mean staleness_bound", "set", "stalenes_bound=8")
            self.refused("fixed for the whole run", "set", "optimizer=adam")
            self.refused(r"max_delay=0.*-1, 1 and above", "set", "staleness_bound=2", "max_delay=0")
            self.refused("--pipeline_depth=1", "set", "staleness_bound=0")
            self.refused("NAME=VALUE", "set", "staleness_bound")
            self.refused("leeway set does not take --staleness_bound", "set", "--staleness_bound=8")
            self.refused("leeway workers does not take --num_ps", "workers", "--num_ps=3")
            self.refused("did you mean fast", "drain", "fastt")
            self.refused("there is no worker or ps \"ps-2\"", "drain", "ps-2")
            self.refused("output=xml", "status", "--output=xml")
            self.assertEqual(self.status()["policy"]["number"], 1)
            missing = subprocess.run([LEEWAY, "status"], capture_output=True, text=True, timeout=LIMIT)
            self.assertEqual(missing.returncode, 1)
            self.assertIn("--coordinator=HOST:PORT is missing", missing.stderr)
        with self.subTest("help"):
            told = self.leeway("set", "--help")
            self.assertIn("usage: leeway set [NAME=VALUE ...]", told)
            self.assertIn("--ask_timeout", told)
            self.assertIn("--tls_ca_file", told)
            self.assertNotIn("--num_ps", told)
            self.assertIn("--num_ps", self.leeway("run", "--help"))
            self.assertEqual(told, subprocess.run([LEEWAY, "help", "set"], capture_output=True, text=True).stdout)
        with self.subTest("set, looser"):
            self.assertLessEqual(self.most_apart(self.status()), 5)
            self.assertEqual(json.loads(self.leeway("set", "staleness_bound=-1", "-o", "json"))["number"], 2)
            self.until(lambda now: self.most_apart(now) > 20, "workers that run ahead")
        with self.subTest("set, tighter: nobody waits for the steps that the slow one lacks"):
            before = self.clocks()
            self.assertGreater(before["fast"], before["slow"] + 10)
            told = json.loads(self.leeway("set", "staleness_bound=2", "learning_rate=0.01", "-o", "json"))
            self.assertEqual(told["number"], 3)
            self.assertEqual(told["settings"]["learning_rate"], 0.01)
            set_at = self.clocks()
            later = {}

            def went_on():
                later.update(self.clocks())
                return later["fast"] >= set_at["fast"] + 8

            self.wait_until(went_on, "the fast one to go on", self.everything)
            self.assertGreater(later["fast"], later["slow"] + 5, later)
            # And yet it goes at the slow one's pace now.
            gone = {name: later[name] - set_at[name] for name in ("fast", "slow")}
            self.assertLessEqual(gone["fast"], gone["slow"] + 2 + 4, (set_at, later))
        with self.subTest("set, a limit of the delay that grows, and delay compensation"):
            told = json.loads(self.leeway("set", "dc_lambda=0.1", "max_delay=sqrt", "delay_policy=dc", "-o", "json"))
            self.assertEqual((told["number"], told["settings"]["max_delay"]), (4, "sqrt"))
            self.assertEqual((told["settings"]["delay_policy"], told["settings"]["dc_lambda"]), ("dc", 0.1))
            self.assertRegex(self.leeway("status"), r"max_delay=sqrt \(now \d+\)")
            grown = self.until(lambda now: now["delay_limit"] >= 3, "the limit to grow")["delay_limit"]
        with self.subTest("what is set survives both ps"):
            for index in (1, 0):
                self.servers[index].kill(signal.SIGKILL)
                self.servers[index].wait()
                self.again(index)
            now = self.until(lambda now: all(shard["connected"] for shard in now["shards"]), "both ps")
            self.assertEqual((now["policy"]["number"], now["settings"]["staleness_bound"]), (4, 2))
            self.assertEqual(now["settings"]["delay_policy"], "dc")
            self.assertGreaterEqual(now["delay_limit"], grown)
            steps = now["steps"]
            self.until(lambda now: now["steps"] > steps + 5, "steps after the restart")
            self.assertEqual(json.loads(self.leeway("set", "staleness_bound=6", "-o", "json"))["number"], 5)
        with self.subTest("drain a worker"):
            self.assertEqual(self.leeway("drain", "middle"), "worker 'middle' has left\n")
            self.assertEqual(self.workers[1].wait(), 0, self.everything())
            self.assertRegex(self.workers[1].output(), "leeway drain: this worker leaves")
            middle = next(worker for worker in self.status()["workers"] if worker["name"] == "middle")
            self.assertEqual((middle["state"], middle["reason"]), ("left", "drained"))
        with self.subTest("drain a ps"):
            told = json.loads(self.leeway("drain", "ps-1", "-o", "json"))
            self.assertEqual(told, {"target": "ps-1", "done": "ps-1 has ended"})
            self.assertEqual(self.servers[2].wait(), 0, self.everything())
            self.assertRegex(self.servers[2].output(), r"step-\d+ is committed(.|\n)*: ends")
            self.again(1)
        with self.subTest("drain the coordinator"):
            self.until(lambda now: all(shard["connected"] for shard in now["shards"]), "ps 1")
            self.assertEqual(self.leeway("drain", "ps-0"), "ps-0 has ended\n")
            self.assertEqual(self.servers[3].wait(), 0, self.everything())
            self.refused("not done within 1s: .*127.0.0.1", "set", "staleness_bound=4", "--ask_timeout=1s")
            self.again(0)
        with self.subTest("a checkpoint"):
            self.until(lambda now: now["policy"]["number"] == 5 and all(s["connected"] for s in now["shards"]), "all")
            self.assertRegex(self.leeway("checkpoint", "now"), r"/step-\d+\n$")
            self.assertRegex(json.loads(self.leeway("checkpoint", "now", "-o", "json"))["path"], r"/step-\d+$")
        for worker in (self.workers[0], self.workers[2]):
            self.assertEqual(len(re.findall("joined as", worker.output())), 1, self.everything())


if __name__ == "__main__":
    main()
