#!/usr/bin/env python3
"""Launchers of other systems start Leeway: what they put into the environment is understood, by one command for all.

The launchers here do what the real ones do, and nothing else: dmlc-core's local tracker and ps-lite's local.sh (a
scheduler, servers without numbers, workers), and one that gives every task its TF_CONFIG, as Kubeflow's TFJob does.
"""

import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import free_port  # noqa: E402
from harness import MARK, PS, WORKER, TestCase, main, read  # noqa: E402

NODE = os.path.abspath("deploy/launch/node.sh")
# ps-lite's tests/local.sh, but for its profiler.
LOCAL_SH = """#!/bin/bash
export DMLC_NUM_SERVER=$1; shift
export DMLC_NUM_WORKER=$1; shift
bin=$1; shift
arg="$@"
export DMLC_PS_ROOT_URI='127.0.0.1'
export DMLC_PS_ROOT_PORT=$PORT_OF_TEST
export DMLC_ROLE='scheduler'
${bin} ${arg} &
export DMLC_ROLE='server'
for ((i=0; i<${DMLC_NUM_SERVER}; ++i)); do
  ${bin} ${arg} &
done
export DMLC_ROLE='worker'
for ((i=0; i<${DMLC_NUM_WORKER}; ++i)); do
  ${bin} ${arg} &
done
wait
"""


