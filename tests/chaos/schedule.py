"""What a chaos test does to its processes, and when: a function of the seed."""

import random
import signal
import time
from dataclasses import dataclass

from world import apart


@dataclass(frozen=True)
class Event:
    at: float  # share of the run's pushes that are acknowledged
    delay: float  # seconds behind that, or behind the event before
    kind: str  # kill, stop, cut, fill
    target: str  # name of a process; "": the disk
    seconds: float  # kill: until it is started again; else: how long

    def __str__(self):
        then = "started again after" if self.kind == "kill" else "for"
        what = f"{self.kind} {self.target or 'the disk'}, {then} {self.seconds:.2f} s"
        return f"{what} (at {100 * self.at:.1f} % and {self.delay:.2f} s)"


def make(seed, kills, workers, servers, lease, last):
    """Beside `kills` kills some stops, cuts and full disks. The last one begins at `last` of the run."""
    draw = random.Random(seed)

    def target():
        groups = [["ps-0"], [f"ps-{i}" for i in range(1, servers)], ["eval"], [f"w{i}" for i in range(workers)]]
        return draw.choice(draw.choices(groups, weights=[25, 25, 10, 40])[0])

    kinds = ["kill"] * kills + ["stop", "cut"] * (kills // 4) + ["fill"] * (kills // 6)
    draw.shuffle(kinds)
    events = []
    places = sorted(draw.uniform(0.02, last) for _ in kinds)
    for kind, at in zip(kinds, places):
        # A third of them hit a cluster that is busy with the one before.
        at_once = events and draw.random() < 1 / 3
        seconds = {
            "kill": lambda: draw.choice([0, draw.uniform(0, 1), draw.uniform(0, 1.5 * lease)]),
            "stop": lambda: lease + draw.uniform(0.2, 2),
            "cut": lambda: draw.choice([draw.uniform(0.1, 1), lease + draw.uniform(0.2, 2)]),
            "fill": lambda: draw.uniform(0.5, 4),
        }[kind]()
        events.append(
            Event(
                at=events[-1].at if at_once else at,
                delay=draw.uniform(0, 1 if at_once else 0.2),
                kind=kind,
                target="" if kind == "fill" else target(),
                seconds=seconds,
            )
        )
    return events


def disturb(cluster, events):
    """Carries out the events while the cluster trains, and waits until the last one is over."""
    waiting, not_before = list(events), None  # when the first may happen, once its place is reached
    while waiting:
        cluster.step()
        if not_before is None and cluster.progress() >= waiting[0].at:
            not_before = time.monotonic() + waiting[0].delay
        if not_before is not None and time.monotonic() >= not_before and hit(cluster, waiting[0]):
            waiting.pop(0)
            not_before = None
    while not cluster.quiet():
        cluster.step()
    if cluster.progress() >= 1:
        cluster.fail("training was over before the events were")


def hit(cluster, event):
    """Carries out an event, or says that it must wait: False."""
    if event.kind in ("cut", "fill") and not apart():
        return True
    if event.target and not cluster.running(event.target):
        return False
    end = f"end of {event.kind} {event.target}"
    if event.kind == "kill":
        cluster.kill(event.target, event.seconds)
    elif any(end == mend[1] for mend in cluster.mends):
        return False
    elif event.kind == "stop":
        child = cluster.members[event.target].child
        child.kill(signal.SIGSTOP)
        # (It may have been killed meanwhile.)
        cluster.later(event.seconds, end, lambda: child.process.poll() is None and child.kill(signal.SIGCONT))
    elif event.kind == "cut":
        cluster.world.cut(event.target, True)
        cluster.later(event.seconds, end, lambda: cluster.world.cut(event.target, False))
    else:
        cluster.world.fill(True)
        cluster.later(event.seconds, end, lambda: cluster.world.fill(False))
    cluster.say(str(event))
    return True


def counted(events):
    kinds = ("kill", "stop", "cut", "fill") if apart() else ("kill", "stop")
    return {kind: sum(event.kind == kind for event in events) for kind in kinds}
