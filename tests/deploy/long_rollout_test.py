#!/usr/bin/env -S python3 -B
"""rollout_test with nothing of the manifests shortened, the pods rolled and a worker deleted several times, the node
drained and a worker evicted; and the plain rollout once more with the overlay tls. Manual: some minutes."""

import base64
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from rollout_test import PAUSE, Rollout, main, world  # noqa: E402

TIMES = 3
KILLED = 137
MAKE_CERTS = os.path.abspath("deploy/tls/make_certs.sh")


class LongRollout(Rollout):
    epochs = 60
    more_workers = 6
    quick = False

    def roll_pods(self):
        for _ in range(TIMES):
            self.ps.former.clear()
            super().roll_pods()
        self.drain_the_node()

    def drain_the_node(self):
        """All pods with the volume are on one node, and leave it together; the others go on when they are back."""
        former = dict(self.ps.pods)
        self.cluster.begin_pause()
        for pod in [*former.values(), *self.evaluator.pods.values()]:
            pod.delete()
        self.until_ready(former)
        self.until_training()
        self.assertLess(self.cluster.pause, PAUSE, self.cluster.everything())
        print(f"all were drained at once; {self.cluster.pause:.1f} s without an acknowledged push", flush=True)

    def delete_a_worker(self):
        for _ in range(TIMES):
            super().delete_a_worker()
        self.lose_a_worker(KILLED, lambda pod: pod.evict())  # it is missed until its lease has run out


class TlsRollout(Rollout):
    overlay = "tls"

    def secrets(self):
        """As docs/kubernetes.md says."""
        certs = os.path.join(self.folder, "certs")
        subprocess.run([MAKE_CERTS, certs, "--num_ps=2", "--namespace=training"], check=True, capture_output=True)
        return [self.secret(f"leeway-{kind}-tls", os.path.join(certs, kind)) for kind in ("ps", "worker")]

    @staticmethod
    def secret(name, folder):
        """As `kubectl create secret generic NAME --from-file=FOLDER`."""
        data = {}
        for file in os.listdir(folder):
            with open(os.path.join(folder, file), "rb") as content:
                data[file] = base64.b64encode(content.read()).decode()
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


del Rollout  # it is the other test's

if __name__ == "__main__":
    world.enter()
    main()
