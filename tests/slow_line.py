"""A line between a client and a server: it can be slow, and it can be encrypted."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class SlowLine:
    """``port``: where it listens on loopback. ``delay_s``: how much later answers arrive; it may
    be changed at any time. Nothing is held up behind what waits: only the time is longer.
    ``tls``: what clients meet here, while the server behind speaks none.
    """

    def __init__(self, to_port: int, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.port = 0
        self.delay_s = 0.0
        self.to_port = to_port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slow-line")

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()

    async def _connected(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self.to_port)
        except OSError:
            back.close()
            return
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(_forward(client, server), self._later(answers, back))
        server.close()
        back.close()

    async def _later(self, answers: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await answers.read(65536):
            loop.call_later(self.delay_s, back.write, data)
        loop.call_later(self.delay_s, back.close)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextmanager
def slow_line(to_port: int, tls: ssl.SSLContext | None = None) -> Iterator[SlowLine]:
    line = SlowLine(to_port, tls)
    line.start()
    yield line
    line.stop()
