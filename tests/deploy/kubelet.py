"""What a kubelet does with a pod: its environment, volumes and command line, probes, restarts, and its end.

It knows the fields that the manifests use, and fails on any other, so that none is passed over in silence.
"""

import base64
import concurrent.futures
import http.client
import os
import re
import ssl
import subprocess
import time

from sandbox import Sandbox

POD_FIELDS = {
    "affinity", "automountServiceAccountToken", "containers", "enableServiceLinks", "priorityClassName",
    "restartPolicy", "securityContext", "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints",
    "volumes",
}  # fmt: skip
CONTAINER_FIELDS = {
    "args", "command", "env", "image", "lifecycle", "livenessProbe", "name", "ports", "readinessProbe", "resources",
    "securityContext", "startupProbe", "volumeMounts",
}  # fmt: skip
PROBE_FIELDS = {"httpGet", "exec", "periodSeconds", "timeoutSeconds", "failureThreshold", "initialDelaySeconds"}
BACK_OFF = 10  # seconds before the second restart, doubled by each further one
SIGKILL, SIGTERM = 9, 15


def only_known(case, what, fields, known):
    case.assertEqual(set(fields) - known, set(), f"{what}: this kubelet does not know")


class Probe:
    """One of a container's probes: how often it has gone well or not in a row."""

    def __init__(self, pod, kind):
        self.pod, self.kind = pod, kind
        self.spec = pod.container.get(kind)
        if self.spec:
            only_known(pod.case, kind, self.spec, PROBE_FIELDS)
        self.reset()

    def reset(self):
        self.begun = time.monotonic()
        self.next = self.begun + (self.spec or {}).get("initialDelaySeconds", 0)
        self.failures, self.good, self.flying = 0, None, None

    def step(self):
        """Tries it when it is time. True: it has failed so often that something has to be done."""
        if self.flying is not None:
            if not self.flying.done():
                return False
            ok, self.last = self.flying.result()
            self.flying = None
            self.failures = 0 if ok else self.failures + 1
            if ok or self.failures >= self.spec.get("failureThreshold", 3):
                self.good = ok
            return not ok and self.failures >= self.spec.get("failureThreshold", 3)
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + self.spec.get("periodSeconds", 10)
            self.flying = self.pod.node.probers.submit(self.attempt)
        return False

    def attempt(self):
        timeout = self.spec.get("timeoutSeconds", 1)
        if "exec" in self.spec:
            return self.pod.execute(self.spec["exec"]["command"], timeout)
        return self.get(self.spec["httpGet"], timeout)

    def get(self, spec, timeout):
        """From the node, as a kubelet does: it believes any certificate, and has none itself."""
        port = self.pod.port(spec["port"])
        if spec.get("scheme") == "HTTPS":
            anything = ssl._create_unverified_context()  # noqa: S323
            connection = http.client.HTTPSConnection(self.pod.address, port, timeout=timeout, context=anything)
        else:
            connection = http.client.HTTPConnection(self.pod.address, port, timeout=timeout)
        try:
            connection.request("GET", spec["path"], headers={"User-Agent": "kube-probe/1.37"})
            response = connection.getresponse()
            return 200 <= response.status < 400, f"{response.status} {response.read(200)}"
        except (OSError, http.client.HTTPException) as error:
            return False, repr(error)
        finally:
            connection.close()


