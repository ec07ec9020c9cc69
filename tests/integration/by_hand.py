"""A cluster whose processes a test starts itself, so that it can end each of them and start it again."""

import os
import re
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import PS, WORKER, TestCase  # noqa: E402

EPOCHS = 4
RECORDS = 2000


def free_port():
    """One that the system does not hand out again soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ByHand(TestCase):
    """Two `ps` with a journal, two workers, an evaluator."""

    cluster = "one"
    num_shards = 2

    def checkpoint_dir(self):
        return f"{self.folder}/{self.cluster}.checkpoints"

    def start_ps(self, index, port, *flags, name=None):
        policy = ["--num_workers=2", "--num_evaluators=1", f"--epochs={EPOCHS}", "--linger=0s"]
        return self.start(
            f"{self.cluster}.{name or f'ps-{index}'}",
            PS,
            f"--shard_index={index}",
            f"--num_shards={self.num_shards}",
            f"--listen=127.0.0.1:{port}",
            f"--checkpoint_dir={self.checkpoint_dir()}",
            *(policy if index == 0 else [f"--coordinator=127.0.0.1:{self.port}"]),
            *flags,
        )

    def start_worker(self, name, *flags):
        data = ["--model=mlp:16", f"--data=synthetic:{RECORDS}", "--batch=50"]
        where = [f"--coordinator=127.0.0.1:{self.port}", f"--name={name}"]
        return self.start(f"{self.cluster}.{name}", WORKER, *where, *data, *flags)

    def start_cluster(self, *flags, both=()):
        """`flags`: of ps 0; `both`: of both."""
        self.port = free_port()
        self.servers = [self.start_ps(0, self.port, *flags, *both), self.start_ps(1, 0, *both)]
        depth = "--pipeline_depth=0" if "--staleness_bound=0" in flags else "--pipeline_depth=1"
        self.workers = [self.start_worker(f"w{i}", "--pace=50ms", depth) for i in range(2)]
        self.final = f"{self.folder}/{self.cluster}.safetensors"
        evaluate = ["--role=eval", "--eval_every_epochs=0.5", f"--final_weights={self.final}"]
        self.workers.append(self.start_worker("eval", *evaluate))
        self.servers[0].wait_for("evaluation after")

    def everything(self):
        return "".join(f"--- {child.name}\n{child.output()}" for child in self.servers + self.workers)

    def finish(self, killed):
        """Everybody but those whom the test has killed ends by itself, after every record of every epoch."""
        for child in self.servers + self.workers:
            code = child.wait()
            self.assertEqual(code, -signal.SIGKILL if child in killed else 0, child.name + "\n" + self.everything())
        log = "".join(server.output() for server in self.servers)
        rounds = EPOCHS * RECORDS // 100
        self.assertRegex(log, f"{EPOCHS} epochs are done|{rounds} rounds are closed", self.everything())
        totals = re.findall(r"evaluation after (\d+) samples: .*\(final\)", log)
        given_up = max([0] + [int(count) for count in re.findall(r"are given up, .* (\d+) in all", log)])
        self.assertEqual([int(total) for total in totals], [EPOCHS * RECORDS - given_up], self.everything())
        return given_up

    def assert_all(self, killed=()):
        self.assertEqual(self.finish(killed), 0, "records were given up\n" + self.everything())
