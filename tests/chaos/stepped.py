"""What the clusters of chaos/ and of deploy/ have in common: a test takes them from step to step, they read what their
processes log, and show all of it when the test fails.

Who inherits defines step(), which calls look(), and processes(): of each member its processes, the newest last.
"""

import time

from proof import ACKNOWLEDGED

POLL = 0.02


class Stepped:
    def __init__(self, case, keeper=None):
        """`keeper`: of what the processes remove (proof.Keeper)."""
        self.case, self.keeper = case, keeper
        self.story, self.began = [], time.monotonic()
        self.acknowledged = set()  # (shard, incarnation, step, chunk)
        self.acknowledged_at = None  # the last time
        self.pause = 0.0  # the longest time between two
        self.log_ends = {}  # by file: up to where it was read

    def say(self, what):
        self.story.append(f"{time.monotonic() - self.began:7.2f} s: {what}")

    def begin_pause(self):
        """From now on `pause` counts."""
        self.pause, self.acknowledged_at = 0.0, time.monotonic()

    def step_until(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"waited {seconds} s for {what}")
            self.step()

    def look(self):
        if self.keeper:
            self.keeper.look()
        for children in self.processes():
            for child in children[-2:]:
                self.read_log(child)

    def read_log(self, child):
        end = self.log_ends.get(child.stderr_path, 0)
        with open(child.stderr_path, "rb") as file:
            file.seek(end)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self.log_ends[child.stderr_path] = end + len(text)
        for verdict, incarnation, step, shard, chunk in ACKNOWLEDGED.findall(text):
            if verdict in (b"APPLIED", b"HELD"):
                self.acknowledge(int(shard), incarnation.decode(), int(step), int(chunk))

    def acknowledge(self, shard, incarnation, step, chunk):
        self.acknowledged.add((shard, incarnation, step, chunk))
        now = time.monotonic()
        self.pause = max(self.pause, now - (self.acknowledged_at or now))
        self.acknowledged_at = now

    def fail(self, why):
        self.case.fail(f"{why}\n{self.everything()}")

    def everything(self):
        """What a failed test shows: what was done, and the ends of the logs."""
        text = "\n".join(self.story)
        for children in self.processes():
            for child in children[-3:]:
                lines = [line for line in child.output().splitlines() if "acknowledged:" not in line]
                text += "\n".join([f"\n--- {child.name}", *lines[-25:]])
        return text
