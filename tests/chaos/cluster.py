"""A cluster of real processes under a supervisor: what is killed is started again, as Kubernetes would.

One thread: step() is called again and again. A process that ends by itself with another code than 0 is a fault.
"""

import os
import re
import signal
import socket
import sys
import time
from dataclasses import dataclass

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))

from harness import PS, WORKER  # noqa: E402
from proof import Keeper  # noqa: E402
from stepped import POLL, Stepped  # noqa: E402
from world import World, apart  # noqa: E402

HANG = 90  # seconds without an acknowledged push, while nothing is the matter
BAD_INPUT, LOST = 1, 2  # exit codes


@dataclass
class Training:
    """What the cluster trains."""

    epochs: int
    servers: int = 2
    workers: int = 3
    model: str = "mlp:16"
    data: str = "synthetic:2000"
    records: int = 2000
    batch: int = 50
    rounds: bool = False
    lease: int = 2  # seconds
    policy: tuple = ()  # flags of ps-0
    ps_flags: tuple = ()
    worker_flags: tuple = ()
    evaluate: tuple = ("--eval_every_epochs=0", "--eval_every_seconds=2")  # (): no evaluator

    def steps(self):
        # In rounds each worker has its part of the records.
        part = -(-self.records // self.workers) if self.rounds else self.records
        return self.epochs * -(-part // self.batch)


class Member:
    def __init__(self, name, command):
        self.name, self.command = name, command
        self.child = None
        self.start_at = 0.0  # when it has none; None: never
        self.ended = False
        self.former = []  # processes that were killed


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster(Stepped):
    def __init__(self, case, training, links=True, keep=True, quality=None):
        """`links`: each process on a network of its own and the files on a disk of theirs, where that is allowed.
        `keep`: what the processes remove, for the proof. `quality`: of the network, as World's."""
        super().__init__(case)
        self.training = training
        servers = [f"ps-{i}" for i in range(training.servers)]
        workers = [f"w{i}" for i in range(training.workers)]
        evaluators = ["eval"] if training.evaluate else []
        self.world = World(case, servers + workers + evaluators, links, quality)
        self.checkpoints = os.path.join(self.world.disk, "checkpoints")
        if keep:
            self.keeper = Keeper(self.checkpoints, os.path.join(self.world.disk, "kept"))
        self.final = os.path.join(case.folder, "final.safetensors")
        self.pushes = set()  # (incarnation, step), by shard 0
        self.newest = time.monotonic()  # when something was acknowledged, or while something was the matter
        self.mends = []  # (when, what, function)
        self.members = {}

        ports = [7070 if apart() else free_port() for _ in servers]
        addresses = [f"{self.world.address(name)}:{port + i}" for i, (name, port) in enumerate(zip(servers, ports))]
        self.coordinator = addresses[0]
        leading = [
            f"--num_workers={training.workers}",
            f"--num_evaluators={len(evaluators)}",
            f"--epochs={training.epochs}",
            f"--lease={training.lease}s",
            "--linger=0s",
            *training.policy,
        ]
        for index, name in enumerate(servers):
            where = [f"--shard_index={index}", f"--num_shards={training.servers}", f"--listen={addresses[index]}"]
            if apart():
                where.append("--insecure")  # their own network, which nobody else is on
            disk = [f"--checkpoint_dir={self.checkpoints}", "--journal=on"]
            role = leading if index == 0 else [f"--coordinator={self.coordinator}"]
            self.add(name, PS, *where, *disk, *training.ps_flags, *role)
        for name in workers:
            self.add_worker(name)
        if evaluators:
            role = ["--role=eval", f"--final_weights={self.final}", *training.evaluate]
            self.add("eval", WORKER, *self.common("eval"), *role)

    def common(self, name):
        training = self.training
        data = [f"--model={training.model}", f"--data={training.data}", f"--batch={training.batch}"]
        return [f"--name={name}", f"--coordinator={self.coordinator}", "--start_timeout=20s", *data]

    def add(self, name, *command):
        self.members[name] = Member(name, [*self.world.inside(name), *command])

    def add_worker(self, name, *flags):
        self.add(name, WORKER, *self.common(name), "--log_level=debug", *self.training.worker_flags, *flags)

    def progress(self):
        """The share of the run's steps that shard 0 has acknowledged."""
        done = max((step for _, step in self.pushes), default=0) if self.training.rounds else len(self.pushes)
        return done / self.training.steps()

    def running(self, name):
        return self.members[name].child is not None and not self.members[name].ended

    def kill(self, name, again):
        """kill -9; started again after `again` seconds (None: never)."""
        member = self.members[name]
        member.child.kill(signal.SIGKILL)
        member.child.process.wait()
        member.former.append(member.child)
        member.child = None
        member.start_at = None if again is None else time.monotonic() + again
        member.ended = again is None

    def later(self, seconds, what, undo):
        self.mends.append((time.monotonic() + seconds, what, undo))

    def quiet(self):
        """Everybody runs, and nothing is cut, stopped or full."""
        return not self.mends and all(member.child or member.ended for member in self.members.values())

    def over(self):
        return all(member.ended for member in self.members.values())

    def step(self):
        now = time.monotonic()
        for mend in [mend for mend in self.mends if mend[0] <= now]:
            self.mends.remove(mend)
            self.say(mend[1])
            mend[2]()
        for member in list(self.members.values()):
            self.look_after(member, now)
        self.look()
        if not self.quiet():
            self.newest = max(self.newest, now)
        if now - self.newest > HANG:
            self.fail(f"nothing was acknowledged for {HANG} s")
        time.sleep(POLL)

    def finish(self, seconds):
        """Until everybody has ended by itself."""
        self.step_until(self.over, seconds, "the end")

    def look_after(self, member, now):
        if member.ended:
            return
        if member.child is None:
            if self.members["ps-0"].ended:
                member.ended = True  # the run is over
            elif now >= member.start_at:
                member.child = self.case.start(f"{member.name}.{len(member.former) + 1}", *member.command)
                if member.former:
                    self.say(f"{member.name} is started again")
            return
        code = member.child.process.poll()
        if code == 0:
            member.ended = True
            self.say(f"{member.name} ends")
        elif code == BAD_INPUT and member.name == "ps-0" and "the run is finished" in member.child.stderr():
            member.ended = True  # it was killed, and started again when the run was over
        elif code == LOST and self.members["ps-0"].ended and "gave up on the coordinator" in member.child.stderr():
            member.ended = True
        elif code is not None:
            self.fail(f"{member.name} ended by itself with {code}")

    def acknowledge(self, shard, incarnation, step, chunk):
        super().acknowledge(shard, incarnation, step, chunk)
        if shard == 0:
            self.pushes.add((incarnation, step))
        self.newest = self.acknowledged_at

    def processes(self):
        return [self.children(name) for name in self.members]

    def children(self, name):
        """All processes that `name` has had."""
        member = self.members[name]
        return member.former + ([member.child] if member.child else [])

    def logged(self, name, pattern):
        """All matches in the logs of `name`."""
        return [match for child in self.children(name) for match in re.findall(pattern, child.stderr())]
