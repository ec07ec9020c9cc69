"""What the controllers of StatefulSets and Jobs do: they make pods, replace them, and roll them.

Each knows the fields that the manifests use, and fails on any other. step() is called again and again.
"""

import copy
import os
import time

from kubelet import Pod, only_known
from manifests import job_action, matches

STATEFUL_SET_FIELDS = {
    "minReadySeconds", "podManagementPolicy", "replicas", "selector", "serviceName", "template", "updateStrategy",
    "volumeClaimTemplates",
}  # fmt: skip
JOB_FIELDS = {
    "backoffLimit", "backoffLimitPerIndex", "completionMode", "completions", "parallelism", "podFailurePolicy",
    "podReplacementPolicy", "template",
}  # fmt: skip
BACK_OFF = 10  # seconds before a failed pod of a Job is replaced, doubled by each further one


class StatefulSet:
    """With podManagementPolicy: Parallel."""

    def __init__(self, node, manifest):
        self.node, self.name, self.spec = node, manifest["metadata"]["name"], copy.deepcopy(manifest["spec"])
        only_known(node.case, self.name, self.spec, STATEFUL_SET_FIELDS)
        node.case.assertEqual(self.spec["podManagementPolicy"], "Parallel")
        node.case.assertEqual(self.spec["updateStrategy"], {"type": "RollingUpdate"})
        labels = self.spec["template"]["metadata"]["labels"]
        node.case.assertTrue(matches(self.spec["selector"], labels), f"{self.name}: its pods are not its own")
        self.revision = 1
        self.pods = {}  # by ordinal
        self.former = []

    def roll(self):
        """As `kubectl rollout restart`."""
        self.revision += 1

    def rolled(self):
        """All pods are of the newest template, and have been ready for a while: as `kubectl rollout status`."""
        replicas = range(self.spec["replicas"])
        return all(
            ordinal in self.pods and self.pods[ordinal].revision == self.revision and self.available(ordinal)
            for ordinal in replicas
        )

    def available(self, ordinal):
        since = self.pods[ordinal].ready_since
        return since is not None and time.monotonic() - since >= self.spec.get("minReadySeconds", 0)

    def step(self):
        for ordinal, pod in list(self.pods.items()):
            pod.step()
            if pod.gone:
                self.former.append(self.pods.pop(ordinal))
        for ordinal in range(self.spec["replicas"]):
            if ordinal not in self.pods:
                self.pods[ordinal] = self.make(ordinal)
        for ordinal in [one for one in self.pods if one >= self.spec["replicas"]]:
            self.pods[ordinal].delete()
        # From the highest on; the next one when everything is well again.
        for ordinal in sorted(self.pods, reverse=True):
            if self.pods[ordinal].revision != self.revision:
                if all(self.available(one) for one in self.pods):
                    self.pods[ordinal].delete()
                return

    def make(self, ordinal):
        name = f"{self.name}-{ordinal}"
        labels = {"apps.kubernetes.io/pod-index": str(ordinal), "statefulset.kubernetes.io/pod-name": name}
        pod = Pod(self.node, name, self.with_claims(name), labels, {})
        pod.hostname = f"{name}.{self.spec['serviceName']}"  # by which its Service knows it
        pod.revision = self.revision
        return pod

    def with_claims(self, name):
        """The pod's template, with its own claims, which outlive it."""
        template = copy.deepcopy(self.spec["template"])
        for claim in self.spec.get("volumeClaimTemplates", []):
            volume = claim["metadata"]["name"]
            claim_name = f"{volume}-{name}"
            if claim_name not in self.node.claims:
                self.node.claims[claim_name] = os.path.join(self.node.case.folder, claim_name)
                os.mkdir(self.node.claims[claim_name])
            entry = {"name": volume, "persistentVolumeClaim": {"claimName": claim_name}}
            template["spec"]["volumes"].append(entry)
        return template

    def all_pods(self):
        return self.former + list(self.pods.values())


class Job:
    """Indexed, or of one pod; with podReplacementPolicy: Failed."""

    def __init__(self, node, manifest):
        self.node, self.name, self.spec = node, manifest["metadata"]["name"], copy.deepcopy(manifest["spec"])
        only_known(node.case, self.name, self.spec, JOB_FIELDS)
        node.case.assertEqual(self.spec["podReplacementPolicy"], "Failed")
        node.case.assertEqual(self.spec["template"]["spec"]["restartPolicy"], "Never")
        self.indexed = self.spec.get("completionMode") == "Indexed"
        if not self.indexed:
            node.case.assertEqual((self.spec["completions"], self.spec["parallelism"]), (1, 1))
        self.limit = self.spec["backoffLimitPerIndex" if self.indexed else "backoffLimit"]
        self.pods = {}  # by index: the newest
        self.former = []
        self.failures = {}  # by index: those that count
        self.not_before = {}
        self.succeeded, self.failed = set(), {}  # indexes; why
        self.made = 0

    def scale(self, count):
        """As `kubectl patch`: an Indexed Job takes another number of completions with the same parallelism."""
        self.spec["completions"] = self.spec["parallelism"] = count

    def indexes(self):
        return range(self.spec["completions"])

    def complete(self):
        return all(index in self.succeeded for index in self.indexes())

    def over(self):
        return all(index in self.succeeded or index in self.failed for index in self.indexes())

    def step(self):
        for index, pod in list(self.pods.items()):
            pod.step()
            if pod.ended is not None and (pod.gone or not pod.deleting) and index not in self.succeeded:
                self.account(index, pod)
        for index in [one for one in self.pods if one >= self.spec["completions"]]:
            self.pods[index].delete()
            if self.pods[index].gone:
                self.former.append(self.pods.pop(index))
        for index in self.indexes():
            if index not in self.pods and index not in self.succeeded and index not in self.failed:
                if time.monotonic() >= self.not_before.get(index, 0):
                    self.pods[index] = self.make(index)

    def account(self, index, pod):
        """A pod has ended: its index is done, or has failed, or gets another one."""
        if pod.ended == 0:
            self.succeeded.add(index)
            return
        self.former.append(self.pods.pop(index))
        if index >= self.spec["completions"] or index in self.failed:
            return
        action = job_action(self.spec, pod.ended, pod.conditions)
        if action == "FailJob":
            for other in self.indexes():
                if other not in self.succeeded:
                    self.failed.setdefault(other, f"{pod.name} ended with {pod.ended}: FailJob")
            for other in self.pods.values():
                other.delete()
        elif action == "FailIndex":
            self.failed[index] = f"{pod.name} ended with {pod.ended}: FailIndex"
        elif action == "Count":
            count = self.failures[index] = self.failures.get(index, 0) + 1
            if count > self.limit:
                self.failed[index] = f"{pod.name} has failed {count} times"
            self.not_before[index] = time.monotonic() + (BACK_OFF << min(count - 1, 5))

    def make(self, index):
        self.made += 1
        name = f"{self.name}-{index}-{self.made:05d}" if self.indexed else f"{self.name}-{self.made:05d}"
        mark, environment = {}, {}
        if self.indexed:
            mark = {"batch.kubernetes.io/job-completion-index": str(index)}
            environment = {"JOB_COMPLETION_INDEX": str(index)}
        labels = {"batch.kubernetes.io/job-name": self.name, **mark}
        pod = Pod(self.node, name, self.spec["template"], labels, mark, environment)
        pod.hostname = None
        return pod

    def all_pods(self):
        return self.former + list(self.pods.values())
