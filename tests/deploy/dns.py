"""A name server as a cluster has one: A records of pods behind headless Services, NXDOMAIN for whoever is not there.

Runs in a thread of the test, on the node's address.
"""

import socket
import struct
import threading

A, AAAA = 1, 28
NXDOMAIN = 3
TTL = 5


def parse_name(packet, at):
    labels = []
    while packet[at]:
        length = packet[at]
        labels.append(packet[at + 1 : at + 1 + length].decode("ascii", "replace"))
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def answer(packet, lookup):
    """The reply to a query of one question; `lookup`: the IPv4 addresses of a name, or None."""
    number, flags, _, _, _, _ = struct.unpack("!6H", packet[:12])
    name, end = parse_name(packet, 12)
    kind = struct.unpack("!H", packet[end : end + 2])[0]
    question = packet[12 : end + 4]
    found = lookup(name)
    records = b""
    addresses = found if found and kind == A else []
    for address in addresses:
        records += struct.pack("!HHHIH", 0xC00C, A, 1, TTL, 4) + socket.inet_aton(address)
    code = NXDOMAIN if found is None else 0
    header = struct.pack("!6H", number, 0x8480 | (flags & 0x0100) | code, 1, len(addresses), 0, 0)
    return header + question + records


class NameServer:
    def __init__(self, address, lookup):
        self.lookup = lookup
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.socket.settimeout(0.1)  # how soon it hears that it is to end
        self.ending = False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.ending:
            try:
                packet, sender = self.socket.recvfrom(512)
            except TimeoutError:
                continue
            try:
                self.socket.sendto(answer(packet, self.lookup), sender)
            except (OSError, IndexError, struct.error):
                pass  # its pod is gone, or it is no query

    def close(self):
        self.ending = True
        self.thread.join()
        self.socket.close()
