"""Renders the manifests of deploy/k8s as a user would: with `kubectl kustomize`, from an overlay of one's own."""

import os
import re
import shutil
import subprocess

import yaml

SOURCE = os.path.abspath("deploy/k8s")
VENV_PATH = os.path.abspath("../python_tools/venv_path")
OVERLAYS = ("cpu", "gpu", "tls", "volumes", "production")


def tool(name):
    """The path of a program of the tests' virtual environment."""
    with open(VENV_PATH, encoding="utf-8") as file:
        return os.path.join(file.readline().strip(), "bin", name)


def copy_to(folder):
    """A copy of deploy/k8s: kustomize follows no links out of a folder, and Bazel's files are links."""
    target = os.path.join(folder, "k8s")
    shutil.copytree(SOURCE, target, symlinks=False, dirs_exist_ok=True)
    return target


def render(folder):
    """The objects that a folder with a kustomization.yaml gives."""
    command = [tool("kubectl"), "kustomize", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}, {done.stderr}")
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]


def find(objects, kind, name):
    found = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} objects of kind {kind} and name {name}")
    return found[0]


def workloads(objects):
    """Whatever makes pods."""
    return [one for one in objects if one["kind"] in ("StatefulSet", "Job", "Deployment")]


def pod_spec(workload):
    return workload["spec"]["template"]["spec"]


def flags_of(text):
    """The flags of a flag file, by name; the last one wins."""
    return dict(re.findall(r"^--(\w+)=(.*)$", text, re.MULTILINE))


def matches(selector, labels):
    """Whether a label selector chooses something with these labels."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        if rule["operator"] != "In" or labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


def job_action(job, code, conditions=()):
    """What the podFailurePolicy of a Job's spec says of a pod that ended with `code`, and with these conditions: the
    action of the first rule that is about it, or Count, which is none of Kubernetes' words for what is done then."""
    for rule in job["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes")
        if codes is None:
            about = any(one["type"] in conditions and one["status"] == "True" for one in rule["onPodConditions"])
        else:
            about = {"In": code in codes["values"], "NotIn": code not in codes["values"]}[codes["operator"]]
        if about:
            return rule["action"]
    return "Count"
