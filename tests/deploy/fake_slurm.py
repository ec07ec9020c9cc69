#!/usr/bin/env -S python3 -B
"""What leeway.sbatch needs of Slurm, on one machine: `scontrol`, `squeue`, `srun`, `scancel`, each under its own name.

A node is an address of the loopback network, so a `ps` that listens on all addresses is given its node's instead. Fails
on any option that it does not know. As the real one (tried with 22.05), `srun` kills its tasks when it gets SIGTERM;
`scancel --signal` reaches them.
"""

import contextlib
import os
import signal
import subprocess
import sys

IGNORED = {"overlap", "kill-on-bad-exit", "job-name", "open-mode", "nodes", "ntasks-per-node"}


def scontrol(words):
    if words[:2] == ["show", "hostnames"]:
        print("\n".join(words[2].split(",")))
    elif words[0] == "requeue":
        with open(os.environ["FAKE_SLURM_REQUEUED"], "a", encoding="ascii") as file:
            file.write(words[1] + "\n")
    else:
        sys.exit(f"scontrol: {words}")


def srun(words):
    options = {}
    while words and words[0].startswith("--"):
        name, _, value = words.pop(0)[2:].partition("=")
        options[name] = value
    known = IGNORED | {"ntasks", "nodelist", "output"}
    if set(options) - known:
        sys.exit(f"srun: unknown options {set(options) - known}")
    if "nodelist" in options:
        words = [word.replace("0.0.0.0:", options["nodelist"] + ":") for word in words]
    tasks = []
    signal.signal(signal.SIGTERM, lambda *_: [task.kill() for task in tasks])
    for index in range(int(options["ntasks"])):
        with open(options["output"].replace("%t", str(index)), "ab") as log:
            environment = {**os.environ, "SLURM_PROCID": str(index)}
            tasks.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
    with open(os.environ["FAKE_SLURM_TASKS"], "a", encoding="ascii") as file:
        file.writelines(f"{task.pid}\n" for task in tasks)
    sys.exit(max(abs(task.wait()) for task in tasks))


def squeue(words):
    if words != ["--noheader", "--jobs=" + os.environ["SLURM_JOB_ID"], "--format=%T"]:
        sys.exit(f"squeue: {words}")
    print(os.environ["FAKE_SLURM_STATE"])


def scancel(words):
    if os.environ["FAKE_SLURM_STATE"] != "RUNNING":
        sys.exit("scancel: error: Kill job error on job id 17: Job can not be altered now, try again later")
    if words != ["--signal=TERM", os.environ["SLURM_JOB_ID"]]:
        sys.exit(f"scancel: {words}")
    with open(os.environ["FAKE_SLURM_TASKS"], encoding="ascii") as file:
        for pid in file:
            with contextlib.suppress(ProcessLookupError):  # a task that has ended
                os.kill(int(pid), signal.SIGTERM)


COMMANDS = {"scontrol": scontrol, "squeue": squeue, "srun": srun, "scancel": scancel}
COMMANDS[os.path.basename(sys.argv[0])](sys.argv[1:])
