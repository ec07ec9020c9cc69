#!/usr/bin/env -S python3 -B
"""The manifests, carried out: pods made of the rendered YAML train, are rolled, deleted and scaled, and come to an end.

Each pod has its own network, name and read-only root; its container's command line, environment, volumes, probes,
preStop hook and signals are those of the manifest. Nothing that a worker was told is applied may be lost: the journals
say what was (tests/chaos/proof.py).
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from deployed import LIMIT, RECORDS, Deployed, manifests, proof, world  # noqa: E402  (first: it says where others are)
from harness import main, weights  # noqa: E402

PAUSE = 10  # seconds without training that a pod's restart may cost
PREEMPTED = 143


class Rollout(Deployed):
    workers, more_workers = 2, 3

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
        self.lose_a_worker(PREEMPTED, lambda pod: pod.delete())

    def lose_a_worker(self, code, lose):
        """The Job makes a new pod under the same name, and that counts as no failure."""
        lost = self.worker.pods[0]
        lose(lost)
        again = lambda: self.worker.pods.get(0) not in (None, lost) and self.trains(self.worker.pods[0])  # noqa: E731
        self.cluster.step_until(again, LIMIT, "another pod for index 0 that trains")
        self.assertEqual(lost.ended, code, self.cluster.everything())
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
            file.write(text.replace(self.pace + "\n", ""))
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
        self.until_servers_stay("the run is finished")
        former = {0: self.ps.pods[0]}
        former[0].delete()
        self.until_ready(former)
        self.assertRegex(self.ps.pods[0].log(), "the coordinator is back: .* FINISHED", self.cluster.everything())
        self.assert_nobody_crashed()
        self.ps.spec["replicas"] = 0
        self.cluster.step_until(lambda: not self.ps.pods, LIMIT, "the pods to go")
        self.assertEqual({pod.ended for pod in self.ps.former}, {0}, self.cluster.everything())
        self.assertEqual(self.cluster.node.over_grace, [], self.cluster.everything())

    def test_from_apply_to_the_end(self):
        self.start_cluster()
        self.until_training()
        self.roll_pods()
        self.delete_a_worker()
        self.scale_workers()
        self.let_it_end()
        self.prove()
        self.end_servers()
        print("\n".join(self.cluster.story), flush=True)


if __name__ == "__main__":
    world.enter()
    main()
