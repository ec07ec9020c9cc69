"""What a run has really done, by its journals and its coordinator's states, against what its workers were told."""

import collections
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))

from harness import LEEWAY, weights  # noqa: E402

HISTORY = os.path.abspath("tests/chaos/lease_history")
TIMEOUT = 600
# What a worker logs at --log_level=debug (worker/client/push.cc).
ACKNOWLEDGED = re.compile(rb"acknowledged: (\w+) incarnation (\w+) step (\d+) shard (\d+) chunk (\d+)")
# What `leeway replay --replay_list` prints.
RECORD = re.compile(r"^(\d+):\d+ (APPLIED|HELD) worker \d+ incarnation (\w+) step (\d+) chunk (\d+) of", re.MULTILINE)


class Keeper:
    """Keeps what the processes remove: second names for the files of journals and of the coordinator's states."""

    def __init__(self, checkpoints, kept):
        self.checkpoints, self.kept = checkpoints, kept
        self.files = {}  # by path: the inode

    def look(self):
        for folder in ("coordinator", *(f"journal/{name}" for name in self.names("journal"))):
            os.makedirs(os.path.join(self.kept, folder), exist_ok=True)
            for name in self.names(folder):
                if name.endswith(".log"):
                    self.keep(os.path.join(folder, name))

    def names(self, folder):
        try:
            return os.listdir(os.path.join(self.checkpoints, folder))
        except FileNotFoundError:
            return []

    def keep(self, path):
        source, kept = os.path.join(self.checkpoints, path), os.path.join(self.kept, path)
        try:
            inode = os.stat(source).st_ino
            if self.files.get(path) == inode:
                return
            if path in self.files:  # begun again under its name, as when the disk was full
                os.unlink(kept)
            os.link(source, kept)
            self.files[path] = inode
        except FileNotFoundError:  # gone meanwhile
            pass


def execute(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} exited with {done.returncode}: {done.stdout[-2000:]}{done.stderr}")
    return done.stdout


def check_journal(case, kept, acknowledged, final_weights):
    """`acknowledged`: (shard, incarnation, step, chunk) of what was applied, or held for its round. What was found, in
    numbers."""
    replayed = os.path.join(case.folder, "replayed.safetensors")
    # A journal that is not whole, from its first record on, is refused here.
    output = execute(LEEWAY, "replay", kept, "--replay_list", f"--replay_weights={replayed}")
    times = collections.Counter()
    for shard, _, incarnation, step, chunk in RECORD.findall(output):
        times[int(shard), incarnation, int(step), int(chunk)] += 1
    twice = [chunk for chunk, count in times.items() if count > 1]
    lost = [chunk for chunk in acknowledged if chunk not in times]
    case.assertEqual(twice, [], "applied twice: (shard, incarnation, step, chunk)")
    case.assertEqual(lost, [], "acknowledged and lost: (shard, incarnation, step, chunk)")
    case.assertGreater(len(acknowledged), 0)
    # What the journal says is what the weights are.
    case.assertTrue(os.path.exists(final_weights), "there was no final evaluation")
    case.assertEqual(weights(replayed), weights(final_weights), "the journals' weights are not the run's")
    return {"acknowledged": len(acknowledged), "in the journals": len(times)}


def check_leases(case, kept, records, epochs):
    """Every record of every epoch was committed, and none once it was."""
    history = json.loads(execute(HISTORY, os.path.join(kept, "coordinator"), str(records)))
    case.assertEqual(history["epochs_done"], epochs, history)
    case.assertEqual(history["committed"], epochs * records, history)
    case.assertEqual(history["skipped"], 0, history)
    return history
