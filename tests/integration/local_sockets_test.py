#!/usr/bin/env -S python3 -B
"""Workers reach the `ps` of their own machine over unix sockets, and over TCP when either side does not want them."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import TestCase, main, read  # noqa: E402

FLAGS = ["--num_ps=2", "--epochs=3", "--pace=10ms"]


class LocalSockets(TestCase):
    def over_unix_and_tcp(self, run, name):
        """Of the shards, how many the worker `name` calls over unix sockets, and how many over TCP."""
        found = run.wait_for_log(name, r"of 2 shards, (\d) are called over unix sockets, (\d) over TCP")
        return int(found.group(1)), int(found.group(2))

    def connections(self):
        """Connected abstract sockets of Leeway, by name. (A listening one is in state 01.)"""
        return re.findall(r"\b03 +\d+ @leeway-([0-9a-f]{16})\b", read("/proc/net/unix"))

    def test_both_ends_want_them(self):
        run = self.run_leeway(*FLAGS, "--epochs=1000")
        self.assertEqual(self.over_unix_and_tcp(run, "worker-0"), (2, 0))
        self.assertEqual(self.over_unix_and_tcp(run, "eval"), (2, 0))
        run.wait_until_training()
        # The weights and gradients really go there.
        self.assertGreaterEqual(len(set(self.connections())), 2, read("/proc/net/unix"))

    def test_the_worker_does_not(self):
        run = self.run_leeway(*FLAGS, "--local_sockets=false")
        self.assertEqual(self.over_unix_and_tcp(run, "worker-0"), (0, 2))
        run.finish()

    def test_the_ps_do_not(self):
        run = self.run_leeway(*FLAGS, "--ps_flags=--local_sockets=false")
        self.assertEqual(self.over_unix_and_tcp(run, "worker-0"), (0, 2))
        run.finish()


if __name__ == "__main__":
    main()
