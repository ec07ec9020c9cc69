#!/usr/bin/env -S python3 -B
"""The manifests, carried out: pods made of the rendered YAML train, are rolled, deleted and scaled, and come to an end.

Each pod has its own network, name and read-only root; its container's command line, environment, volumes, probes,
preStop hook and signals are those of the manifest. Nothing that a worker was told is applied may be lost: the journals
say what was (tests/chaos/proof.py).
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from cluster import Cluster  # noqa: E402  (first: it says where the others are)
import manifests  # noqa: E402
import proof  # noqa: E402
import world  # noqa: E402
from harness import TestCase, main, weights  # noqa: E402

RECORDS = 2000
BATCH = 50
LIMIT = 120  # seconds for anything
PAUSE = 10  # seconds without training that a pod's restart may cost
PREEMPTED = 143


class Rollout(TestCase):
    overlay = "cpu"
    epochs = 20
    workers, more_workers = 2, 3
    quick = True  # pods need not prove themselves for as long as in the manifest before the next one is rolled

    def make_overlay(self):
        """An overlay as docs/kubernetes.md tells to make one's own: other flags and numbers, nothing else."""
        copy = manifests.copy_to(self.folder)
        mine = os.path.join(copy, "overlays", "mine")
        os.mkdir(mine)
        flags = {
            "ps.flags": [f"--epochs={self.epochs}", "--staleness_bound=8", "--checkpoint_interval=5s"],
            "worker.flags": [f"--data=synthetic:{RECORDS}", f"--batch={BATCH}", "--log_level=debug", "--pace=200ms"],
            "evaluator.flags": [f"--data=synthetic:{RECORDS}"],
        }
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
                file.write("patches:\n  - target: {kind: StatefulSet}\n")
                file.write('    patch: \'[{"op": "replace", "path": "/spec/minReadySeconds", "value": 1}]\'\n')
        return mine

    def secrets(self):
        """What a user makes before anything else."""
        return []

    def start_cluster(self):
        self.mine = self.make_overlay()
        objects = manifests.render(self.mine)
        claim = os.path.join(self.folder, "leeway-state")
        flags = manifests.flags_of(manifests.find(objects, "ConfigMap", "leeway-flags")["data"]["ps.flags"])
        self.checkpoints = flags["checkpoint_dir"].replace("/var/lib/leeway", claim)
        self.keeper = proof.Keeper(self.checkpoints, os.path.join(self.folder, "kept"))
        self.cluster = Cluster(self, self.keeper)
        self.cluster.apply(self.secrets() + objects)
        self.claim = claim
        self.ps, self.worker, self.evaluator = (
            self.cluster.controllers[name] for name in ("leeway-ps", "leeway-worker", "leeway-evaluator")
        )

    def until_training(self, count=20):
        before = len(self.cluster.acknowledged)
        self.cluster.step_until(lambda: len(self.cluster.acknowledged) > before + count, LIMIT, "training")

    def roll_pods(self):
        """Each pod comes back at another address, and training goes on meanwhile, with less than PAUSE of silence."""
        addresses = {ordinal: pod.address for ordinal, pod in self.ps.pods.items()}
        self.cluster.begin_pause()
        self.ps.roll()
        self.cluster.step_until(self.ps.rolled, LIMIT, "the pods to be rolled")
        self.until_training()
        pause = self.cluster.pause
        for ordinal, pod in self.ps.pods.items():
            self.assertNotEqual(pod.address, addresses[ordinal])
        ended = [pod.ended for pod in self.ps.former]
        self.assertEqual(ended, [0] * self.ps.spec["replicas"], self.cluster.everything())
        self.assertLess(pause, PAUSE, self.cluster.everything())
        print(f"{len(ended)} pods were rolled; at most {pause:.1f} s without an acknowledged push", flush=True)

    def delete_a_worker(self):
        """The Job makes a new pod under the same name, and that counts as no failure."""
        lost = self.worker.pods[0]
        lost.delete()
        again = lambda: self.worker.pods.get(0) not in (None, lost) and self.trains(self.worker.pods[0])  # noqa: E731
        self.cluster.step_until(again, LIMIT, "another pod for index 0 that trains")
        self.assertEqual(lost.ended, PREEMPTED, self.cluster.everything())
        self.assertEqual(self.worker.failures, {}, self.cluster.everything())

    @staticmethod
    def trains(pod):
        return "acknowledged: APPLIED" in pod.log()

    def scale_workers(self):
        self.worker.scale(self.more_workers)
        more = range(self.workers, self.more_workers)
        pods = self.worker.pods
        train = lambda: all(index in pods and self.trains(pods[index]) for index in more)  # noqa: E731
        self.cluster.step_until(train, LIMIT, "more workers that train")
        self.worker.scale(self.workers)
        self.cluster.step_until(lambda: len(self.worker.pods) == self.workers, LIMIT, "fewer workers")

    def let_it_end(self):
        """The pace is taken out of the flags, which pods get when they are made anew; then training ends by itself."""
        path = os.path.join(self.mine, "worker.flags")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("--pace=200ms\n", ""))
        self.cluster.apply([one for one in manifests.render(self.mine) if one["kind"] == "ConfigMap"])
        self.assertFalse(self.worker.over(), "training was over too soon\n" + self.cluster.everything())
        for pod in self.worker.pods.values():
            pod.delete()
        jobs = [self.worker, self.evaluator]
        self.cluster.step_until(lambda: all(job.over() for job in jobs), LIMIT, "the Jobs to end")
        for job in jobs:
            self.assertEqual(job.failed, {}, self.cluster.everything())
            self.assertTrue(job.complete())
            self.assertEqual(job.failures, {}, self.cluster.everything())
        self.assertEqual({pod.ended for pod in self.worker.pods.values()}, {0})

    def prove(self):
        final = os.path.join(self.claim, "final.safetensors")
        self.assertTrue(weights(os.path.join(self.claim, "best.safetensors")))
        try:
            found = proof.check_journal(self, self.keeper.kept, self.cluster.acknowledged, final)
            found |= proof.check_leases(self, self.keeper.kept, RECORDS, self.epochs)
        except AssertionError as error:
            self.cluster.fail(str(error)[:4000])
        print(found, flush=True)

    def end_servers(self):
        """They stay when training is over, also one that is made anew then; told to go, they end with 0."""
        pods = self.ps.pods
        says = "it stays until it is told to go"
        self.cluster.step_until(lambda: all(says in pod.log() for pod in pods.values()), LIMIT, "all `ps` to stay")
        first = pods[0]
        first.delete()
        back = lambda: pods.get(0) not in (None, first) and pods[0].ready_since  # noqa: E731
        self.cluster.step_until(back, LIMIT, "shard 0 to be back")
        self.assertRegex(pods[0].log(), "the coordinator is back: .* FINISHED", self.cluster.everything())
        self.assertEqual([pod.restarts for pod in self.cluster.pods()], [0] * len(self.cluster.pods()))
        self.ps.spec["replicas"] = 0
        self.cluster.step_until(lambda: not self.ps.pods, LIMIT, "the pods to go")
        self.assertEqual({pod.ended for pod in self.ps.former}, {0}, self.cluster.everything())
        self.assertEqual(self.cluster.node.over_grace, [], self.cluster.everything())

    def test_from_apply_to_the_end(self):
        if not world.apart():
            self.skipTest("no namespaces here: pods cannot have networks of their own")
        self.start_cluster()
        self.until_training()
        self.roll_pods()
        self.delete_a_worker()
        self.scale_workers()
        self.let_it_end()
        self.prove()
        self.end_servers()
        print("\n".join(self.cluster.node.story), flush=True)


if __name__ == "__main__":
    world.enter()
    main()
