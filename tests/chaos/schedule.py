"""What a chaos test does to its processes, and when: a function of the seed."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    at: float  # share of the run's pushes that are acknowledged
    delay: float  # seconds behind that, or behind the event before
    kind: str  # kill, stop, cut, fill
    target: str  # name of a process; "": the disk
    seconds: float  # kill: until it is started again; else: how long

    def __str__(self):
        then = "started again after" if self.kind == "kill" else "for"
        return f"{100 * self.at:5.1f} % + {self.delay:.2f} s: {self.kind} {self.target or 'the disk'}, {then} {self.seconds:.2f} s"


def make(seed, kills, workers, servers, lease, last=0.8):
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
