#!/usr/bin/env -S python3 -B
"""A cluster with certificates and tokens: strangers are refused while it trains, and certificates are replaced."""

import hashlib
import http.client
import os
import re
import secrets
import socket
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import ByHand, free_port  # noqa: E402
from harness import LEEWAY, PS, main, read  # noqa: E402

MAKE_CERTS = os.path.abspath("deploy/tls/make_certs.sh")
ROLES = ("observer", "worker", "admin")
SILENT = 200  # connections to each port; the limit of files that the `ps` are started with is less
FILES = 128


class Security(ByHand):
    def setUp(self):
        super().setUp()
        self.make_certs("certs")
        lines = []
        for role in ROLES:
            token = secrets.token_hex(32)
            self.write(f"{role}.token", token + "\n")
            lines.append(f"{role} {hashlib.sha256(token.encode()).hexdigest()} the-{role}\n")
        self.write("tokens", "".join(lines))
        self.write("revoked", "# nobody\n")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def make_certs(self, name, *flags):
        subprocess.run([MAKE_CERTS, self.path(name), "--num_ps=2", *flags], check=True, capture_output=True)

    def tls(self, kind, certs="certs"):
        folder = self.path(f"{certs}/{kind}")
        files = {"cert": "tls.crt", "key": "tls.key", "ca": "ca.crt"}
        return [f"--tls_{what}_file={folder}/{name}" for what, name in files.items()]

    def token(self, role):
        return f"--token_file={self.path(role)}.token"

    # What ByHand starts has certificates and tokens, and few open files.

    def start(self, name, *command):
        if command[0] == PS:
            command = ("sh", "-c", f'ulimit -S -n {FILES}; exec "$@"', "sh", *command)
        return super().start(name, *command)

    def start_ps(self, index, port, *flags, name=None):
        lists = [f"--tokens_file={self.path('tokens')}", f"--tls_revoked_file={self.path('revoked')}"]
        own = [*self.tls("ps"), self.token("admin"), *lists]
        web = ["--http_port=0", f"--http_port_file={self.path(name or f'ps-{index}')}.http"]
        # What a `ps` brings to ps 0 of its checkpoints, and reads there, goes the same way.
        apart = [f"--checkpoint_dir={self.path('apart')}", "--checkpoint_storage=own"] if index and not name else []
        return super().start_ps(index, port, *own, *web, *apart, *flags, name=name)

    def start_worker(self, name, *flags):
        # Long enough a run for all that is tried meanwhile.
        return super().start_worker(name, *self.tls("worker"), self.token("worker"), *flags, "--pace=250ms")

    def ports(self):
        return [int(ps.wait_for(r"serves at 127\.0\.0\.1:(\d+)").group(1)) for ps in self.servers]

    def local_sockets(self):
        """Names of the abstract sockets that our `ps` listen on, and nobody else's."""
        ours = set()
        for ps in self.servers:
            for number in os.listdir(f"/proc/{ps.pid}/fd"):
                try:
                    ours.update(re.findall(r"socket:\[(\d+)\]", os.readlink(f"/proc/{ps.pid}/fd/{number}")))
                except OSError:
                    pass  # closed meanwhile
        listening = re.findall(r" 01 +(\d+) @(leeway-[0-9a-f]{16})\n", read("/proc/net/unix"))
        return [name for inode, name in listening if inode in ours]

    def leeway(self, name, *flags):
        """`leeway checkpoint now`: an admin's call, one attempt or a few."""
        where = f"--coordinator=127.0.0.1:{self.port}"
        return self.start(name, LEEWAY, "checkpoint", "now", where, "--checkpoint_timeout=2s", *flags)

    def revoke(self, kind):
        """The certificate of `kind` counts no more; until ps 0 knows."""
        ask = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", self.path(f"certs/{kind}/tls.crt")]
        said = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
        read_lists = lambda: len(re.findall("revoked certificates: .* is read", self.servers[0].output()))  # noqa: E731
        before = read_lists()
        self.write("revoked", said.strip().rsplit("=", 1)[1] + f" the {kind}\n")
        self.wait_until(lambda: read_lists() > before, "the list to be read again", self.everything)

    def assert_refused(self, child, *words):
        self.assertNotEqual(child.wait(), 0, child.output())
        for word in words:
            self.assertIn(word, child.output())

    def throw_nonsense(self, address, family):
        with socket.socket(family) as stranger:
            stranger.settimeout(30)
            stranger.connect(address)
            try:
                stranger.sendall(secrets.token_bytes(100_000))
                while stranger.recv(4096):
                    pass
            except ConnectionError:
                pass  # closed before it had taken all

    def handshake(self, port, context):
        """The serial number of the server's certificate; an OSError when either end refuses the other.

        (With TLS 1.3 a server's refusal comes when the client thinks that all is well.)"""
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as stranger:
                stranger.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                if not stranger.recv(4096):
                    raise ConnectionError("closed")
                return stranger.getpeercert()["serialNumber"]

    def client(self, kind="worker", certs="certs"):
        folder = self.path(f"{certs}/{kind}")
        context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
        context.set_alpn_protocols(["h2"])
        context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
        return context

    def https(self, port, path, token=None):
        """The status of an answer of the page's server, which must show the certificate of its `ps`."""
        folder = self.path("certs/worker")
        context = ssl.create_default_context(cafile=f"{folder}/ca.crt")  # browsers and probes have no certificate
        headers = {"Authorization": f"Bearer {read(self.path(token) + '.token').strip()}"} if token else {}
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status

    def check_http(self):
        web = [int(read(self.path(f"ps-{index}.http")).strip().rsplit(":", 1)[1]) for index in range(2)]
        for port in web:
            self.throw_nonsense(("127.0.0.1", port), socket.AF_INET)
            self.assertEqual(self.https(port, "/healthz"), 200)
            self.assertEqual(self.https(port, "/statusz"), 401)
            self.assertEqual(self.https(port, "/statusz", "observer"), 200)
        self.assertEqual(self.https(web[0], "/api/status"), 401)
        self.assertEqual(self.https(web[0], "/api/status", "observer"), 200)
        return web

    def test_strangers_are_refused_while_it_trains(self):
        self.start_cluster()
        ports = self.ports()
        silent = [socket.create_connection(("127.0.0.1", port)) for port in ports for _ in range(SILENT)]
        for stranger in silent:
            self.addCleanup(stranger.close)
        local = self.local_sockets()
        self.assertEqual(len(local), 2, "both `ps` have a local socket")
        for _ in range(3):
            for port in ports:
                self.throw_nonsense(("127.0.0.1", port), socket.AF_INET)
            for name in local:
                self.throw_nonsense("\0" + name, socket.AF_UNIX)

        for port in ports:
            anonymous = ssl.create_default_context(cafile=self.path("certs/worker/ca.crt"))
            anonymous.set_alpn_protocols(["h2"])
            self.assertRaises(OSError, self.handshake, port, anonymous)
            self.handshake(port, self.client())  # so it was the certificate that was missing

        self.check_http()

        # All at once: each tries for two seconds.
        operator = self.tls("operator")
        self.make_certs("foreign")
        self.make_certs("late", "--days=-1")
        children = {
            "clear": self.leeway("clear", self.token("admin")),
            "foreign": self.leeway("foreign", *self.tls("operator", "foreign"), self.token("admin")),
            "late": self.leeway("late", *self.tls("operator", "late"), self.token("admin")),
            "no token": self.leeway("no-token", *operator),
            "worker": self.leeway("worker-token", *operator, self.token("worker")),
        }
        self.write("stranger.token", secrets.token_hex(32))
        stranger_worker = self.start_worker("stranger", self.token("stranger"))
        # A worker's token must not be enough to take a shard's place.
        elsewhere = f"--checkpoint_dir={self.path('false')}"
        false_shard = self.start_ps(1, 0, self.token("worker"), elsewhere, name="false-ps")
        self.assert_refused(children["clear"], f"127.0.0.1:{self.port}")
        self.assert_refused(children["foreign"], f"127.0.0.1:{self.port}")
        self.assert_refused(children["late"], "has expired")
        self.assert_refused(children["no token"], "Coordinator/Checkpoint needs a token of role admin", "none was sent")
        self.assert_refused(children["worker"], "needs a token of role admin", "the-worker is of role worker")
        self.assert_refused(stranger_worker, "Coordinator/Join needs a token of role worker", "not known")
        self.assert_refused(false_shard, "Coordinator/WatchMembership needs a token of role admin")

        allowed = self.leeway("allowed", *operator, self.token("admin"), "--checkpoint_timeout=1m")
        self.assertEqual(allowed.wait(), 0, allowed.output())
        self.assertIn("step-", allowed.stdout())
        where = f"--coordinator=127.0.0.1:{self.port}"
        status = self.start("status", LEEWAY, "status", where, *operator, self.token("observer"))
        change = self.start("set", LEEWAY, "set", "staleness_bound=8", where, *operator, self.token("worker"))
        self.assertEqual(status.wait(), 0, status.output())
        self.assert_refused(change, "Coordinator/SetPolicy needs a token of role admin")
        self.revoke("operator")
        self.assert_refused(self.leeway("revoked", *operator, self.token("admin")), f"127.0.0.1:{self.port}")
        self.assertIsNone(self.workers[0].process.poll(), "it should still train\n" + self.everything())
        self.assert_all()

    def test_a_ps_that_nobody_would_believe_is_refused_at_start(self):
        """Its certificate is not that of the address under which it would be called."""
        self.port = free_port()
        moved = self.start_ps(1, 0, "--listen=0.0.0.0:0", "--advertise=10.77.0.3:7100", name="moved")
        self.assertEqual(moved.wait(), 1, moved.output())
        self.assertIn("--advertise=10.77.0.3:7100: allowed: ", moved.stderr())
        self.assertIn(f"certificate in {self.path('certs/ps/tls.crt')}", moved.stderr())
        misnamed = self.start_ps(1, 0, "--tls_server_name=elsewhere", name="misnamed")
        self.assertEqual(misnamed.wait(), 1, misnamed.output())
        self.assertIn("--tls_server_name=elsewhere: allowed: ", misnamed.stderr())
        elsewhere = ["--listen=0.0.0.0:0", "--advertise=10.77.0.3:0", "--tls_server_name=leeway-ps"]
        self.start_ps(1, 0, *elsewhere, name="by-name").wait_for("waiting for the coordinator")

    def test_certificates_are_replaced_while_it_trains(self):
        self.start_cluster()
        ports = self.ports()

        def logged_again(count):
            told = lambda child: len(re.findall("valid until", child.output())) >= count  # noqa: E731
            everybody = self.servers + self.workers
            self.wait_until(lambda: all(map(told, everybody)), f"{count} words on certificates", self.everything)

        logged_again(1)
        self.make_certs("certs", "--add_ca")  # everybody believes both authorities
        logged_again(2)
        old = self.client()  # an old certificate, and faith in both
        serial = self.handshake(ports[0], old)
        self.make_certs("certs")  # certificates of the new one

        def shows_new(port):
            try:
                return self.handshake(port, self.client()) != serial
            except OSError:  # the new certificate is not believed everywhere yet
                return False

        for port in ports:
            self.wait_until(lambda: shows_new(port), f"a new certificate at {port}", self.everything)
        logged_again(3)
        self.make_certs("certs", "--drop_old_ca")
        logged_again(4)

        def refuses_old(port):
            try:
                self.handshake(port, old)
                return False
            except OSError:
                return True

        for port in ports:
            self.wait_until(lambda: refuses_old(port), f"the old authority gone at {port}", self.everything)
        self.assertIsNone(self.workers[0].process.poll(), "it should still train\n" + self.everything())
        # New connections of those that have been there all the time: a `ps` is gone and comes back.
        killed = self.servers[1]
        killed.kill()
        killed.wait()
        self.servers.append(self.start_ps(1, 0, name="ps-1-again"))
        # And of one that knows nothing of the old ones.
        self.workers.append(self.start_worker("newcomer", "--pipeline_depth=1"))
        self.workers[-1].wait_for("joined as worker")
        self.assert_all(killed=[killed])


if __name__ == "__main__":
    main()
