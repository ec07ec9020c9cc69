#!/usr/bin/env -S python3 -B
"""What it costs a `ps` that ten browsers watch it: CPU time of its HTTP thread, as a share of one core."""

import glob
import http.client
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))

from harness import TestCase, main, read  # noqa: E402

BROWSERS = 10
SECONDS = 15
MOST = 0.01  # of a core


def nanoseconds(pid, thread):
    """CPU time of the thread of that name (schedstat: in nanoseconds, unlike stat)."""
    for comm in glob.glob(f"/proc/{pid}/task/*/comm"):
        if read(comm).strip() == thread:
            return int(read(os.path.join(os.path.dirname(comm), "schedstat")).split()[0])
    raise AssertionError(f"no thread {thread}")


class Cost(TestCase):
    def watch(self, address, path, until, answers):
        connection = http.client.HTTPConnection(address)
        while time.monotonic() < until:
            began = time.monotonic()
            connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            answers.append((answer.status, len(answer.read())))
            time.sleep(max(0, 1 - (time.monotonic() - began)))

    def test_ten_browsers(self):
        run = self.run_leeway("--http_port=0", "--num_workers=4", "--minutes=1", "--pace=20ms")
        address = run.wait_for(r"status page: http://([\d.:]+)/").group(1)
        run.wait_until_training()
        pid = run.pid_of("ps-0")
        for path in ("/api/status", "/metrics"):
            answers = []
            until = time.monotonic() + SECONDS
            before, began = nanoseconds(pid, "http"), time.monotonic()
            threads = [
                threading.Thread(target=self.watch, args=(address, path, until, answers)) for _ in range(BROWSERS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            share = (nanoseconds(pid, "http") - before) / 1e9 / (time.monotonic() - began)
            codes = {code for code, _ in answers}
            print(f"{path}: {len(answers)} answers {codes} of {answers[-1][1]} bytes: {100 * share:.2f} % of a core")
            self.assertEqual(codes, {200})
            self.assertGreater(len(answers), BROWSERS * SECONDS / 2)
            self.assertLess(share, MOST)


if __name__ == "__main__":
    main()
