#!/usr/bin/env -S python3 -B
"""SIGTERM to a ps: it has a checkpoint taken if it can, completes what is under way, and exits 0 in time."""

import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import ByHand, free_port  # noqa: E402
from harness import LEEWAY, LIMIT, main  # noqa: E402

COMMITTED = r"step-\d+ is committed"


class Drain(ByHand):
    def drained(self, server):
        """It has ended well, after a checkpoint."""
        self.assertEqual(server.wait(), 0, self.everything())
        self.assertRegex(server.output(), f"{COMMITTED}(.|\n)*: ends", self.everything())

    def leeway(self, *words):
        words = [LEEWAY, *words, f"--coordinator=127.0.0.1:{self.port}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual(done.returncode, 0, f"{words}: {done.stderr}\n{self.everything()}")
        return done.stdout

    def clock_of(self, name):
        return {worker["name"]: worker["clock"] for worker in json.loads(self.leeway("workers", "-o", "json"))}[name]

    def test_one_after_the_other_as_a_rolling_restart_does(self):
        self.start_cluster()
        for index in (1, 0):
            ended = self.servers[-1] if index == 1 else self.servers[0]
            ended.kill(signal.SIGTERM)
            self.drained(ended)
            again = self.start_ps(index, self.port if index == 0 else 0, name=f"ps-{index}-again")
            self.servers.append(again)
            again.wait_for("restored from .*/step-")
            again.wait_for("the coordinator is back" if index == 0 else "serves at")
        self.assert_all()
        for worker in self.workers:
            self.assertEqual(len(re.findall("joined as", worker.output())), 1, self.everything())

    def test_all_at_once(self):
        self.start_cluster()
        ended = list(self.servers)
        for server in ended:
            server.kill(signal.SIGTERM)
        for server in ended:
            self.assertEqual(server.wait(), 0, self.everything())
        self.assertRegex(ended[0].output(), COMMITTED, self.everything())
        self.servers += [self.start_ps(1, 0, name="ps-1-again"), self.start_ps(0, self.port, name="ps-0-again")]
        self.assert_all()

    def test_a_person_who_asks_for_a_checkpoint_hears_whom_it_waits_for(self):
        self.start_cluster("--lease=1s")
        self.servers[1].kill()
        killed = [self.servers[1]]
        self.servers[0].wait_for("ps 1 .* is silent for")
        asks = self.start("asks", LEEWAY, "checkpoint", "now", f"--coordinator=127.0.0.1:{self.port}")
        asks.wait_for("leeway: waiting: ps 1 is not there")
        self.servers.append(self.start_ps(1, 0, name="ps-1-again"))
        self.assertEqual(asks.wait(), 0, self.everything())
        self.assertRegex(asks.stdout(), "/step-[0-9]+\n$")
        self.assert_all(killed)

    def test_a_checkpoint_that_cannot_be_is_not_waited_for_too_long(self):
        limit = 5
        self.start_cluster(both=[f"--drain_timeout={limit}s"])
        first, second = self.servers
        second.kill(signal.SIGSTOP)
        begun = time.monotonic()
        first.kill(signal.SIGTERM)
        self.assertEqual(first.wait(), 0, self.everything())
        self.assertLess(time.monotonic() - begun, 2 * limit, self.everything())
        self.assertRegex(first.output(), "without a checkpoint, but with its journal", self.everything())
        second.kill(signal.SIGCONT)
        self.servers.append(self.start_ps(0, self.port, name="ps-0-again"))
        self.assert_all()

    def test_leeway_run_starts_it_again_while_training_is_not_over(self):
        checkpoints = os.path.join(self.folder, "checkpoints")
        run = self.run_leeway(
            *["--num_ps=2", "--num_workers=2", "--epochs=9", "--pace=40ms", "--restart_ps"],
            f"--ps_flags=--checkpoint_dir={checkpoints}",
        )
        run.wait_until_training()
        for name in ("ps-1", "ps-0"):
            os.kill(run.pid_of(name), signal.SIGTERM)
            run.wait_for(f"{name} ended with exit code 0: it was told to end; it will be started again")
            run.wait_for_log(name, f"{COMMITTED if name == 'ps-0' else ''}(.|\n)*: ends\n(.|\n)*restored from .*/step-")
        self.assertEqual(run.finish()["samples"], 9 * 2000)
        # At the end they end, and stay so.
        self.assertEqual(len(re.findall("will be started again", run.output())), 2, run.everything())

    def test_leeway_run_starts_ps_0_again_while_the_run_is_finishing(self):
        checkpoints = os.path.join(self.folder, "checkpoints")
        run = self.run_leeway(
            *["--num_ps=2", "--num_workers=2", "--steps=60", "--pace=40ms", "--staleness_bound=-1", "--restart_ps"],
            f"--ps_flags=--checkpoint_dir={checkpoints} --drain_timeout=1s --lease=15s",
        )
        run.wait_until_training()
        stopped = run.pid_of("worker-1")
        os.kill(stopped, signal.SIGSTOP)  # the run does not end before its lease does
        run.wait_for_log("ps-0", "FINISHING: 60 steps")
        os.kill(run.pid_of("ps-0"), signal.SIGTERM)
        run.wait_for("ps-0 ended with exit code 0: it was told to end; it will be started again")
        run.wait_for_log("ps-0", "the coordinator is back: .*FINISHING")
        os.kill(stopped, signal.SIGCONT)
        self.assertEqual(run.finish()["stop_reason"], "60 steps are done")

    def test_a_run_that_all_workers_have_left_before_its_end_has_failed(self):
        self.start_cluster("--abandon_timeout=1s")
        for worker in self.workers:
            worker.kill(signal.SIGTERM)
            self.assertEqual(worker.wait(), 0, self.everything())
        for server in self.servers:
            self.assertEqual(server.wait(), 4, self.everything())
            self.assertRegex(server.output(), "the run has failed: no worker for 1s", self.everything())
        self.assertRegex(self.servers[0].output(), "FINISHING: no worker for 1s(.|\\n)*is committed", self.everything())

    def test_rounds_whose_workers_were_all_killed_within_one(self):
        self.port = free_port()
        flags = ["--aggregation=round", "--num_evaluators=0", "--lease=2s", "--abandon_timeout=6s"]
        self.servers = [self.start_ps(0, self.port, *flags), self.start_ps(1, 0)]
        # The first round stays open for want of the second worker's push.
        paces = {"w0": "5ms", "w1": "10m"}
        self.workers = [self.start_worker(name, f"--pace={paces[name]}", "--pipeline_depth=0") for name in paces]
        self.servers[0].wait_for("training begins")
        self.wait_until(lambda: self.clock_of("w0") == 1, "the first worker's push", self.everything)
        for worker in self.workers:
            worker.kill()
            self.servers[0].wait_for(f"worker '{worker.name.split('.')[1]}' is out")
        self.leeway("checkpoint", "now", "--checkpoint_timeout=30s")
        for server in self.servers:
            self.assertEqual(server.wait(), 4, self.everything())
        self.assertRegex(self.servers[0].output(), f"{COMMITTED}(.|\\n)*FINISHING: no worker for 6s", self.everything())
        self.assertNotIn("there is no checkpoint of the end", self.servers[0].output(), self.everything())

    def test_a_second_signal_ends_it_at_once(self):
        self.start_cluster(both=["--drain_timeout=1h"])
        first, second = self.servers
        second.kill(signal.SIGSTOP)
        first.kill(signal.SIGTERM)
        first.wait_for("shutting down, within 1h")
        first.kill(signal.SIGTERM)
        self.assertEqual(first.wait(), 1, self.everything())

    def test_without_a_checkpoint_dir_it_ends_at_once(self):
        self.start_cluster("--checkpoint_dir=", both=["--checkpoint_dir="])
        for server in self.servers:
            begun = time.monotonic()
            server.kill(signal.SIGTERM)
            self.assertEqual(server.wait(), 0, self.everything())
            self.assertLess(time.monotonic() - begun, 10, self.everything())
            self.assertNotRegex(server.output(), COMMITTED)


if __name__ == "__main__":
    main()
