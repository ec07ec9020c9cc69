"""A slow link on one machine: a relay for TCP connections with a rate and a delay in each direction.

Where the kernel shapes nothing (no netem), this does: all connections through it share a token bucket for what goes to
the server and one for what comes back, and every byte arrives `delay` seconds after it has left its bucket.
"""

import asyncio
import threading
import time

PIECE = 16 * 1024  # bytes read at once: 1.3 ms at 100 Mbit/s
MOST_PIECES = 64  # under way per connection and direction; then nothing more is read, as a router's full queue does


class SlowLink:
    """Listens on 127.0.0.1:port (a free one, from start() on) and relays to 127.0.0.1:target."""

    def __init__(self, target, bytes_per_second, delay):
        self.target, self.rate, self.delay = target, bytes_per_second, delay
        self.free_at = {"up": 0.0, "down": 0.0}  # when each bucket is empty again
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def start(self):
        self.thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.accept, "127.0.0.1", 0), self.loop).result()
        self.port = server.sockets[0].getsockname()[1]

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def accept(self, reader, writer):
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        self.relay("up", reader, to_writer)
        self.relay("down", to_reader, writer)

    def relay(self, way, reader, writer):
        pieces = asyncio.Queue(MOST_PIECES)
        self.loop.create_task(self.read(way, reader, pieces))
        self.loop.create_task(self.write(writer, pieces))

    async def read(self, way, reader, pieces):
        piece = b"first"
        while piece:
            try:
                piece = await reader.read(PIECE)
            except OSError:
                piece = b""
            self.free_at[way] = max(time.monotonic(), self.free_at[way]) + len(piece) / self.rate
            await pieces.put((self.free_at[way] + self.delay, piece))

    async def write(self, writer, pieces):
        try:
            while True:
                arrives, piece = await pieces.get()
                await asyncio.sleep(max(0.0, arrives - time.monotonic()))
                if not piece:
                    break
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        writer.close()