class Pod:
    def __init__(self, node, name, template, labels, annotations, environment=()):
        """`environment`: what a controller adds to the container's."""
        self.node, self.case, self.name = node, node.case, name
        self.labels = {**template["metadata"].get("labels", {}), **labels}
        self.annotations = {**template["metadata"].get("annotations", {}), **annotations}
        self.spec = template["spec"]
        only_known(self.case, name, self.spec, POD_FIELDS)
        self.case.assertEqual(len(self.spec["containers"]), 1)
        self.container = self.spec["containers"][0]
        only_known(self.case, name, self.container, CONTAINER_FIELDS)
        self.security = {**self.spec.get("securityContext", {}), **self.container.get("securityContext", {})}
        self.restarts, self.runs = 0, []
        self.ended = None  # the exit code, when it will not be started again
        self.conditions = set()
        self.deleting = None  # (when it was told, the preStop hook)
        self.terminated_at = None
        self.gone = False
        self.ready_since = None
        self.serial = node.next_serial()
        self.address = node.address(self.serial)
        self.environment = self.make_environment(environment)
        mounts = [self.mount(one) for one in self.container.get("volumeMounts", [])]
        read_only = self.security["readOnlyRootFilesystem"]
        self.sandbox = Sandbox(
            self.case, name, self.serial, self.address, node.gateway, node.search, mounts, read_only
        )  # fmt: skip
        self.probes = {kind: Probe(self, kind) for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
        self.start_at = time.monotonic()

    # What the container gets.

    def make_environment(self, more):
        values = {}
        for entry in self.container.get("env", []):
            values[entry["name"]] = self.value_of(entry, values)
        values.update(more)
        return values

    def value_of(self, entry, values):
        if "valueFrom" not in entry:
            return self.expand(entry["value"], values)
        path = entry["valueFrom"]["fieldRef"]["fieldPath"]
        indexed = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
        if indexed:
            return getattr(self, indexed.group(1))[indexed.group(2)]
        return {"metadata.name": self.name, "status.podIP": self.address}[path]

    @staticmethod
    def expand(text, values):
        """$(NAME) of a variable that is known; any other stays as it is."""
        return re.sub(r"\$\((\w+)\)", lambda match: values.get(match.group(1), match.group(0)), text)

    def mount(self, mount):
        only_known(self.case, self.name, mount, {"name", "mountPath", "readOnly"})
        volume = [one for one in self.spec["volumes"] if one["name"] == mount["name"]][0]
        folder, read_only = self.node.volume(self, volume)
        return mount["mountPath"], folder, read_only or mount.get("readOnly", False)

    def command(self):
        words = self.container["command"] + self.container.get("args", [])
        return [self.expand(word, self.environment) for word in words]

    def user(self):
        further = [self.security["fsGroup"]] if "fsGroup" in self.security else []
        return self.security["runAsUser"], self.security["runAsGroup"], further

    def port(self, port):
        named = {one["name"]: one["containerPort"] for one in self.container["ports"]}
        return named.get(port, port)

    # Its life.

    def step(self):
        if self.gone:
            return
        if self.deleting:
            self.step_deletion()
        elif self.ended is None:
            self.step_container()

    def running(self):
        return bool(self.runs) and self.runs[-1].process.poll() is None

    def step_container(self):
        if not self.runs or (not self.running() and self.start_at is not None):
            if time.monotonic() >= self.start_at:
                self.start()
            return
        if not self.running():
            self.on_exit(self.runs[-1].process.returncode)
            return
        if self.probes["startupProbe"].spec and not self.probes["startupProbe"].good:
            if self.probes["startupProbe"].step():
                self.kill_unhealthy("startupProbe")
            return
        if self.probes["livenessProbe"].spec and self.probes["livenessProbe"].step():
            self.kill_unhealthy("livenessProbe")
        readiness = self.probes["readinessProbe"]
        if readiness.spec:
            readiness.step()
        self.set_ready(readiness.good if readiness.spec else True)

    def start(self):
        self.start_at = None
        for probe in self.probes.values():
            probe.reset()
        command = self.sandbox.inside(self.case, self.environment, self.user(), self.command())
        self.runs.append(self.case.start(f"{self.serial}-{self.name}.{len(self.runs) + 1}", *command))
        self.node.say(f"{self.name} starts at {self.address}")

    def on_exit(self, code):
        self.set_ready(False)
        self.node.say(f"{self.name} ends with {code}")
        if self.spec.get("restartPolicy", "Always") == "Never":
            self.ended = code if code >= 0 else 128 - code
            self.terminated_at = time.monotonic()
            return
        wait = 0 if self.restarts == 0 else BACK_OFF << min(self.restarts - 1, 5)
        self.restarts += 1
        self.start_at = time.monotonic() + wait

    def kill_unhealthy(self, kind):
        # (A kubelet asks first, by SIGTERM; nobody counts on that here.)
        self.node.say(f"{self.name}: {kind} has failed: {self.probes[kind].last}")
        self.runs[-1].kill(SIGKILL)
        self.runs[-1].process.wait()

    def set_ready(self, ready):
        if ready and self.ready_since is None:
            self.ready_since = time.monotonic()
            self.node.say(f"{self.name} is ready")
        if not ready:
            if self.ready_since is not None:
                self.node.say(f"{self.name} is not ready: {getattr(self.probes['readinessProbe'], 'last', '')}")
            self.ready_since = None

    def delete(self):
        """As `kubectl delete pod`: it is told to go; step() sees to the rest."""
        if self.deleting or self.gone:
            return
        self.node.say(f"{self.name} is deleted")
        hook = self.container.get("lifecycle", {}).get("preStop")
        self.deleting = [time.monotonic(), None]
        if self.running() and hook:
            only_known(self.case, "preStop", hook, {"exec"})
            self.deleting[1] = self.node.probers.submit(self.execute, hook["exec"]["command"], 600)

    def evict(self):
        """As a kubelet whose node has run out of memory: at once, and with the condition that says why."""
        self.conditions.add("DisruptionTarget")
        self.node.say(f"{self.name} is evicted")
        self.runs[-1].kill(SIGKILL)

    def step_deletion(self):
        since, hook = self.deleting
        grace = self.spec.get("terminationGracePeriodSeconds", 30)
        self.set_ready(False)
        if self.ended is None and self.running():
            if time.monotonic() > since + grace:
                self.node.say(f"{self.name} has not ended within {grace} s")
                self.node.over_grace.append(self.name)
                self.runs[-1].kill(SIGKILL)
            elif hook is None or hook.done():
                if hook is not None:
                    self.case.assertTrue(hook.result()[0], f"preStop of {self.name}: {hook.result()[1]}")
                self.deleting[1] = None
                if not getattr(self.runs[-1], "told", False):
                    self.runs[-1].told = True
                    self.runs[-1].kill(SIGTERM)
            return
        if self.ended is None:
            self.ended = self.runs[-1].process.returncode if self.runs else SIGTERM + 128
            self.node.say(f"{self.name} ends with {self.ended}, as it was told")
        self.terminated_at = time.monotonic()
        self.sandbox.close()
        self.gone = True

    def execute(self, command, timeout):
        """Runs something in the container: whether it has gone well, and what it said."""
        inside = self.sandbox.inside(self.case, self.environment, self.user(), command)
        try:
            done = subprocess.run(inside, capture_output=True, text=True, timeout=timeout)
            return done.returncode == 0, f"{done.returncode} {done.stdout}{done.stderr}"
        except subprocess.TimeoutExpired:
            return False, f"longer than {timeout} s"

    def log(self):
        return "".join(run.stderr() for run in self.runs)


class Node:
    """The machine that all pods run on: addresses, volumes, threads for probes."""

    def __init__(self, case, namespace, claims, say):
        """`claims`: the folders of persistent volumes by name, to which more may be added. `say`: what is told of
        everything that happens."""
        self.case, self.claims, self.say = case, claims, say
        self.gateway = "10.78.0.1"
        domain = "svc.cluster.local"
        self.search = f"{namespace}.{domain} {domain} cluster.local"
        self.domain = f"{namespace}.{domain}"
        self.serial = 0
        self.objects = {}  # by (kind, name)
        self.over_grace = []
        self.probers = concurrent.futures.ThreadPoolExecutor(16)
        case.addCleanup(self.probers.shutdown)

    def next_serial(self):
        self.serial += 1
        return self.serial

    def address(self, serial):
        """Never given twice: a pod that is made again has another one."""
        return f"10.78.{1 + serial // 250}.{1 + serial % 250}"

    def volume(self, pod, volume):
        """The folder of a pod's volume, and whether it can only be read."""
        (kind,) = set(volume) - {"name"}
        if kind == "persistentVolumeClaim":
            folder = self.claims[volume[kind]["claimName"]]
            self.own(folder, pod)
            return folder, False
        if kind == "emptyDir":
            folder = os.path.join(self.case.folder, f"empty-{pod.serial}-{volume['name']}")
            os.mkdir(folder)
            self.own(folder, pod)
            return folder, False
        if kind == "configMap":
            data = self.objects["ConfigMap", volume[kind]["name"]]["data"]
            files = {key: text.encode() for key, text in data.items()}
        else:
            data = self.objects["Secret", volume["secret"]["secretName"]]["data"]
            files = {key: base64.b64decode(text) for key, text in data.items()}
        return self.projected(pod, volume["name"], files), True

    def projected(self, pod, name, files):
        folder = os.path.join(self.case.folder, f"files-{pod.serial}-{name}")
        os.mkdir(folder)
        for key, content in files.items():
            with open(os.path.join(folder, key), "wb") as file:
                file.write(content)
        self.own(folder, pod)
        return folder

    @staticmethod
    def own(folder, pod):
        """fsGroup: what is in the volume belongs to the pod's group."""
        group = pod.security.get("fsGroup", -1)
        try:
            os.chown(folder, -1, group)
            os.chmod(folder, 0o2775)
        except OSError:  # in a user namespace of one user, who is the owner
            pass