class Launchers(TestCase):
    def setUp(self):
        super().setUp()
        self.bin = os.path.join(self.folder, "bin")
        os.mkdir(self.bin)
        for program, name in ((PS, "ps"), (WORKER, "worker")):
            os.symlink(program, os.path.join(self.bin, name))
        shutil.copy(NODE, self.bin)
        self.node = os.path.join(self.bin, "node.sh")
        self.ps_flags = self.write("ps.flags", "# of every ps\n--steps=60\n--linger=0s\n")
        self.worker_flags = self.write("worker.flags", "--model=softmax\n--data=synthetic:400\n--batch=20\n")

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start_in(self, name, environment, *command):
        """A process with these variables beside the test's own; its output goes to a file."""
        path = os.path.join(self.folder, name + ".out")
        with open(path, "wb") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, MARK: self.mark, **environment},
            )
        process.path = path
        return process

    def ends_with(self, process, code):
        self.wait_until(lambda: process.poll() is not None, f"{process.path} to end", lambda: read(process.path))
        self.assertEqual(process.returncode, code, read(process.path))
        return read(process.path)

    def test_ps_lites_local_sh(self):
        """Nobody has a number: the coordinator hands out the shards, the workers are named after their processes."""
        script = self.write("local.sh", LOCAL_SH)
        launcher = self.start_in(
            "local",
            {"PORT_OF_TEST": str(free_port())},
            *["bash", script, "2", "2", self.node, self.ps_flags, self.worker_flags, "--log_level=info"],
        )
        said = self.ends_with(launcher, 0)
        for shard in range(3):
            self.assertIn(f"ps-{shard} 0.1.0: shard {shard} of 3 serves at 127.0.0.1:", said)
            self.assertIn(f"ps-{shard}: ends", said)
        self.assertEqual(said.count("trainer "), 2, said)
        self.wait_until_gone()

    def test_numbers_that_the_launcher_gives(self):
        """As BytePS and the Mesos tracker do; a server's interface is looked up."""
        common = {
            "DMLC_PS_ROOT_URI": "127.0.0.1",
            "DMLC_PS_ROOT_PORT": str(free_port()),
            "DMLC_NUM_SERVER": "1",
            "DMLC_NUM_WORKER": "2",
            "DMLC_INTERFACE": "lo",
        }
        command = [self.node, self.ps_flags, self.worker_flags]
        tasks = [self.start_in("server", {**common, "DMLC_ROLE": "server", "DMLC_SERVER_ID": "0"}, *command)]
        tasks.append(self.start_in("scheduler", {**common, "DMLC_ROLE": "scheduler"}, *command))
        for i in range(2):
            name = f"worker{i}"
            tasks.append(self.start_in(name, {**common, "DMLC_ROLE": "worker", "DMLC_WORKER_ID": str(i)}, *command))
        said = [self.ends_with(task, 0) for task in tasks]
        self.assertIn("ps-1 0.1.0: shard 1 of 2 serves at 127.0.0.1:", said[0])
        self.assertIn("trainer worker-0:", said[2])
        self.assertIn("trainer worker-1:", said[3])

    def test_tf_config(self):
        """Chief, worker, two ps and an evaluator, as TFJob starts them: each with its own TF_CONFIG."""
        ports = [free_port() for _ in range(2)]
        cluster = {
            "chief": ["127.0.0.1:1111"],
            "worker": ["127.0.0.1:1112"],
            "ps": [f"127.0.0.1:{port}" for port in ports],
            "evaluator": ["127.0.0.1:1113"],
        }
        final = os.path.join(self.folder, "final.safetensors")
        tasks = {}
        for kind, index in [("ps", 1), ("evaluator", 0), ("worker", 0), ("chief", 0), ("ps", 0)]:
            config = json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}, "environment": "cloud"})
            extra = [f"--final_weights={final}"] if kind == "evaluator" else []
            command = [self.node, self.ps_flags, self.worker_flags, *extra]
            tasks[kind, index] = self.start_in(f"{kind}{index}", {"TF_CONFIG": config}, *command)
        said = {task: self.ends_with(process, 0) for task, process in tasks.items()}
        self.assertIn(f"shard 0 of 2 serves at 127.0.0.1:{ports[0]}", said["ps", 0])
        self.assertIn(f"shard 1 of 2 serves at 127.0.0.1:{ports[1]}", said["ps", 1])
        self.assertIn("trainer chief-0:", said["chief", 0])
        self.assertIn("trainer worker-0:", said["worker", 0])
        self.assertIn("evaluator evaluator-0:", said["evaluator", 0])
        self.assertTrue(os.path.exists(final))

    def test_what_is_wrong_is_one_line(self):
        good = {"cluster": {"ps": ["127.0.0.1:1"], "worker": ["w:1"]}, "task": {"type": "worker", "index": 0}}
        job = json.dumps(good)
        dmlc = {"DMLC_ROLE": "server", "DMLC_NUM_SERVER": "1", "DMLC_NUM_WORKER": "1", "DMLC_PS_ROOT_URI": "127.0.0.1"}
        for program, environment, flags, words in [
            (PS, {"TF_CONFIG": job}, [], "TF_CONFIG: this process is worker 0, which is a job for the program worker"),
            (PS, {"TF_CONFIG": "{"}, [], "TF_CONFIG: '{': allowed: a JSON object"),
            (PS, {"TF_CONFIG": job, **dmlc}, [], "TF_CONFIG and DMLC_ROLE: both are set: allowed: one of them"),
            (PS, dmlc, [], "DMLC_PS_ROOT_PORT=: with DMLC_ROLE: allowed: 1 to 65535"),
            (WORKER, {**dmlc, "DMLC_PS_ROOT_PORT": "9"}, [], "DMLC_ROLE: this process is server, which is a job for"),
        ]:
            said = self.ends_with(self.start_in("wrong", environment, program, *flags), 1)
            self.assertIn(words, said)
            self.assertEqual(said.count("\n"), 1, said)
        alone = self.start_in("alone", {**dmlc, "DMLC_PS_ROOT_PORT": str(free_port())}, PS, "--start_timeout=1s")
        said = self.ends_with(alone, 2)
        self.assertIn("gave this ps no shard within 1s: 127.0.0.1:", said)
        self.assertEqual(said.count("\n"), 1, said)

    def test_flags_win(self):
        """Who says by flags who a process is needs no tidy environment; single flags win over what it says."""
        port = free_port()
        stray = {"TF_CONFIG": "nonsense", "DMLC_ROLE": "boss"}
        where = f"127.0.0.1:{port}"
        ps = [PS, "--shard_index=0", f"--listen={where}", "--steps=20", "--linger=0s"]
        worker = [WORKER, f"--coordinator={where}", "--name=mine", "--model=softmax", "--data=synthetic:400"]
        tasks = [self.start_in("ps", stray, *ps), self.start_in("worker", stray, *worker)]
        for task in tasks:
            self.ends_with(task, 0)
        config = {"cluster": {"ps": [f"127.0.0.1:{free_port()}"], "worker": ["w:1", "w:2"]}}
        configs = [json.dumps({**config, "task": {"type": kind, "index": 0}}) for kind in ("ps", "worker")]
        alone = [PS, "--num_workers=1", "--steps=20", "--linger=0s"]  # not two
        named = [WORKER, "--name=other", "--model=softmax", "--data=synthetic:400"]
        tasks = [self.start_in("ps2", {"TF_CONFIG": configs[0]}, *alone)]
        tasks.append(self.start_in("worker2", {"TF_CONFIG": configs[1]}, *named))
        said = [self.ends_with(task, 0) for task in tasks]
        self.assertIn("trainer other:", said[1])


if __name__ == "__main__":
    main()
