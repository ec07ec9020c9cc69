"""A Kubernetes cluster of one node, as far as Leeway's manifests need one: objects, controllers, a kubelet, DNS.

One thread: step() is called again and again.
"""

import os
import re
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
for folder in ("integration", "chaos"):
    sys.path.insert(0, os.path.join(HERE, "..", folder))

from controllers import Job, StatefulSet  # noqa: E402
from dns import NameServer  # noqa: E402
from kubelet import Node  # noqa: E402
from manifests import matches  # noqa: E402
from proof import ACKNOWLEDGED  # noqa: E402
from world import BRIDGE, run  # noqa: E402

POLL = 0.02
NAMESPACE = "training"
# What needs no one here: it is validated, and says what others may do.
PASSIVE = {
    "ConfigMap", "NetworkPolicy", "PersistentVolumeClaim", "PodDisruptionBudget", "PodMonitor", "PriorityClass",
    "Secret", "Service", "ServiceMonitor",
}  # fmt: skip


def make_bridge(case, address):
    """What the pods' links hang on; this machine has `address` there."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    case.addCleanup(run, "ip", "link", "del", BRIDGE)
    run("ip", "addr", "add", address + "/16", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


class Cluster:
    def __init__(self, case, keeper=None):
        self.case, self.keeper = case, keeper
        self.claims = {}
        self.node = Node(case, NAMESPACE, self.claims)
        make_bridge(case, self.node.gateway)
        self.names = {}  # what DNS answers; replaced as a whole, for its thread
        server = NameServer(self.node.gateway, lambda name: self.names.get(name))
        case.addCleanup(server.close)
        self.controllers = {}
        self.acknowledged = set()  # (shard, incarnation, step, chunk)
        self.log_ends = {}
        self.acknowledged_at = None
        self.pause = 0.0  # the longest time between two acknowledged pushes since begin_pause()

    def apply(self, objects):
        """As `kubectl apply` on an empty namespace; a ConfigMap may come again."""
        for one in objects:
            kind, name = one["kind"], one["metadata"]["name"]
            self.node.objects[kind, name] = one
            if kind == "PersistentVolumeClaim":
                self.claims[name] = os.path.join(self.case.folder, name)
                os.mkdir(self.claims[name])
            elif kind in ("StatefulSet", "Job"):
                make = StatefulSet if kind == "StatefulSet" else Job
                self.controllers[name] = make(self.node, one)
            else:
                self.case.assertIn(kind, PASSIVE, "a kind that this cluster does not know")

    def pods(self):
        return [pod for controller in self.controllers.values() for pod in controller.all_pods()]

    def update_dns(self):
        names = {}
        services = [one for (kind, _), one in self.node.objects.items() if kind == "Service"]
        for service in services:
            self.case.assertEqual(service["spec"]["clusterIP"], "None")
            domain = f"{service['metadata']['name']}.{self.node.domain}"
            for pod in self.pods():
                published = pod.ready_since or service["spec"].get("publishNotReadyAddresses", False)
                if pod.gone or not published or not matches({"matchLabels": service["spec"]["selector"]}, pod.labels):
                    continue
                names.setdefault(domain, []).append(pod.address)
                if pod.hostname:
                    names[f"{pod.hostname}.{self.node.domain}"] = [pod.address]
        self.names = names

    def step(self):
        for controller in self.controllers.values():
            controller.step()
        self.update_dns()
        if self.keeper:
            self.keeper.look()
        for pod in self.pods():
            self.read_log(pod)
        time.sleep(POLL)

    def step_until(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"waited {seconds} s for {what}")
            self.step()

    def read_log(self, pod):
        for child in pod.runs[-1:]:
            with open(child.stderr_path, "rb") as file:
                file.seek(self.log_ends.get(child.stderr_path, 0))
                text = file.read()
            text = text[: text.rfind(b"\n") + 1]
            self.log_ends[child.stderr_path] = self.log_ends.get(child.stderr_path, 0) + len(text)
            for verdict, incarnation, step, shard, chunk in ACKNOWLEDGED.findall(text):
                if verdict in (b"APPLIED", b"HELD"):
                    self.acknowledged.add((int(shard), incarnation.decode(), int(step), int(chunk)))
                    now = time.monotonic()
                    self.pause = max(self.pause, now - (self.acknowledged_at or now))
                    self.acknowledged_at = now

    def begin_pause(self):
        self.pause, self.acknowledged_at = 0.0, time.monotonic()

    def logged(self, controller, pattern):
        return [match for pod in self.controllers[controller].all_pods() for match in re.findall(pattern, pod.log())]

    def fail(self, why):
        self.case.fail(f"{why}\n{self.everything()}")

    def everything(self):
        """What a failed test shows: what happened, and the ends of the logs."""
        text = "\n".join(self.node.story)
        for pod in self.pods():
            for child in pod.runs[-2:]:
                lines = [line for line in child.output().splitlines() if "acknowledged:" not in line]
                text += "\n".join([f"\n--- {child.name}", *lines[-25:]])
        return text
