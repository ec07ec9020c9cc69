"""Runs of a real cluster through `leeway run`, for the measuring scripts beside this file. Standard library only."""

import json
import os
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GRACE_S = 60  # to start, evaluate and stop, on a busy machine


class Cluster:
    """Where the programs are. `programs` is a folder like bazel-bin."""

    def __init__(self, programs):
        self.programs = os.path.abspath(programs)

    def path(self, program):
        return os.path.join(self.programs, program)

    def run(self, flags, seconds, ps=None, logs=None, inside=()):
        """summary.json of one run that should train for about `seconds`. `flags` is a dict; `ps` is another program to
        start in place of the `ps`; `logs`, a dict, gets the text of each process's log by its name; `inside` is what
        to put before the command.

        Raises RuntimeError with the run's output when it fails, or takes much longer.
        """
        with tempfile.TemporaryDirectory(prefix="leeway-runs-") as folder:
            summary = os.path.join(folder, "summary.json")
            flags = {
                **flags,
                "ps_binary": ps or self.path("server/ps"),
                "worker_binary": self.path("worker/worker"),
                "out": os.path.join(folder, "run"),
                "summary_json": summary,
            }
            output = execute([*inside, self.path("cli/leeway"), "run"] + words(flags), 3 * seconds + GRACE_S)
            for name in os.listdir(flags["out"]) if logs is not None else []:
                if name.endswith(".log"):
                    with open(os.path.join(flags["out"], name), encoding="utf-8", errors="replace") as file:
                        logs[name[: -len(".log")]] = file.read()
            if not os.path.exists(summary):
                raise RuntimeError(f"leeway run {' '.join(words(flags))} wrote no summary:\n{output}")
            with open(summary, encoding="utf-8") as file:
                return json.load(file)

    def simulate(self, flags):
        """What the simulation predicts for flags of the same names."""
        return json.loads(execute([self.path("tests/sim/throughput_sim_main")] + words(flags), 60))


def words(flags):
    return [f"--{name}={value}" for name, value in flags.items()]


def execute(command, timeout):
    """Standard output. Raises RuntimeError on a non-zero exit or after `timeout` seconds."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.terminate()  # leeway run ends its processes first
            output, _ = process.communicate()
            raise RuntimeError(f"{' '.join(command)} took more than {timeout:.0f} s:\n{output}") from None
        except KeyboardInterrupt:
            process.terminate()
            raise
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited with {process.returncode}:\n{output}")
    return output


def pushes_per_step(flags):
    """Of rounds, those that close one."""
    return flags.get("round_quorum", flags["num_workers"]) if flags["aggregation"] == "round" else 1


def pushes_per_second(summary, flags):
    """Accepted pushes until the run's end was decided; those under way then are not counted."""
    return flags["steps"] * pushes_per_step(flags) / summary["seconds"]


def trainers(summary):
    return [worker for worker in summary["workers"] if worker["role"] == "trainer"]


def blocked_share(summary):
    """Of all workers' time, the part that the gate made them wait."""
    waited = sum(worker["seconds"].get("blocked", 0) for worker in trainers(summary))
    return waited / sum(sum(worker["seconds"].values()) for worker in trainers(summary))


def markdown(rows):
    """Rows of strings, the first one the heading; all but the first column to the right."""
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rule] + rows[1:])
