"""A cluster of real processes under a supervisor: what is killed is started again, as Kubernetes would.

One thread: step() is called again and again. A process that ends by itself with another code than 0 is a fault.
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))

from harness import LIBC, PS, WORKER, read  # noqa: E402, F401
from proof import ACKNOWLEDGED, Keeper  # noqa: E402
from world import World, apart  # noqa: E402

PORT = 7070
RECORDS = 2000
BATCH = 50
HANG = 90  # seconds without an acknowledged push, while nothing is the matter
POLL = 0.02


class Member:
    def __init__(self, name, command):
        self.name, self.command = name, command
        self.starts = 0
        self.child = None
        self.start_at = 0.0  # when it has none
        self.ended = False
        self.killed = []  # its former processes


class Cluster:
    def __init__(self, case, workers, servers, epochs, lease, rounds=False, policy=(), worker_flags=(), ps_flags=()):
        self.case, self.lease, self.epochs = case, lease, epochs
        servers = [f"ps-{i}" for i in range(servers)]
        self.workers = [f"w{i}" for i in range(workers)]
        self.world = World(case, servers + self.workers + ["eval"])
        self.checkpoints = os.path.join(self.world.disk, "checkpoints")
        self.keeper = Keeper(self.checkpoints, os.path.join(self.world.disk, "kept"))
        self.final = os.path.join(case.folder, "final.safetensors")
        self.rounds = rounds
        # In rounds each worker has its part of the records.
        self.steps = epochs * -(-RECORDS // workers // BATCH) if rounds else epochs * RECORDS // BATCH
        self.acknowledged = set()  # (shard, incarnation, step, chunk)
        self.pushes = set()  # (incarnation, step), by shard 0
        self.newest = time.monotonic()  # when something was acknowledged, or while something was the matter
        self.acknowledged_at = None  # the last time
        self.pause = 0.0  # the longest time between two
        self.log_ends = {}  # by file: up to where it was read
        self.mends = []  # (when, what, function)
        self.members = {}
        self.faults = []
        self.story = []
        self.began = time.monotonic()

        coordinator = f"{self.world.address('ps-0')}:{PORT}"
        common = [f"--num_shards={len(servers)}", f"--checkpoint_dir={self.checkpoints}", "--journal=on", *ps_flags]
        leading = [
            f"--num_workers={workers}",
            "--num_evaluators=1",
            f"--epochs={epochs}",
            f"--lease={lease}s",
            "--linger=0s",
            *policy,
        ]
        for index, name in enumerate(servers):
            where = [f"--shard_index={index}", f"--listen={self.world.address(name)}:{PORT + index}"]
            role = leading if index == 0 else [f"--coordinator={coordinator}"]
            self.add(name, PS, *where, *common, *role)
        data = [f"--coordinator={coordinator}", "--model=mlp:16", f"--data=synthetic:{RECORDS}", f"--batch={BATCH}"]
        for name in self.workers:
            self.add(name, WORKER, f"--name={name}", *data, "--log_level=debug", *worker_flags)
        evaluate = ["--role=eval", "--eval_every_epochs=0", "--eval_every_seconds=2", f"--final_weights={self.final}"]
        self.add("eval", WORKER, "--name=eval", *data, *evaluate)

    def add(self, name, *command):
        self.members[name] = Member(name, [*self.world.inside(name), *command])

    def say(self, what):
        self.story.append(f"{time.monotonic() - self.began:7.2f} s: {what}")

    def progress(self):
        """The share of the run's steps that shard 0 has acknowledged."""
        return (max((step for _, step in self.pushes), default=0) if self.rounds else len(self.pushes)) / self.steps

    def running(self, name):
        return self.members[name].child is not None

    def kill(self, name, seconds):
        """kill -9; started again after `seconds`."""
        member = self.members[name]
        member.child.kill(signal.SIGKILL)
        member.child.process.wait()
        member.killed.append(member.child)
        member.child = None
        member.start_at = time.monotonic() + seconds

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
        for member in self.members.values():
            self.look_after(member, now)
        self.keeper.look()
        for name in self.workers:
            self.read_log(name)
        if self.mends or not self.quiet():
            self.newest = max(self.newest, now)
        if now - self.newest > HANG:
            self.fail(f"nothing was acknowledged for {HANG} s")
        if self.faults:
            self.fail("; ".join(self.faults))
        time.sleep(POLL)

    def look_after(self, member, now):
        if member.ended:
            return
        if member.child is None:
            if now >= member.start_at:
                member.starts += 1
                member.child = self.case.start(f"{member.name}.{member.starts}", *member.command)
                if member.starts > 1:
                    self.say(f"{member.name} is started again")
            return
        code = member.child.process.poll()
        if code == 0:
            member.ended = True
            self.say(f"{member.name} ends")
        elif code is not None:
            self.faults.append(f"{member.name} ended by itself with {code}")

    def read_log(self, name):
        member = self.members[name]
        for child in member.killed[-1:] + [member.child]:
            if child is None:
                continue
            with open(child.stderr_path, "rb") as file:
                file.seek(self.log_ends.get(child.stderr_path, 0))
                text = file.read()
            text = text[: text.rfind(b"\n") + 1]
            self.log_ends[child.stderr_path] = self.log_ends.get(child.stderr_path, 0) + len(text)
            for verdict, incarnation, step, shard, chunk in ACKNOWLEDGED.findall(text):
                if verdict in (b"APPLIED", b"HELD"):
                    self.acknowledged.add((int(shard), incarnation.decode(), int(step), int(chunk)))
                    if shard == b"0":
                        self.pushes.add((incarnation, int(step)))
                    now = time.monotonic()
                    self.pause = max(self.pause, now - (self.acknowledged_at or now))
                    self.newest = self.acknowledged_at = now

    def fail(self, why):
        self.case.fail(f"{why}\n{self.everything()}")

    def everything(self):
        """What a failed test shows: what was done, and the ends of the logs."""
        text = "\n".join(self.story)
        for member in self.members.values():
            for child in member.killed[-2:] + ([member.child] if member.child else []):
                lines = [line for line in child.output().splitlines() if "acknowledged:" not in line]
                text += "\n".join([f"\n--- {child.name} (of {member.starts})", *lines[-25:]])
        return text
