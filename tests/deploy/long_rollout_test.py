#!/usr/bin/env -S python3 -B
"""rollout_test with nothing of the manifests shortened, and the pods rolled and a worker deleted several times. Manual:
some minutes."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from rollout_test import Rollout, main, world  # noqa: E402

TIMES = 5


class LongRollout(Rollout):
    epochs = 200
    more_workers = 6
    quick = False

    def roll_pods(self):
        for _ in range(TIMES):
            self.ps.former.clear()
            super().roll_pods()

    def delete_a_worker(self):
        for _ in range(TIMES):
            super().delete_a_worker()


del Rollout  # it is the other test's

if __name__ == "__main__":
    world.enter()
    main()
