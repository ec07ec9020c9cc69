"""A cluster made of an overlay of deploy/k8s, which a test looks at and does things to."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from cluster import Cluster  # noqa: E402  (first: it says where the others are)
import manifests  # noqa: E402
import proof  # noqa: E402
import world  # noqa: E402
from harness import TestCase  # noqa: E402

RECORDS = 2000
BATCH = 50
LIMIT = 120  # seconds for anything


class Deployed(TestCase):
    overlay = "cpu"
    epochs = 20
    ps_flags = ()  # further ones
    pace = "--pace=200ms"  # of the workers
    # Nobody waits here for as long as in the manifests: before the next pod is rolled, and before one drains.
    quick = True

    def setUp(self):
        super().setUp()
        if not world.apart():
            self.skipTest("no namespaces here: pods cannot have networks of their own")

    def make_overlay(self):
        """An overlay as docs/kubernetes.md tells to make one's own: other flags and numbers, nothing else."""
        copy = manifests.copy_to(self.folder)
        mine = os.path.join(copy, "overlays", "mine")
        os.mkdir(mine)
        data = ["--model=mlp:16", f"--data=synthetic:{RECORDS}"]
        flags = {
            "ps.flags": [
                f"--epochs={self.epochs}", "--staleness_bound=8", "--checkpoint_interval=5s", *self.ps_flags,
            ],
            "worker.flags": [*data, f"--batch={BATCH}", "--log_level=debug", self.pace],
            "evaluator.flags": data,
        }  # fmt: skip
        for name, lines in flags.items():
            with open(os.path.join(copy, "base", "flags", name), encoding="utf-8") as file:
                text = file.read()
            with open(os.path.join(mine, name), "w", encoding="utf-8") as file:
                file.write(text + "\n".join(lines) + "\n")
        with open(os.path.join(mine, "kustomization.yaml"), "w", encoding="utf-8") as file:
            file.write(f"resources: [../{self.overlay}]\n")
            file.write("configMapGenerator:\n  - name: leeway-flags\n    behavior: merge\n")
            file.write("    files: [ps.flags, worker.flags, evaluator.flags]\n")
            if self.quick:
                hook = "/spec/template/spec/containers/0/lifecycle/preStop/exec/command/1"
                file.write("patches:\n  - target: {kind: StatefulSet}\n    patch: |\n")
                for path, value in (("/spec/minReadySeconds", 1), (hook, '"0.5"')):
                    file.write(f"      - {{op: replace, path: {path}, value: {value}}}\n")
        return mine

    def secrets(self):
        """What a user makes before anything else."""
        return []

    def state(self, checkpoint_dir):
        """Where the journals and the coordinator's states are, of which a pod knows `checkpoint_dir`."""
        return checkpoint_dir.replace("/var/lib/leeway", self.claim)

    def start_cluster(self):
        self.mine = self.make_overlay()
        objects = manifests.render(self.mine)
        self.claim = os.path.join(self.folder, "leeway-state")
        flags = manifests.flags_of(manifests.find(objects, "ConfigMap", "leeway-flags")["data"]["ps.flags"])
        self.keeper = proof.Keeper(self.state(flags["checkpoint_dir"]), os.path.join(self.folder, "kept"))
        self.cluster = Cluster(self, self.keeper)
        self.cluster.apply(self.secrets() + objects)
        self.ps, self.worker, self.evaluator = (
            self.cluster.controllers[name] for name in ("leeway-ps", "leeway-worker", "leeway-evaluator")
        )

    def until_servers_stay(self, why):
        """`why`: a regular expression."""
        stay = lambda pod: re.search(f"{why}; it stays until it is told to go", pod.log())  # noqa: E731
        self.cluster.step_until(lambda: all(map(stay, self.ps.pods.values())), LIMIT, "all `ps` to stay")

    def until_ready(self, former):
        """Until in the place of each of these pods there is another one, which is ready."""
        pods = self.ps.pods

        def back():
            return all(pods.get(index) not in (None, pod) and pods[index].ready_since for index, pod in former.items())

        self.cluster.step_until(back, LIMIT, "`ps` to be back")

    def assert_nobody_crashed(self):
        self.assertEqual([pod.restarts for pod in self.cluster.pods()], [0] * len(self.cluster.pods()))
