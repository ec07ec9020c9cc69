#!/usr/bin/env -S python3 -B
"""Every overlay of deploy/k8s: what kustomize makes of it is what Kubernetes knows, strictly, and is consistent in
itself: selectors, ports, volumes, numbers, times, and what keeps it safe."""

import json
import os
import re
import subprocess
import sys
from copy import deepcopy

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

import manifests  # noqa: E402
from harness import PS, WORKER, TestCase, main  # noqa: E402
from manifests import OVERLAYS, find, flags_of, job_action, matches, pod_spec, workloads  # noqa: E402

VERSIONS = ("1.34", "1.35", "1.36", "1.37")  # those that Kubernetes maintains, and the newest
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def seconds(duration):
    """Of a flag's value, as 1m30s."""
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", duration))


def gibibytes(quantity):
    return float(quantity.removesuffix("Gi"))


class Manifests(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.objects = {}

    def of(self, overlay):
        if overlay not in self.objects:
            copy = manifests.copy_to(self.folder)
            self.objects[overlay] = manifests.render(os.path.join(copy, "overlays", overlay))
        return deepcopy(self.objects[overlay])

    def each(self):
        for overlay in OVERLAYS:
            yield overlay, self.of(overlay)

    def validate(self, objects, *versions):
        """The errors, a line each."""
        program, schema = "tests/deploy/validate.py", "tests/deploy/monitors.schema.json"
        command = [manifests.tool("python"), "-B", program, schema, *versions]
        done = subprocess.run(command, input=json.dumps(objects), capture_output=True, text=True, timeout=120)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_the_api_knows_every_field(self):
        every = [one for _, objects in self.each() for one in objects]
        self.assertGreater(len(every), 30)
        self.assertEqual(self.validate(every, *VERSIONS), "")

    def test_what_the_api_does_not_know_is_found(self):
        """The check above can fail: one object spoilt in one way each."""

        def spoil(kind, name, change):
            objects = self.of("production")
            change(find(objects, kind, name))
            return self.validate([find(objects, kind, name)], VERSIONS[-1])

        def container(one):
            return pod_spec(one)["containers"][0]

        spoilt = [
            ("StatefulSet", "leeway-ps", lambda one: one["spec"].update(replica=2), "replica"),
            ("StatefulSet", "leeway-ps", lambda one: one["spec"].update(replicas="2"), "'2' is not"),
            ("Job", "leeway-worker", lambda one: container(one).update(envs=[]), "envs"),
            ("Job", "leeway-worker", lambda one: container(one)["env"][0].update(value=True), "True is not"),
            ("PodDisruptionBudget", "leeway-ps", lambda one: one["spec"].update(selectors={}), "selectors"),
            ("NetworkPolicy", "leeway", lambda one: one.update(apiVersion="networking.k8s.io/v2"), "schema"),
            ("ServiceMonitor", "leeway-ps", lambda one: one["spec"]["endpoints"][0].update(ports="http"), "ports"),
        ]
        for kind, name, change, expected in spoilt:
            self.assertIn(expected, spoil(kind, name, change), f"{kind} {name}")

    def test_each_overlay_is_what_its_name_says(self):
        kinds = {kind for _, objects in self.each() for kind in (one["kind"] for one in objects)}
        self.assertGreaterEqual(
            kinds,
            {"StatefulSet", "Service", "Job", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor"},
        )
        gpu = pod_spec(find(self.of("gpu"), "Job", "leeway-worker"))["containers"][0]
        self.assertEqual(gpu["resources"]["limits"]["nvidia.com/gpu"], 1)
        self.assertIn({"name": "LEEWAY_DEVICE", "value": "cuda:0"}, gpu["env"])
        self.assertTrue(gpu["image"].startswith("leeway-cuda:"))
        for overlay, secure in (("cpu", 0), ("gpu", 0), ("tls", 1), ("volumes", 0), ("production", 1)):
            for workload in workloads(self.of(overlay)):
                one = pod_spec(workload)["containers"][0]
                names = {entry["name"] for entry in one["env"]}
                self.assertEqual("LEEWAY_INSECURE" in names, not secure, overlay)
                own = overlay == "volumes" and workload["kind"] == "StatefulSet"
                self.assertEqual({"name": "LEEWAY_CHECKPOINT_STORAGE", "value": "own"} in one["env"], own, overlay)
                for flag in ("CERT", "KEY", "CA"):
                    self.assertEqual(f"LEEWAY_TLS_{flag}_FILE" in names, bool(secure), overlay)
                schemes = {one[probe]["httpGet"].get("scheme", "HTTP") for probe in PROBES}
                self.assertEqual(schemes, {"HTTPS" if secure else "HTTP"}, overlay)

    def test_only_the_images_are_to_be_named(self):
        for overlay, objects in self.each():
            images = {one["image"] for workload in workloads(objects) for one in pod_spec(workload)["containers"]}
            expected = {"leeway:0.1.0"} | ({"leeway-cuda:0.1.0"} if overlay == "gpu" else set())
            self.assertEqual(images, expected)

    def test_names_and_ports_fit(self):
        for _, objects in self.each():
            pods = {}
            for workload in workloads(objects):
                labels = workload["spec"]["template"]["metadata"]["labels"]
                self.assertEqual(labels["app.kubernetes.io/name"], "leeway")
                pods[workload["metadata"]["name"]] = labels
                self.check_container(objects, workload)
            service = find(objects, "Service", "leeway-ps")["spec"]
            self.assertEqual(service["clusterIP"], "None")
            self.assertTrue(service["publishNotReadyAddresses"])
            self.assertEqual(find(objects, "StatefulSet", "leeway-ps")["spec"]["serviceName"], "leeway-ps")
            chosen = {"leeway-ps": [{"matchLabels": service["selector"]}], "leeway-worker": []}
            for one in objects:
                if one["kind"] == "PodDisruptionBudget":
                    chosen["leeway-ps"].append(one["spec"]["selector"])
                elif one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == "leeway-ps":
                    chosen["leeway-ps"].append(one["spec"]["podSelector"])
                elif one["kind"] == "PodMonitor":
                    chosen["leeway-worker"].append(one["spec"]["selector"])
            for name, selectors in chosen.items():
                for selector in selectors:
                    others = {"leeway-worker", "leeway-evaluator"} - {name} if name == "leeway-ps" else {"leeway-ps"}
                    self.assertTrue(matches(selector, pods[name]), selector)
                    self.assertFalse(any(matches(selector, pods[other]) for other in others), selector)

    def test_every_node_can_be_drained(self):
        """Who must be together, for the volume's sake, must be allowed to leave together."""
        for overlay, objects in self.each():
            ps = find(objects, "StatefulSet", "leeway-ps")
            (claim,) = (one["spec"] for one in objects if one["kind"] == "PersistentVolumeClaim")
            together = "podAffinity" in pod_spec(ps)["affinity"]
            shared = "volumeClaimTemplates" not in ps["spec"]
            self.assertEqual(shared, overlay != "volumes")
            self.assertEqual(together, shared and claim["accessModes"] == ["ReadWriteOnce"], overlay)
            evaluator = pod_spec(find(objects, "Job", "leeway-evaluator"))
            self.assertEqual("podAffinity" in evaluator.get("affinity", {}), together, overlay)
            budgets = [one["spec"] for one in objects if one["kind"] == "PodDisruptionBudget"]
            self.assertEqual([one["maxUnavailable"] for one in budgets], [] if together else [1], overlay)

    def test_the_network_lets_through_what_is_needed(self):
        """Ports by number, those of the pods that are meant."""
        for _, objects in self.each():
            ports = {}
            for workload in workloads(objects):
                (container,) = pod_spec(workload)["containers"]
                numbers = {port["name"]: port["containerPort"] for port in container["ports"]}
                ports[workload["metadata"]["name"]] = numbers
            grpc, http = ports["leeway-ps"]["grpc"], ports["leeway-ps"]["http"]
            self.assertEqual({one["http"] for one in ports.values()}, {http})
            policies = [one["spec"] for one in objects if one["kind"] == "NetworkPolicy"]
            said = {
                way: [{port["port"] for port in rule["ports"]} for policy in policies for rule in policy.get(way, [])]
                for way in ("ingress", "egress")
            }
            self.assertCountEqual(said["ingress"], [{grpc}, {http}, {http}])
            self.assertCountEqual(said["egress"], [{grpc}, {53, 5353}])

    def test_a_job_tries_again_what_can_go_better(self):
        """The exit codes of common/exit_code.h, and of a process that is killed."""
        count, index, job, ignore = "Count", "FailIndex", "FailJob", "Ignore"
        expected = {  # by exit code: of a worker, of the evaluator
            1: (index, job), 2: (count, count), 3: (index, count), 4: (job, job), 137: (count, count),
            143: (ignore, ignore),
        }  # fmt: skip
        for _, objects in self.each():
            for number, name in enumerate(("worker", "evaluator")):
                spec = find(objects, "Job", f"leeway-{name}")["spec"]
                for code, actions in expected.items():
                    self.assertEqual(job_action(spec, code), actions[number], f"{name}, {code}")
                self.assertEqual(job_action(spec, 137, {"DisruptionTarget"}), ignore, "evicted")
                for rule in spec["podFailurePolicy"]["rules"]:
                    self.assertEqual(rule.get("onExitCodes", {}).get("containerName", name), name)

    def check_container(self, objects, workload):
        pod = pod_spec(workload)
        (container,) = pod["containers"]
        ports = {port["name"] for port in container["ports"]}
        for probe in PROBES:
            self.assertIn(container[probe]["httpGet"]["port"], ports)
        for port in find(objects, "Service", "leeway-ps")["spec"]["ports"]:
            if container["name"] == "ps":
                self.assertIn(port["targetPort"], ports)
        claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
        volumes = [volume["name"] for volume in pod["volumes"]] + claims
        self.assertCountEqual(volumes, {mount["name"] for mount in container["volumeMounts"]})
        flags = find(objects, "ConfigMap", "leeway-flags")["data"]
        file = re.search(r"--flagfile=/etc/leeway/flags/(\S+)", " ".join(container["args"])).group(1)
        self.assertIn(file, flags)
        numbers = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
        self.assertEqual(flags_of(flags[file])["http_port"], numbers["http"])
        if "grpc" in numbers:
            self.assertTrue(flags_of(flags[file])["listen"].endswith(":" + numbers["grpc"]))
            self.assertIn(f"--advertise=$(POD_NAME).leeway-ps:{numbers['grpc']}", container["args"])
        variables = {entry["name"] for entry in container["env"]} | {"JOB_COMPLETION_INDEX"}
        self.assertLessEqual(set(re.findall(r"\$\((\w+)\)", " ".join(container["args"]))), variables)

    def test_numbers_and_times_fit(self):
        for _, objects in self.each():
            flags = {name: flags_of(text) for name, text in find(objects, "ConfigMap", "leeway-flags")["data"].items()}
            server = flags["ps.flags"]
            ps = find(objects, "StatefulSet", "leeway-ps")["spec"]
            worker = find(objects, "Job", "leeway-worker")["spec"]
            self.assertEqual(str(ps["replicas"]), server["num_shards"])
            self.assertEqual(worker["completions"], worker["parallelism"])
            self.assertEqual(str(worker["completions"]), server["num_workers"])
            self.assertEqual(server["num_evaluators"], "1")
            self.assertEqual(server["linger"], "inf")
            pod = ps["template"]["spec"]
            hook = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
            ends = int(hook[-1]) + seconds(server["drain_timeout"])
            self.assertGreaterEqual(pod["terminationGracePeriodSeconds"], ends + 10)
            memory = gibibytes(pod["containers"][0]["resources"]["limits"]["memory"])
            self.assertGreaterEqual(memory, int(server["max_held_bytes"]) / (1 << 30) + 1)
            for name in ("worker.flags", "evaluator.flags"):
                self.assertEqual(flags[name]["coordinator"], server["coordinator"])
                for flag in ("model", "data"):
                    self.assertEqual(flags[name][flag], flags["worker.flags"][flag])
                job = find(objects, "Job", f"leeway-{name.split('.')[0]}")["spec"]
                self.assertEqual(job_action(job, int(flags[name]["preempted_exit_code"])), "Ignore")

    def test_pods_may_do_little(self):
        for _, objects in self.each():
            for workload in workloads(objects):
                pod = pod_spec(workload)
                self.assertFalse(pod["automountServiceAccountToken"])
                self.assertFalse(pod["enableServiceLinks"])
                self.assertTrue(pod["securityContext"]["runAsNonRoot"])
                self.assertGreater(pod["securityContext"]["runAsUser"], 10000)
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for container in pod["containers"]:
                    context = container["securityContext"]
                    self.assertFalse(context["allowPrivilegeEscalation"])
                    self.assertTrue(context["readOnlyRootFilesystem"])
                    self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("memory", container["resources"]["limits"])
                    self.assertLessEqual({"cpu", "memory"}, set(container["resources"]["requests"]))
            resources = pod_spec(find(objects, "StatefulSet", "leeway-ps"))["containers"][0]["resources"]
            self.assertEqual(resources["requests"], resources["limits"], "guaranteed")

    def test_the_programs_know_the_flags(self):
        """A word that is no flag is what they complain about only when they have understood the flags."""
        for overlay, objects in self.each():
            for name, text in find(objects, "ConfigMap", "leeway-flags")["data"].items():
                path = os.path.join(self.folder, name)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                program = PS if name == "ps.flags" else WORKER
                child = self.start(f"{overlay}.{name}", program, f"--flagfile={path}", "surplus")
                self.assertEqual(child.wait(), 1)
                self.assertRegex(child.output(), "surplus.*flags")


if __name__ == "__main__":
    main()
