"""A pod's sandbox, as a container runtime makes it: a network namespace with an address of its own on the node's
bridge, a host name, the cluster's DNS, and a root file system of which only volumes can be written to.

Root is /usr of this machine with Leeway's programs in /opt/leeway/bin, as in the image. A container's process sees
nothing else; it runs as the manifest's user, without capabilities, where this test is root (in a user namespace there
is only one user). It is not process 1.
"""

import os
import subprocess

from harness import LEEWAY, MARK, PS, WORKER
from world import BRIDGE, run

BIN = "/opt/leeway/bin"
PROGRAMS = {f"{BIN}/ps": PS, f"{BIN}/worker": WORKER, f"{BIN}/leeway": LEEWAY}
NSSWITCH = "passwd: files\nhosts: files dns\n"


def shell_quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def whole_user_range():
    """Whether other users can be become: as root, but not in a user namespace of one user."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return file.read().split()[2] != "1"


class Sandbox:
    def __init__(self, case, name, serial, address, gateway, search, mounts, read_only):
        """`mounts`: (path in the pod, path here, read only)."""
        self.name, self.address = name, address
        self.link = f"pod{serial}"
        self.root = os.path.join(case.folder, "pods", f"{serial}-{name}")
        os.makedirs(self.root)
        script = self.setup_script(mounts, read_only, {
            "hosts": f"127.0.0.1 localhost\n{address} {name}\n",
            "resolv.conf": f"nameserver {gateway}\nsearch {search}\noptions ndots:5\n",
            "nsswitch.conf": NSSWITCH,
            "passwd": "root:x:0:0::/:/bin/false\nleeway:x:65532:65532::/:/bin/false\n",
        })  # fmt: skip
        command = ["unshare", "--net", "--mount", "--uts", "--propagation=private", "sh", "-ec", script]
        self.holder = case.start(f"sandbox.{serial}.{name}", *command)
        self.holder.wait_for("ready")
        subprocess.run(["ip", "link", "del", self.link], capture_output=True)  # of the test before
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        run("ip", "link", "set", self.link, "master", BRIDGE, "up")
        for words in (
            ["addr", "add", address + "/16", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
        ):
            run("nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "ip", *words)

    def setup_script(self, mounts, read_only, etc):
        root = shell_quote(self.root)
        lines = [f"R={root}", "mount -t tmpfs -o mode=755 tmpfs $R", "mkdir -p $R/usr $R/etc $R/proc $R/dev $R/sys"]
        lines += ["mount --rbind /usr $R/usr", "mount --rbind /proc $R/proc", "mount --rbind /dev $R/dev"]
        lines += [f"ln -s usr/{name} $R/{name}" for name in ("bin", "lib", "lib64", "sbin")]
        for name, text in etc.items():
            lines.append(f"printf %s {shell_quote(text)} > $R/etc/{name}")
        # What containers have of their own: programs are found by their path in the image.
        lines.append(f"mkdir -p $R{BIN}")
        for path, program in PROGRAMS.items():
            lines += [f"touch $R{path}", f"mount --bind {shell_quote(os.path.realpath(program))} $R{path}"]
        for path, source, ro in mounts:
            lines += [f"mkdir -p $R{path}", f"mount --bind {shell_quote(source)} $R{path}"]
            lines += [f"mount -o remount,bind,ro $R{path}"] if ro else []
        lines += ["mount -o remount,ro $R"] if read_only else []
        lines += [f"hostname {self.name}", "echo ready", "exec sleep infinity"]
        return "\n".join(lines)

    def inside(self, case, environment, user, command):
        """The command line that runs `command` in here. `user`: (uid, gid, further groups), or None."""
        enter = ["nsenter", f"--target={self.holder.pid}", "--net", "--mount", "--uts"]
        values = [f"{name}={value}" for name, value in environment.items()]
        drop = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        if user and whole_user_range():
            uid, gid, groups = user
            which = [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
            drop += [f"--reuid={uid}", f"--regid={gid}", *which]
        clean = ["env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin", f"{MARK}={case.mark}", *values]
        return [*enter, "/usr/sbin/chroot", self.root, *clean, *drop, *command]

    def close(self):
        """When nothing runs in it any more."""
        self.holder.kill()
        self.holder.process.wait()
        # The link goes with the namespace, but not at once.
        subprocess.run(["ip", "link", "del", self.link], capture_output=True)
