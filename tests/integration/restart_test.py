#!/usr/bin/env -S python3 -B
"""Servers that are killed and started again: training goes on, and every record is trained on exactly once."""

import os
import re
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import PS, WORKER, TestCase, main, weights  # noqa: E402

EPOCHS = 4
RECORDS = 2000


def free_port():
    """One that the system does not hand out again soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Restart(TestCase):
    cluster = "one"

    def start_ps(self, index, port, *flags, name=None):
        policy = ["--num_workers=2", "--num_evaluators=1", f"--epochs={EPOCHS}", "--linger=0s"]
        return self.start(
            f"{self.cluster}.{name or f'ps-{index}'}",
            PS,
            f"--shard_index={index}",
            "--num_shards=2",
            f"--listen=127.0.0.1:{port}",
            f"--checkpoint_dir={self.folder}/{self.cluster}.checkpoints",
            *(policy if index == 0 else [f"--coordinator=127.0.0.1:{self.port}"]),
            *flags,
        )

    def start_worker(self, name, *flags):
        data = ["--model=mlp:16", f"--data=synthetic:{RECORDS}", "--batch=50"]
        where = [f"--coordinator=127.0.0.1:{self.port}", f"--name={name}"]
        return self.start(f"{self.cluster}.{name}", WORKER, *where, *data, *flags)

    def start_cluster(self, *flags):
        self.port = free_port()
        self.servers = [self.start_ps(0, self.port, *flags), self.start_ps(1, 0)]
        depth = "--pipeline_depth=0" if "--staleness_bound=0" in flags else "--pipeline_depth=1"
        self.workers = [self.start_worker(f"w{i}", "--pace=50ms", depth) for i in range(2)]
        self.final = f"{self.folder}/{self.cluster}.safetensors"
        evaluate = ["--role=eval", "--eval_every_epochs=0.5", f"--final_weights={self.final}"]
        self.workers.append(self.start_worker("eval", *evaluate))
        self.servers[0].wait_for("evaluation after")

    def everything(self):
        return "".join(f"--- {child.name}\n{child.output()}" for child in self.servers + self.workers)

    def finish(self, ended):
        """Everybody but those whom the test has killed ends by itself, after every record of every epoch."""
        for child in self.servers + self.workers:
            code = child.wait()
            self.assertEqual(code, -signal.SIGKILL if child in ended else 0, child.name + "\n" + self.everything())
        log = "".join(server.output() for server in self.servers)
        rounds = EPOCHS * RECORDS // 100
        self.assertRegex(log, f"{EPOCHS} epochs are done|{rounds} rounds are closed", self.everything())
        totals = re.findall(r"evaluation after (\d+) samples: .*\(final\)", log)
        given_up = max([0] + [int(count) for count in re.findall(r"are given up, .* (\d+) in all", log)])
        self.assertEqual([int(total) for total in totals], [EPOCHS * RECORDS - given_up], self.everything())
        return given_up

    def assert_all(self, ended):
        self.assertEqual(self.finish(ended), 0, "records were given up\n" + self.everything())

    def test_the_coordinator_is_killed(self):
        self.start_cluster()
        first = self.servers[0]
        first.kill()
        first.wait()
        second = self.start_ps(0, self.port, name="ps-0-again")
        self.servers.append(second)
        second.wait_for("the coordinator is back: run [0-9a-f]+, TRAINING, 3 members")
        # And once more: what a restarted one saves is as good.
        second.wait_for("evaluation after")
        second.kill()
        second.wait()
        self.servers.append(self.start_ps(0, self.port, name="ps-0-again-2"))
        self.assert_all([first, second])
        # Nobody had to join again.
        for worker in self.workers:
            self.assertEqual(len(re.findall("joined as", worker.output())), 1, self.everything())
        # The end is remembered too.
        late = self.start_ps(0, self.port, name="ps-0-late")
        self.assertNotEqual(late.wait(), 0)
        self.assertRegex(late.stderr(), "checkpoint_dir=.*the run is finished")
        self.assertEqual(len(late.stderr().strip().splitlines()), 1, late.stderr())

    def test_another_ps_is_killed_and_comes_back_at_another_address(self):
        self.start_cluster()
        killed = self.servers[1]
        killed.kill()
        killed.wait()
        self.servers.append(self.start_ps(1, free_port(), name="ps-1-again"))
        self.servers[0].wait_for("ps 1 is back")
        self.assert_all([killed])

    def test_both_servers_are_killed_at_once(self):
        self.start_cluster()
        killed = list(self.servers)
        for server in killed:
            server.kill()
        for server in killed:
            server.wait()
        self.servers += [self.start_ps(1, 0, name="ps-1-again"), self.start_ps(0, self.port, name="ps-0-again")]
        self.assert_all(killed)

    def test_rounds_give_the_same_weights_whoever_was_killed(self):
        rounds = ["--aggregation=round", "--staleness_bound=0"]
        self.cluster = "undisturbed"
        self.start_cluster(*rounds)
        self.assert_all([])
        expected = weights(self.final)
        self.cluster = "disturbed"
        self.start_cluster(*rounds)
        killed = list(self.servers)
        for server in killed:
            server.kill()
            server.wait()
        self.servers.append(self.start_ps(0, self.port, *rounds, name="ps-0-again"))
        self.servers.append(self.start_ps(1, 0, name="ps-1-again"))
        self.assert_all(killed)
        self.assertEqual(weights(self.final), expected)

    def test_tickets_are_given_once(self):
        tickets = ["--max_delay=4"]
        self.start_cluster(*tickets)
        killed = self.servers[0]
        killed.kill()
        killed.wait()
        self.servers.append(self.start_ps(0, self.port, *tickets, name="ps-0-again"))
        # While one push waits for the dead, the others' are refused by their delay, the same records perhaps too often.
        self.assertLess(self.finish([killed]), RECORDS)

    def test_without_a_journal_the_weights_are_lost_and_that_is_said(self):
        self.start_cluster("--journal=off")
        self.servers[0].kill()
        self.servers[0].wait()
        again = self.start_ps(0, self.port, "--journal=off", name="ps-0-again")
        self.assertNotEqual(again.wait(), 0)
        self.assertRegex(again.output(), "held this shard's weights, and they are lost")

    def test_another_policy_is_refused_by_name(self):
        self.start_cluster("--staleness_bound=3")
        self.servers[0].kill()
        self.servers[0].wait()
        other = self.start_ps(0, self.port, "--staleness_bound=4", name="ps-0-other")
        self.assertNotEqual(other.wait(), 0)
        self.assertRegex(other.stderr(), "checkpoint_dir=.*staleness_bound: 3 -> 4")


if __name__ == "__main__":
    main()
