"""The parent of several worker processes: it starts them, starts dead ones anew, and passes on what it is told.

A child and its parent share a socket: the child tells its incarnation, the parent says "stop" and "hurry", and the end
of the socket tells a child that its parent is gone.

Always true: the leases of a child that died are ended at once, so that what it held is given back within seconds; a
child that dies at once again and again is started ever more slowly; one whose command line is wrong ends them all.

Not here: what a child does (worker.py).
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Sequence

from rota.cli import faults
from rota.cli.ears import HURRY, STOP
from rota.cli.session import Session
from rota.errors import StoreError
from rota.store.port import Op, query
from rota.store.store import Store

LIVED_S = 10.0  # a child that lived this long is started anew at once: it did work, a guess
SLOWEST_S = 30.0  # and one that never does, at least twice a minute: the cause may go away by itself
FIRST_S = 0.5

_log = logging.getLogger("rota")


class _Child:
    """One place among the processes, and whoever fills it."""

    def __init__(self, parent: "_Parent", place: int) -> None:
        self._parent = parent
        self._place = place
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._wait_s = 0.0

    async def keep(self) -> int:
        """Keep the place filled until told to stop; the last exit code."""
        while True:
            started_s = self._parent.session.clock.monotonic()
            code = await self._live()
            if self._parent.told or code == faults.USAGE:
                return code
            lived_s = self._parent.session.clock.monotonic() - started_s
            self._wait_s = 0.0 if lived_s >= LIVED_S else min(SLOWEST_S, max(FIRST_S, self._wait_s * 2))
            _log.warning("process %d ended with %d; another one starts in %.1f s", self._place, code, self._wait_s)
            if await self._parent.told_within(self._wait_s):
                return faults.DONE

    async def _live(self) -> int:
        ours, theirs = socket.socketpair()
        arguments = [sys.executable, "-m", "rota.cli", *self._parent.arguments, "--parent", str(theirs.fileno())]
        self._process = await asyncio.create_subprocess_exec(
            *arguments, pass_fds=[theirs.fileno()], start_new_session=True
        )
        theirs.close()
        reader, self._writer = await asyncio.open_connection(sock=ours)
        if self._parent.told:
            self.say(STOP)
        incarnation = ""
        with contextlib.suppress(ConnectionError):  # it died before it could say who it is
            incarnation = (await reader.readline()).decode().strip()
        code = await self._process.wait()
        self._writer.close()
        if incarnation:
            await self._parent.bury(incarnation)
        return code

    def say(self, what: bytes) -> None:
        """Tell the child to stop or to hurry."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(what)


class _Parent:
    """All places, and what they were told."""

    def __init__(self, session: Session, store: Store, arguments: Sequence[str], count: int) -> None:
        self.session = session
        self.arguments = arguments
        self.told = 0
        self._store = store
        self._signal: int | None = None
        self._stopped = asyncio.Event()
        self._children = [_Child(self, place) for place in range(1, count + 1)]

    async def run(self) -> int:
        """Until every place is empty; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._came, number)
        keeping = [asyncio.create_task(child.keep()) for child in self._children]
        done, rest = await asyncio.wait(keeping, return_when=asyncio.FIRST_COMPLETED)
        if not self.told:
            self.tell(STOP)  # a child cannot work at all: the others would go on without it
        codes = [task.result() for task in done] + list(await asyncio.gather(*rest))
        if self._signal is None:
            return max(codes)
        if self._signal == signal.SIGINT:
            return faults.INTERRUPTED
        return faults.TERMINATED if self.told > 1 else faults.DONE

    def _came(self, number: int) -> None:
        self.tell(HURRY if self._signal is not None else STOP)
        self._signal = number

    def tell(self, what: bytes) -> None:
        """Tell every child."""
        self.told += 1
        self._stopped.set()
        for child in self._children:
            child.say(what)

    async def told_within(self, seconds: float) -> bool:
        """Wait, but no longer than until told to stop; whether that happened."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return False
        return True

    async def bury(self, incarnation: str) -> None:
        """End the lease of a dead child; one that left in order has no row any more."""
        try:
            await self._store.write(lambda: _buried(incarnation), wakes=True)
        except StoreError as error:
            _log.warning("the lease of a dead process ends by itself, because it could not be ended: %s", error)


def _buried(incarnation: str) -> Op[None]:
    """The worker's lease and its small ones are over, so that another reaps what it held."""
    yield from query("end_lease", worker=incarnation)
    yield from query("free_leases", worker=incarnation)


async def supervise(session: Session, count: int, arguments: Sequence[str]) -> int:
    """Keep so many workers alive until told to stop; the exit code."""
    async with session.opened() as store:
        return await _Parent(session, store, arguments, count).run()
