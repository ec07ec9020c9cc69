#!/usr/bin/env python3
"""Addresses of all kinds on real processes: IPv6, every address of the machine, names, what cannot be reached."""

import os
import re
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import free_port  # noqa: E402
from harness import PS, WORKER, TestCase, main  # noqa: E402


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


HAS_IPV6 = has_ipv6()


class Network(TestCase):
    def start_ps(self, index, listen, *flags):
        policy = ["--num_workers=1", "--steps=40", "--linger=0s"] if index == 0 else []
        where = [f"--shard_index={index}", "--num_shards=2", f"--listen={listen}", "--local_sockets=false"]
        return self.start(f"ps-{index}", PS, *where, *policy, *flags)

    def start_worker(self, coordinator, *flags):
        data = ["--model=softmax", "--data=synthetic:500", "--batch=20", "--local_sockets=false"]
        return self.start("worker", WORKER, f"--coordinator={coordinator}", "--name=w0", *data, *flags)

    def trains(self, listens, advertises, coordinator, worker_coordinator=None, *ps_flags):
        """A run of two shards that listen and are named as told ends well; what they said."""
        flags = [[f"--advertise={address}", *ps_flags] if address else [] for address in advertises]
        children = [self.start_ps(0, listens[0], *flags[0])]
        children.append(self.start_ps(1, listens[1], f"--coordinator={coordinator}", *flags[1]))
        children.append(self.start_worker(worker_coordinator or coordinator))
        for child in children:
            self.assertEqual(child.wait(), 0, "".join(c.output() for c in children))
        return [child.output() for child in children]

    def test_ipv6_addresses_in_brackets(self):
        if not HAS_IPV6:
            self.skipTest("this machine has no ::1")
        port = free_port()
        said = self.trains([f"[::1]:{port}", "[::1]:0"], ["", ""], f"[::1]:{port}")
        self.assertIn(f"serves at [::1]:{port}", said[0])
        self.assertRegex(said[1], r"serves at \[::1\]:\d+")

    def test_every_address_of_both_families(self):
        """[::] and 0.0.0.0 both serve IPv4 and IPv6: each end is reached over the other family than it is named by."""
        port = free_port()
        first, second = ("[::]", "0.0.0.0") if HAS_IPV6 else ("0.0.0.0", "0.0.0.0")
        v6 = "[::1]" if HAS_IPV6 else "127.0.0.1"
        advertised = [f"127.0.0.1:{port}", f"{v6}:0"]
        listens = [f"{first}:{port}", f"{second}:0"]
        said = self.trains(listens, advertised, f"{v6}:{port}", f"127.0.0.1:{port}", "--insecure")
        self.assertIn(f"serves at 127.0.0.1:{port}", said[0])
        self.assertRegex(said[1], re.escape(f"serves at {v6}:") + r"\d+")

    def test_a_name_is_resolved(self):
        port = free_port()
        self.trains([f"localhost:{port}", "localhost:0"], ["", ""], f"localhost:{port}")

    def test_addresses_that_cannot_be_meant(self):
        for flags, words in [
            (["--listen=::1:7100"], "--listen=::1:7100: allowed: host:port or [IPv6 address]:port"),
            (["--listen=[::1]"], "--listen=[::1]: allowed: host:port or [IPv6 address]:port"),
            (["--listen=[::]:0"], "--listen=[::]:0: allowed: every address of the machine only with --advertise"),
            (["--listen=0.0.0.0:0"], "--listen=0.0.0.0:0: allowed: every address of the machine only with --advertise"),
            (["--listen=127.0.0.1:0", "--advertise=[::]:1"], "--advertise=[::]:1: allowed: host:port"),
            (["--listen=127.0.0.1:0", "--advertise=fd00::1:7100"], "--advertise=fd00::1:7100: allowed: host:port"),
            (["--shard_index=1", "--num_shards=2", "--coordinator=::1:7100"], "--coordinator=::1:7100: allowed"),
        ]:
            child = self.start("ps", PS, *flags)
            self.assertEqual(child.wait(), 1, flags)
            self.assertIn(words, child.stderr())
            self.assertEqual(child.stderr().strip().count("\n"), 0, child.stderr())
            os.unlink(child.stderr_path)
        child = self.start("worker", WORKER, "--coordinator=::1:7100", "--data=synthetic:10")
        self.assertEqual(child.wait(), 1)
        self.assertIn("--coordinator=::1:7100: allowed: host:port or [IPv6 address]:port", child.stderr())


if __name__ == "__main__":
    main()
