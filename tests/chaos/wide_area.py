#!/usr/bin/env -S python3 -B
"""A network between sites, packet by packet: rate, delay, jitter, loss, duplicates, packets that overtake others.

    wide_area.py '{"delay": 0.02, "loss": 0.01}' PID=ADDRESS ...

Gives each network namespace (that of process PID) the device `wan0` with its ADDRESS (IPv4, all in one /24), says
"ready", and carries every packet between them until it is killed. What the network is like: Quality. For where the
kernel has no netem. Needs the right to make devices in these namespaces. Some 100,000 packets per second.
"""

import contextlib
import fcntl
import heapq
import ipaddress
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1500
QUEUE = 10000  # packets that wait to be read here: what is lost, Quality says
READS = 64  # packets of one site at once: none keeps the others waiting


@dataclass
class Quality:
    rate: float = 0  # bytes per second that a site sends, and that it receives; 0: no limit
    buffer: float = 0.1  # seconds of `rate` that a router holds back; what comes on top of that is lost
    delay: float = 0  # seconds, one way
    jitter: float = 0  # seconds: up to so much more, different for each packet, in order
    loss: float = 0  # share of packets
    duplicate: float = 0  # share of packets that arrive twice
    overtake: float = 0  # share of packets that arrive without `delay`, before those sent earlier


def open_device(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def possible():
    """Whether this process may make such devices where it is."""
    try:
        os.close(open_device("wan_trial"))
    except OSError:
        return False
    return True


class Site:
    def __init__(self, pid, address):
        self.address = ipaddress.ip_address(address).packed
        name = f"wan{pid}"
        self.device = open_device(name)
        subprocess.run(["ip", "link", "set", name, "netns", pid, "name", "wan0"], check=True)
        for words in (f"addr add {address}/24 dev wan0", f"link set wan0 mtu {MTU} txqueuelen {QUEUE} up"):
            subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *words.split()], check=True)
        self.free_at = [0.0, 0.0]  # when what it sends, and what it receives, has gone through
        self.newest = 0.0  # when the packet that was sent to it last arrives


class Network:
    def __init__(self, quality, sites):
        self.quality = quality
        self.sites = {site.address: site for site in sites}
        self.by_device = {site.device: site for site in sites}
        self.under_way = []  # heap of (when, number, site, packet)
        self.number = 0

    def through(self, site, way, when, size):
        """When a packet that comes to a site's own link at `when` has left it, or None if its router has no room."""
        if not self.quality.rate:
            return when
        if site.free_at[way] - when > self.quality.buffer:
            return None
        site.free_at[way] = max(when, site.free_at[way]) + size / self.quality.rate
        return site.free_at[way]

    def send(self, source, packet, now):
        # (What is no IPv4, or for nobody here, as the kernel's own multicast, is not counted.)
        target = self.sites.get(packet[16:20]) if packet[0] >> 4 == 4 else None
        if target is None:
            return
        quality, draw = self.quality, random.random
        when = self.through(source, 0, now, len(packet))
        if when is None or draw() < quality.loss:
            return
        overtakes = draw() < quality.overtake
        when += 0 if overtakes else quality.delay + quality.jitter * draw()
        when = self.through(target, 1, when, len(packet))
        if when is None:
            return
        if not overtakes:
            when = target.newest = max(when, target.newest)
        for _ in range(2 if draw() < quality.duplicate else 1):
            self.number += 1
            heapq.heappush(self.under_way, (when, self.number, target, packet))

    def deliver(self, now):
        while self.under_way and self.under_way[0][0] <= now:
            _, _, site, packet = heapq.heappop(self.under_way)
            with contextlib.suppress(OSError):  # its namespace is gone
                os.write(site.device, packet)

    def read(self, site):
        with contextlib.suppress(OSError):  # nothing more, or its namespace is gone
            for _ in range(READS):
                self.send(site, os.read(site.device, 65536), time.monotonic())

    def carry(self):
        poll = select.poll()
        for device in self.by_device:
            poll.register(device, select.POLLIN)
        while True:
            wait = self.under_way[0][0] - time.monotonic() if self.under_way else 1
            for device, _ in poll.poll(max(0, 1000 * wait)):
                self.read(self.by_device[device])
            self.deliver(time.monotonic())


def main():
    sites = [Site(*argument.split("=")) for argument in sys.argv[2:]]
    network = Network(Quality(**json.loads(sys.argv[1])), sites)
    print("ready", flush=True)
    network.carry()


if __name__ == "__main__":
    main()
