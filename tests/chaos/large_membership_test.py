#!/usr/bin/env -S python3 -B
"""From one worker to 64 and back. Manual: it takes some minutes and 4 GB."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import membership_test  # noqa: E402
import world  # noqa: E402
from harness import main  # noqa: E402


class LargeMembership(membership_test.Membership):
    most = 64


if __name__ == "__main__":
    world.enter()
    main()
