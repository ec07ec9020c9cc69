#!/usr/bin/env -S python3 -B
"""Workers that die, hang and come back: the others go on, and every record is trained on exactly once."""

import os
import re
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import TestCase, main, worker_of  # noqa: E402

LEASE = 2  # seconds
LEASE_FLAG = f"--ps_flags=--lease={LEASE}s"
MARGIN = 6  # seconds: this machine may be busy


class Death(TestCase):
    def test_the_others_go_on_within_the_lease_at_bound_1(self):
        run = self.run_leeway(
            "--num_ps=2", "--num_workers=3", "--staleness_bound=1", "--epochs=9", "--pace=20ms", LEASE_FLAG
        )
        run.wait_until_training()
        os.kill(run.pid_of("worker-1"), signal.SIGKILL)
        silence = run.wait_for_log("ps-0", r"worker 'worker-1' is out: no heartbeat for ([\d.]+)s")
        self.assertLess(float(silence.group(1)), LEASE + MARGIN)
        summary = run.finish()
        self.assertIn("worker-1 was killed by signal 9 (Killed)", run.output())
        self.assertEqual(summary["samples"], 9 * 2000)
        self.assertEqual([worker_of(summary, f"worker-{i}")["state"] for i in range(3)], ["left", "expired", "left"])
        # They did wait, and knew for whom.
        dead = worker_of(summary, "worker-1")["id"]
        for name in ("worker-0", "worker-2"):
            blocked = {entry["id"]: entry["seconds"] for entry in worker_of(summary, name)["blocked_on"]}
            self.assertGreater(blocked.get(dead, 0), 0, run.everything())
        self.assertLessEqual(summary["max_gap"], 2)

    def test_a_killed_worker_rejoins_under_its_name_and_no_record_is_lost(self):
        # It is the only one, so nobody can train on what it had in hand.
        # (The status page keeps its port to itself when somebody is started again.)
        http = ["--http_port=0", "--worker_flags=0:--http_port=0"]
        run = self.run_leeway(
            "--epochs=4", "--pace=20ms", "--restart_workers", "--lease_records=500", LEASE_FLAG, *http
        )
        run.wait_until_training()
        os.kill(run.pid_of("worker-0"), signal.SIGKILL)
        run.wait_for("worker-0 will be started again")
        summary = run.finish()
        self.assertRegex(run.log("ps-0"), "live: worker-0")
        self.assertEqual(summary["samples"], 4 * 2000)
        back = worker_of(summary, "worker-0")
        self.assertEqual((back["state"], back["rank"]), ("left", 0))
        self.assertGreater(back["steps"], 0)

    def test_with_static_data_a_killed_worker_goes_on_where_it_was(self):
        run = self.run_leeway(
            "--num_workers=2", "--data_sharing=static", "--epochs=3", "--pace=50ms", "--restart_workers", LEASE_FLAG
        )
        run.wait_until_training()
        os.kill(run.pid_of("worker-1"), signal.SIGKILL)
        summary = run.finish()
        self.assertRegex(run.log("ps-0"), "live: worker-1")
        self.assertEqual(summary["samples"], 3 * 2000)

    def test_a_round_closes_without_the_dead(self):
        run = self.run_leeway(
            "--num_ps=2", "--num_workers=3", "--aggregation=round", "--epochs=4", "--pace=50ms", LEASE_FLAG
        )
        run.wait_until_training()
        os.kill(run.pid_of("worker-2"), signal.SIGKILL)
        run.wait_for_log("ps-0", "worker 'worker-2' is out")
        summary = run.finish()
        self.assertEqual(summary["steps"], 4 * 14)  # 667 records of a rank in batches of 50
        self.assertEqual(worker_of(summary, "worker-2")["state"], "expired")

    def test_a_killed_worker_rejoins_the_rounds(self):
        # Two rounds a second: the run lasts until the worker is back.
        run = self.run_leeway(
            "--num_workers=2", "--aggregation=round", "--epochs=4", "--pace=250ms", "--restart_workers", LEASE_FLAG
        )
        run.wait_until_training()
        os.kill(run.pid_of("worker-1"), signal.SIGKILL)
        run.wait_for_log("ps-0", "live: worker-1")
        summary = run.finish()
        self.assertEqual(summary["steps"], 4 * 20)
        self.assertEqual(worker_of(summary, "worker-1")["state"], "left")

    def test_a_worker_stopped_for_longer_than_its_lease_rejoins(self):
        run = self.run_leeway("--num_workers=2", "--staleness_bound=1", "--epochs=3", "--pace=50ms", LEASE_FLAG)
        run.wait_until_training()
        stopped = [run.pid_of("worker-0"), run.pid_of("worker-1")]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        for name in ("worker-0", "worker-1"):
            run.wait_for_log("ps-0", f"worker '{name}' is out")
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        summary = run.finish()
        self.assertEqual(summary["samples"], 3 * 2000)
        for name in ("worker-0", "worker-1"):
            self.assertIn("this incarnation is no member any more", run.log(name))
            self.assertEqual(len(re.findall("joined as worker", run.log(name))), 2)
            self.assertEqual(worker_of(summary, name)["state"], "left")


if __name__ == "__main__":
    main()
