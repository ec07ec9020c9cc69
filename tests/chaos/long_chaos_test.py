#!/usr/bin/env -S python3 -B
"""The chaos test with 200 kills. Manual: about half an hour.

LEEWAY_CHAOS_KILLS=N: another number of kills.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import chaos_test  # noqa: E402
import world  # noqa: E402
from harness import main  # noqa: E402


class LongChaos(chaos_test.Chaos):
    kills = int(os.environ.get("LEEWAY_CHAOS_KILLS", 200))


if __name__ == "__main__":
    world.enter()
    main()
