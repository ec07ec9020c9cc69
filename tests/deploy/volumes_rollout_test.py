#!/usr/bin/env -S python3 -B
"""rollout_test with the overlay volumes: each `ps` has a volume of its own, and ps 0's has the checkpoints."""

import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from rollout_test import Rollout, main, world  # noqa: E402


class VolumesRollout(Rollout):
    overlay = "volumes"

    def volume(self, number):
        return os.path.join(self.folder, f"state-leeway-ps-{number}")

    def state(self, checkpoint_dir):
        """One folder with links into the volumes, as if somebody had gathered them."""
        gathered = os.path.join(self.folder, "gathered")
        os.makedirs(os.path.join(gathered, "journal"))
        for number, names in ((0, ("coordinator", "journal/shard-00000")), (1, ("journal/shard-00001",))):
            for name in names:
                path = checkpoint_dir.replace("/var/lib/leeway", self.volume(number))
                os.symlink(os.path.join(path, name), os.path.join(gathered, name))
        return gathered

    def prove(self):
        super().prove()
        self.assertTrue(glob.glob(f"{self.volume(0)}/*/step-*/COMMITTED"))
        self.assertEqual(glob.glob(f"{self.volume(1)}/*/step-*") + glob.glob(f"{self.volume(1)}/*/outgoing/*/*"), [])


del Rollout  # it is the other test's

if __name__ == "__main__":
    world.enter()
    main()
