#!/usr/bin/env -S python3 -B
"""The Dockerfile: hadolint has nothing to say, and the images are what the manifests count on."""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

import manifests  # noqa: E402
from harness import LEEWAY, TestCase, main, read  # noqa: E402

DOCKERFILE = os.path.abspath("deploy/docker/Dockerfile")
LABELS = ("title", "description", "version", "licenses", "revision", "created")
# (what is done to the file, the rule that finds it)
PLANTED = [
    ((r"debian:\$\{DEBIAN\}", "debian"), "DL3006"),
    ((r"debian:\$\{DEBIAN\}", "debian:latest"), "DL3007"),
    ((r"'libcublas-13-0=13.0.\*'", "libcublas-13-0"), "DL3008"),
    ((r" --no-install-recommends", ""), "DL3015"),
    ((r" --yes", ""), "DL3014"),
    ((r" \\\n    && rm -rf /var/lib/apt/lists/\*", ""), "DL3009"),
    ((r"WORKDIR /var", "WORKDIR var"), "DL3000"),
    ((r"CMD \[.*\]", "CMD leeway --help"), "DL3025"),
    ((r"USER 65532:65532", "USER root"), "DL3002"),
]


def stages(text):
    """The instructions of each stage by its name: (word, rest)."""
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found, current = {}, None
    for word, rest in re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE):
        if word == "FROM":
            current = found.setdefault(rest.split(" AS ")[1], [])
        if current is not None:
            current.append((word, " ".join(rest.split())))
    return found


class Image(TestCase):
    def lint(self, text):
        """The rules that are broken. Some are about the last stage alone, so each image's is once."""
        *blocks, cuda, cpu = text.split("\n\n")
        broken = []
        for order in ([cuda, cpu], [cpu, cuda]):
            command = [manifests.tool("hadolint"), "--no-color", "--failure-threshold=style", "-"]
            given = "\n\n".join([*blocks, *order]) + "\n"
            done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
            self.assertIn(done.returncode, (0, 1), done.stderr)
            broken += re.findall(r"(?:DL|SC)\d+", done.stdout)
        return broken

    def test_hadolint_finds_nothing(self):
        self.assertEqual(self.lint(read(DOCKERFILE)), [])

    def test_hadolint_finds_what_is_planted(self):
        for (pattern, replacement), rule in PLANTED:
            spoilt = re.sub(pattern, replacement, read(DOCKERFILE))
            self.assertNotEqual(spoilt, read(DOCKERFILE), rule)
            self.assertIn(rule, self.lint(spoilt))

    def test_images_are_small_and_harmless(self):
        found = stages(read(DOCKERFILE))
        self.assertEqual(list(found), ["unpacked", "cuda", "cpu"])
        version = re.search(r" (\d+\.\d+\.\d+) ", subprocess.check_output([LEEWAY, "--version"], text=True)).group(1)
        for stage in ("cpu", "cuda"):
            words = dict(found[stage])
            copies = [rest for word, rest in found[stage] if word in ("COPY", "ADD")]
            self.assertEqual(copies, ["--from=unpacked /opt/leeway /opt/leeway"], "nothing but the programs")
            self.assertEqual(words["USER"], "65532:65532")
            self.assertEqual(words["STOPSIGNAL"], "SIGTERM")
            for label in LABELS:
                self.assertRegex(words["LABEL"], rf'org\.opencontainers\.image\.{label}="[^"]+"')
            self.assertIn(f'image.version="{version}"', words["LABEL"])
        self.assertNotIn("RUN", dict(found["cpu"]), "no layer of its own")

    def test_the_manifests_run_what_is_there(self):
        copy = manifests.copy_to(self.folder)
        for overlay in manifests.OVERLAYS:
            objects = manifests.render(os.path.join(copy, "overlays", overlay))
            for workload in manifests.workloads(objects):
                pod = manifests.pod_spec(workload)
                (container,) = pod["containers"]
                self.assertRegex(container["command"][0], r"^/opt/leeway/bin/(ps|worker|leeway)$")
                user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
                self.assertEqual(user, "65532:65532", "the image's user")
            flags = manifests.find(objects, "ConfigMap", "leeway-flags")["data"]
            self.assertEqual(manifests.flags_of(flags["worker.flags"])["data"], "/opt/leeway/data")


if __name__ == "__main__":
    main()
