"""A Kubernetes cluster of one node, as far as Leeway's manifests need one: objects, controllers, a kubelet, DNS.

One thread (stepped.py).
"""

import os
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
for folder in ("integration", "chaos"):
    sys.path.insert(0, os.path.join(HERE, "..", folder))

from controllers import Job, StatefulSet  # noqa: E402
from dns import NameServer  # noqa: E402
from kubelet import Node  # noqa: E402
from manifests import matches  # noqa: E402
from stepped import POLL, Stepped  # noqa: E402
from world import BRIDGE, run  # noqa: E402

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


class Cluster(Stepped):
    def __init__(self, case, keeper=None):
        super().__init__(case, keeper)
        self.claims = {}
        self.node = Node(case, NAMESPACE, self.claims, self.say)
        make_bridge(case, self.node.gateway)
        self.names = {}  # what DNS answers; replaced as a whole, for its thread
        server = NameServer(self.node.gateway, lambda name: self.names.get(name))
        case.addCleanup(server.close)
        self.controllers = {}

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
        self.look()
        time.sleep(POLL)

    def processes(self):
        return [pod.runs for pod in self.pods()]
