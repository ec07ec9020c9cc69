"""Where the processes of a chaos test live: each on a network of its own, their files on a disk that can become full.

enter() puts the test into namespaces of its own, as root or as a user who may make them. Whatever is set up there is
gone with the test. Where the machine does not allow that, every process is on loopback, and nothing is cut or filled.
"""

import json
import os
import shutil
import subprocess
import sys

INSIDE = "LEEWAY_TEST_CHAOS_INSIDE"
BRIDGE = "leeway0"
DISK = 8 << 30


def enter():
    """Starts this program again in namespaces of its own, where that is allowed."""
    if INSIDE in os.environ:
        return
    flags = ["--net", "--mount"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    tools = all(shutil.which(tool) for tool in ("unshare", "nsenter", "ip", "mount"))
    trial = "ip link add leeway0 type bridge && mount -t tmpfs tmpfs /tmp"
    if not tools or subprocess.run(["unshare", *flags, "sh", "-c", trial], capture_output=True).returncode != 0:
        print("no namespaces here (unshare, ip, mount): everything is on loopback, no link is cut, no disk filled")
        os.environ[INSIDE] = ""
        return
    os.environ[INSIDE] = "1"
    sys.stdout.flush()
    os.execvp("unshare", ["unshare", *flags, sys.executable, "-B", *sys.argv])


def apart():
    """Whether links can be cut and the disk filled."""
    return bool(os.environ[INSIDE])


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}: {done.stderr.strip()}")


class World:
    def __init__(self, case, names, links=True, quality=None):
        """`names`: of the processes. `case` starts what holds their namespaces, and ends it. `links`: False leaves all
        on loopback, and the files in the test's folder. `quality`: what the network between them is like
        (wide_area.Quality, as a dict); None: as good as this machine's."""
        self.names = names
        self.disk = os.path.join(case.folder, "disk")
        os.mkdir(self.disk)
        self.holders = {}
        if not apart():
            return
        run("ip", "link", "set", "lo", "up")
        if not links:
            return
        run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", self.disk)
        case.addCleanup(subprocess.run, ["umount", "--lazy", self.disk])
        # Of the world before: the kernel takes its time to remove what belonged to namespaces that are gone.
        for link in (BRIDGE, *names):
            subprocess.run(["ip", "link", "del", link], capture_output=True)
        for name in names:
            holder = case.start(f"network.{name}", "unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity")
            holder.wait_for("ready")
            self.holders[name] = holder
            run(*self.inside(name), "ip", "link", "set", "lo", "up")
        if quality is None:
            self.bridge()
        else:
            self.wide_area(case, quality)

    def bridge(self):
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "up")
        for name, holder in self.holders.items():
            run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
            run("ip", "link", "set", name, "master", BRIDGE, "up")
            for words in (["addr", "add", self.address(name) + "/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
                run(*self.inside(name), "ip", *words)

    def wide_area(self, case, quality):
        sites = [f"{holder.pid}={self.address(name)}" for name, holder in self.holders.items()]
        relay = os.path.join(os.path.dirname(os.path.realpath(__file__)), "wide_area.py")
        case.start("wide_area", sys.executable, "-B", relay, json.dumps(quality), *sites).wait_for("ready")

    def address(self, name):
        return f"10.77.0.{10 + self.names.index(name)}" if self.holders else "127.0.0.1"

    def inside(self, name):
        """What to put before the command of the process `name`."""
        return ["nsenter", f"--net=/proc/{self.holders[name].pid}/ns/net"] if self.holders else []

    def cut(self, name, on):
        """What is sent on its link is lost, without a word to anybody."""
        run("ip", "link", "set", name, *(["nomaster"] if on else ["master", BRIDGE]))

    def fill(self, on):
        for attempt in range(50):
            used = os.statvfs(self.disk)
            size = (used.f_blocks - used.f_bfree) * used.f_frsize + (4096 << min(attempt, 8)) if on else DISK
            # (With its type and source, or mount adds options that a user may not give.)
            command = ["mount", "-i", "-t", "tmpfs", "-o", f"remount,size={size}", "tmpfs", self.disk]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                return
        raise RuntimeError(done.stderr)  # it was not written to so fast 50 times
