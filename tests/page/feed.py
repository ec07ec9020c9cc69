"""A cluster that does not exist: serves the status page with a made-up /api/status, for tests of the page alone.

feed.py PAGE [WORKERS [PORT]] serves it until it is ended, for looking at it in a browser.
"""

import http.server
import json
import math
import random
import sys
import threading
import time

HOSTILE = '<img src=x onerror="hacked()"><script>hacked()</script>'


def checkpoint(name, seconds, duration, size, error=""):
    return {"name": name, "seconds": seconds, "duration": duration, "steps": 1, "bytes": size, "error": error}


class Cluster:
    """Some run, further on at each look. Everything follows from the seed and the time."""

    def __init__(self, workers, shards=2, bound=8, seed=1, began=-120.0, hostile=False):
        self.random = random.Random(seed)
        self.bound, self.shards, self.hostile = bound, shards, hostile
        self.max_delay = -1
        self.began = time.monotonic() + began
        self.speed = [self.random.uniform(3.8, 4.2) for _ in range(workers)]
        self.luck = [1.0] * workers
        self.clock = [0.0] * workers
        self.last = self.began
        self.dead = {workers // 2: 90.0} if workers > 2 else {}
        self.names = [f"worker-{i}" for i in range(workers)]
        if workers > 1:
            self.names[1] = "worker-1 " + HOSTILE if hostile else "worker-1"

    def advance(self, now):
        """In steps of a tenth of a second: nobody passes the gate."""
        while self.last + 0.1 <= now:
            self.last += 0.1
            seconds = self.last - self.began
            alive = [i for i in range(len(self.clock)) if self.dead.get(i, math.inf) > seconds]
            gate = min(self.clock[i] for i in alive) + self.bound + 1 if alive else 0
            for i in alive:
                # Good and bad times last some seconds.
                self.luck[i] = 0.97 * self.luck[i] + 0.03 * self.random.uniform(-1.5, 3.5)
                step = self.speed[i] * 0.1 * max(0.1, self.luck[i])
                self.clock[i] = min(self.clock[i] + step, gate)

    def worker(self, i, seconds, gate):
        dead = self.dead.get(i, math.inf) <= seconds
        clock = int(self.clock[i])
        waits = not dead and clock >= gate
        return {
            "id": i,
            "name": self.names[i],
            "role": "trainer",
            "rank": i,
            "state": "expired" if dead else "live",
            "reason": "its lease ran out" if dead else "",
            "clock": clock,
            "at_gate": waits,
            "waiting_share": 0.6 if waits else 0.03 * (i % 4),
            "waits_for": min(range(len(self.clock)), key=self.clock.__getitem__) if waits else -1,
            "wait": f"ps 1 at {HOSTILE}, 14 s: no answer, Pull" if self.hostile and i == 2 else "",
            "silent_seconds": 0.4,
            "samples": clock * 64,
            "samples_per_second": 0 if dead else round(self.speed[i] * 64, 1),
            "loss": 0.3 + 0.001 * i,
            "refused": 0,
            "device": "cpu (AVX-512)",
        }

    def status(self):
        self.advance(time.monotonic())
        seconds = self.last - self.began
        alive = [int(c) for i, c in enumerate(self.clock) if self.dead.get(i, math.inf) > seconds]
        slowest, fastest = (min(alive), max(alive)) if alive else (None, None)
        gate = (slowest or 0) + self.bound + 1
        times = [round(seconds * k / 400, 2) for k in range(1, 401)]
        noise = random.Random(5)
        speed = sum(self.speed) * 64
        evals = times[39::40]
        shard = speed * 6500 / self.shards
        return {
            "state": "TRAINING",
            "waiting_for": "",
            "stop_reason": "",
            "run_id": "00c0ffee00c0ffee",
            "model": "cnn",
            "elements": 421642,
            "seconds": round(seconds, 2),
            "samples": int(sum(self.clock) * 64),
            "steps": int(sum(self.clock)),
            "num_records": 60000,
            "total_samples": int(max(sum(self.clock) * 64, 1) * 1.6),
            "samples_per_second": round(speed, 1),
            "era": 0,
            "policy": {
                "staleness_bound": self.bound,
                "aggregation": "each",
                "round_quorum": 0,
                "max_delay": self.max_delay,
                "delay_policy": "apply",
                "num_workers": len(self.clock),
            },
            "slowest": slowest,
            "fastest": fastest,
            "workers": [self.worker(i, seconds, gate) for i in range(len(self.clock))],
            "shards": [
                {
                    "index": s,
                    "address": f"127.0.0.1:{7000 + s}",
                    "connected": True,
                    "blocks": 52,
                    "version": int(sum(self.clock)),
                    "applied": int(sum(self.clock)),
                    "refused": 0,
                    "dropped": 0,
                    "partial": 0,
                    "nonfinite": 0,
                    "push_bytes": 10**9,
                    "pull_bytes": 10**9,
                    "push_rate": round(shard * (1 - 0.03 * s)),
                    "pull_rate": round(shard * (0.98 + 0.02 * s)),
                    "held_bytes": 1250000 * s,
                }
                for s in range(self.shards)
            ],
            "gap": {"counts": [900, 2400, 3100, 2800, 2100, 1500, 900, 500, 250, 90], "max": 9, "mean": 3.2},
            "delay": {"counts": [int(4000 * math.exp(-((k - 3) ** 2) / 9)) for k in range(14)], "max": 13, "mean": 3.1},
            "events": [
                {"seconds": 0, "text": "TRAINING: training begins with all workers"},
                {"seconds": 30.1, "text": "checkpoint step-00001200 is committed"},
                {"seconds": 90.2, "text": "worker 'worker-4' is out: no heartbeat for 10 s"},
                *([{"seconds": 95, "text": f"worker '{HOSTILE}' leaves: {HOSTILE}"}] if self.hostile else []),
            ],
            "checkpoints": [
                checkpoint("step-00001200", 30, 0.21, 5 * 10**6),
                checkpoint("step-00002400", 60, 0.24, 5 * 10**6),
                checkpoint("step-00004200", 118, 4, 0, "ps 1 is not there"),
            ],
            "checkpoint_under_way": "step-00005400",
            "training": {
                "seconds": times,
                "samples": [int(t * speed) for t in times],
                "loss": [round(0.28 + 1.9 * math.exp(-t / 18) + noise.gauss(0, 0.018), 4) for t in times],
                "accuracy": [round(0.92 - 0.8 * math.exp(-t / 14) + noise.gauss(0, 0.008), 4) for t in times],
            },
            "evaluations": {
                "seconds": evals,
                "samples": [int(t * speed) for t in evals],
                "loss": [round(0.31 + 1.8 * math.exp(-t / 18), 4) for t in evals],
                "accuracy": [round(0.91 - 0.8 * math.exp(-t / 14), 4) for t in evals],
                "final": [0] * len(evals),
            },
            "rates": {
                "seconds": times,
                "samples": [round(speed * noise.uniform(0.93, 1.05), 1) for _ in times],
                "push_bytes": [round(shard * self.shards * noise.uniform(0.93, 1.05)) for _ in times],
                "pull_bytes": [round(shard * self.shards * noise.uniform(0.9, 1.04)) for _ in times],
            },
        }


def serve(page, cluster, port=0):
    """A server in a thread of its own, and the URL of the page. `cluster` may be replaced: server.cluster."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            found = self.path in ("/", "/api/status")
            body = page if self.path == "/" else json.dumps(self.server.cluster.status()).encode() if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8" if self.path == "/" else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.cluster = cluster
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/"


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        html = file.read()
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    print(serve(html, Cluster(number), int(sys.argv[3]) if len(sys.argv) > 3 else 0)[1], flush=True)
    threading.Event().wait()
