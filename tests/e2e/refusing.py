"""A service that answers 429 with `Retry-After` after so many calls, until it has refused for so long.

Always true: every call is noted with its instant and its answer before it is answered.

Not here: who calls it (policy_shop).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

WELL, TOO_OFTEN = 200, 429


class Refusing:
    """What it answers, and what it was asked."""

    def __init__(self, *, good: int, after_s: int, away_s: float) -> None:
        self.good, self.after_s, self.away_s = good, after_s, away_s
        self.port = 0
        self.calls: list[tuple[float, int]] = []  # seconds on the machine's monotonic clock, status

    @property
    def refusals(self) -> list[float]:
        """When it refused, in seconds after the first time."""
        times = [at for at, status in self.calls if status == TOO_OFTEN]
        return [at - times[0] for at in times]

    @property
    def answered(self) -> int:
        """How many calls it answered well."""
        return sum(status == WELL for _, status in self.calls)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Serve on a port of the system's choice until the block ends."""
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                status = self._answer()
                retry = f"Retry-After: {self.after_s}\r\n" if status == TOO_OFTEN else ""
                writer.write(f"HTTP/1.1 {status} .\r\nContent-Length: 0\r\n{retry}\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self) -> int:
        now = time.monotonic()
        first = next((at for at, status in self.calls if status == TOO_OFTEN), now)
        status = WELL if len(self.calls) < self.good or now - first >= self.away_s else TOO_OFTEN
        self.calls.append((now, status))
        return status
