"""A service on this machine that refuses: after so many calls it answers 429 with `Retry-After`, for a while.

Always true: every call is noted with its instant and its answer; it serves no file and keeps nothing.

Not here: who calls (policy_worker.py), what is made of it (refused.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

WELL = 200
TOO_OFTEN = 429


@dataclass(slots=True, kw_only=True)
class Service:
    """What it answers, and what it was asked: instants in seconds on the machine's monotonic clock."""

    good: int = 50  # calls before it refuses
    after_s: int = 3
    away_s: float = 10.0  # after its first refusal it answers again
    takes_s: float = 0.01
    port: int = 0
    calls: list[tuple[float, int]] = field(default_factory=list)

    @property
    def refusals(self) -> list[float]:
        """When it refused, in seconds after the first time."""
        times = [at for at, status in self.calls if status == TOO_OFTEN]
        return [at - times[0] for at in times]

    def _answer(self) -> int:
        now = time.monotonic()
        first = next((at for at, status in self.calls if status == TOO_OFTEN), now)
        status = WELL if len(self.calls) < self.good or now - first >= self.away_s else TOO_OFTEN
        self.calls.append((now, status))
        return status

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                status = self._answer()
                await asyncio.sleep(self.takes_s)
                lines = [f"HTTP/1.1 {status} .", "Content-Length: 0"]
                lines += [f"Retry-After: {self.after_s}"] if status == TOO_OFTEN else []
                writer.write("\r\n".join([*lines, "", ""]).encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Service"]:
        """Serve, on a port of the system's choice, until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
