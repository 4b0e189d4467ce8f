"""How a worker process hears that it shall go: by signals, and from its parent.

Always true: the first SIGTERM or SIGINT drains, the second hurries; what signal and parent both say counts once; a
child whose parent is gone drains.

Not here: exit codes (worker.py), the parent (processes.py).
"""

import asyncio
import contextlib
import signal

from rota.engine.worker import Worker

STOP, HURRY = b"stop\n", b"hurry\n"  # what a parent says to its child


class Ears:
    """Hears signals and a parent, and tells the worker once for each: stop, then hurry."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._told = 0
        self.signal: int | None = None

    @property
    def hurried(self) -> bool:
        """Whether the grace was cut."""
        return self._told > 1

    def listen(self) -> None:
        """From now on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._came, number)

    def _came(self, number: int) -> None:
        self._tell(2 if self.signal is not None else 1)
        self.signal = number

    def _tell(self, wanted: int) -> None:
        while self._told < wanted:
            self._told += 1
            self._worker.stop()

    def deafen(self) -> None:
        """The end has come: one more signal must not change the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    async def parent(self, reader: asyncio.StreamReader) -> None:
        """Do what the parent says; when it is gone, drain."""
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self._tell(2 if line == HURRY else 1)
        self._tell(1)
