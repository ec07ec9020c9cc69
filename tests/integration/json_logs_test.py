#!/usr/bin/env -S python3 -B
"""With --log_format=json every line of the logs of ps, worker and leeway is one JSON object, whatever it quotes."""

import json
import os
import re
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import ByHand, free_port  # noqa: E402
from harness import WORKER, main, read_bytes  # noqa: E402

LEVELS = {"trace", "debug", "info", "warning", "error", "critical"}
# Quotes, backslashes, a letter of four bytes.
HOSTILE = 'w"0\\"},{"level":"error\U0001f600'
# No UTF-8, a line end, a terminal escape, NEL, a line separator, too long.
NO_NAMES = (b"w\xff", b"w\n", b"w\x1b[31m", b"w\xc2\x85", b"w\xe2\x80\xa8", b"w" * 129)


class JsonLogs(ByHand):
    def lines(self, path, process):
        """The objects of a log, each checked."""
        data = read_bytes(path)
        self.assertTrue(data.endswith(b"\n"), path)
        objects = []
        for line in data[:-1].split(b"\n"):
            value = json.loads(line.decode("utf-8"))
            self.assertEqual(set(value), {"time", "level", "process", "thread", "message"}, line)
            self.assertRegex(value["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
            self.assertIn(value["level"], LEVELS)
            self.assertEqual(value["process"], process)
            objects.append(value)
        self.assertGreater(len(objects), 1, path)
        return objects

    def start_hostile(self, *flags):
        data = ["--model=mlp:16", "--data=synthetic:2000", "--batch=50", "--log_format=json"]
        where = [f"--coordinator=127.0.0.1:{self.port}", f"--name={HOSTILE}"]
        return self.start("hostile", WORKER, *where, *data, *flags)

    def test_hostile_names_and_bytes(self):
        self.port = free_port()
        ps = self.start_ps(0, self.port, "--num_workers=1", "--num_evaluators=0", "--lease=1s", "--log_format=json",
                           "--num_shards=1", "--drain_timeout=0s", "--epochs=100")  # fmt: skip
        ps.wait_for("serves at")
        worker = self.start_hostile("--pace=50ms")
        ps.wait_for("training begins with 1 workers")
        misfit = self.start("misfit", WORKER, f"--coordinator=127.0.0.1:{self.port}", "--name=misfit",
                            "--model=softmax", "--data=synthetic:2000", "--log_format=json")  # fmt: skip
        self.assertEqual(misfit.wait(), 1)
        last = self.lines(misfit.stderr_path, "misfit")[-1]
        self.assertEqual(last["level"], "error")
        self.assertIn("fingerprint", last["message"])
        with socket.create_connection(("127.0.0.1", self.port)) as stranger:
            stranger.sendall(bytes(range(256)) * 64)
        worker.kill(signal.SIGKILL)
        worker.wait()
        ps.wait_for("is out: no heartbeat")
        ps.kill(signal.SIGTERM)
        self.assertEqual(ps.wait(), 0, ps.output())
        said = self.lines(ps.stderr_path, "ps-0")
        self.assertTrue(any(HOSTILE in line["message"] for line in said), said)
        own = self.lines(worker.stderr_path, HOSTILE)
        self.assertTrue(any("joined as worker" in line["message"] for line in own))

    def test_a_name_that_is_none_is_refused_in_one_line(self):
        for number, name in enumerate(NO_NAMES):
            where = ["--coordinator=127.0.0.1:1", "--data=synthetic:100"]
            refused = self.start(f"refused{number}", WORKER, b"--name=" + name, *where)
            self.assertEqual(refused.wait(), 1)
            said = refused.stderr()
            self.assertRegex(said, r"^worker: --name=w.*: allowed: (at most 128 bytes of printable )?UTF-8\n$")
            self.assertTrue(said[:-1].isprintable(), said)

    def test_leeway_run(self):
        run = self.run_leeway("--log_format=json", "--num_ps=2", "--num_workers=2", "--epochs=2")
        run.finish()
        names = [name for name in os.listdir(run.out) if name.endswith(".log")]
        self.assertEqual(len(names), 5, names)
        for name in names:
            self.lines(run.path(name), re.sub(r"\.log$", "", name))
        for line in run.stderr().splitlines():
            self.assertEqual(json.loads(line)["process"], "leeway")


if __name__ == "__main__":
    main()
