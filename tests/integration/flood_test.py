#!/usr/bin/env -S python3 -B
"""64 workers flood a `ps`, others do not read what they asked for: it keeps within the memory that it says it takes at
most, everybody gets on, and one that behaves is served all the while."""

import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import PS, TestCase, main, read  # noqa: E402

FLOOD = os.path.abspath("tests/integration/flood")
FLOODERS = 64
UNDER_WAY = 24  # chunks of 4 MiB of each flooder: 6 GiB in all
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}


class Flood(TestCase):
    def test_over_tcp(self):
        self.flood(pushes=5)

    def test_over_local_sockets(self):
        # Nothing holds refused chunks back but the speed of memory, which is where the time goes.
        self.flood("local", pushes=2)

    def flood(self, *carrier, pushes):
        """`pushes`, of two chunks, that each of them must get accepted."""
        port = os.path.join(self.folder, "port")
        flags = ["--listen=127.0.0.1:0", f"--port_file={port}", f"--num_workers={FLOODERS + 1}", "--staleness_bound=-1"]
        ps = self.start("ps", PS, *flags, "--lease=10m", f"--max_held_bytes={64 << 20}")
        self.wait_until(lambda: read(port).strip(), "the ps to serve", ps.everything)
        arguments = [read(port).strip(), 2 << 20, FLOODERS, UNDER_WAY, pushes, 100, *carrier]
        flood = self.start("flood", FLOOD, *map(str, arguments))
        self.assertEqual(flood.wait(), 0, flood.everything())
        self.assertIsNone(ps.process.poll(), ps.everything())
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", read(f"/proc/{ps.pid}/status")).group(1)) << 10
        said = re.search(r"at most ([\d.]+) (MiB|GiB) in all", ps.output())
        self.assertTrue(said, ps.everything())
        cap = float(said.group(1)) * UNITS[said.group(2)]
        seen = json.loads(flood.stdout().splitlines()[-1])
        print(f"peak {peak >> 20} MiB, cap {cap / (1 << 20):.0f} MiB; {seen}")
        self.assertEqual(seen["failure"], "")
        self.assertGreaterEqual(seen["fewest"], pushes)
        self.assertGreaterEqual(seen["behaved"], pushes)
        self.assertGreater(seen["refused"], 0, "it was no flood")
        self.assertLess(seen["slowest_pull"], 20)  # the deadline of a call
        self.assertLess(peak, cap)
        # And the cap says something: all that the flood had under way would not have fitted in.
        self.assertLess(cap, FLOODERS * UNDER_WAY * (4 << 20) / 3)


if __name__ == "__main__":
    main()
