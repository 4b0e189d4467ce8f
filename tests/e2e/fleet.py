"""Real processes for these tests: workers and ticks of an application, its ledger, and a look into the store.

Always true: a process is signalled by its own pid only, and none outlives its test; waiting asks for a condition and
has an end.

Not here: what the handlers do (shop).
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from rota import Rota
from rota.errors import StoreUnavailable
from rota.store.port import query

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 30.0  # until a condition must hold: two busy cores, and a worker starts in half a second
LOOK_S = 0.03  # between two looks


class Line(NamedTuple):
    """One line of the ledger."""

    what: str
    run: str
    attempt: int
    pid: int
    at_ns: int
    argument: str


async def until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Return when the condition holds; it may be asynchronous, and a store that is away is looked at again."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(StoreUnavailable):
            holds = condition()
            if isinstance(holds, Awaitable):
                holds = await holds
            if holds:
                return
        if time.monotonic() > deadline:
            message = f"not within {seconds} s: {getattr(condition, '__doc__', None) or condition!r}"
            raise AssertionError(message)
        await asyncio.sleep(LOOK_S)


class Fleet:
    """The processes of one test on one store, and the test's own application on it."""

    def __init__(self, url: str, rota: Rota, folder: Path) -> None:
        self.url = url
        self.rota = rota
        self.folder = folder
        self._ledger = folder / "ledger"
        self.processes: list[subprocess.Popen[bytes]] = []

    # -- processes ---------------------------------------------------------------------------------

    def start(self, *words: str, app: str = "tests.e2e.shop:rota", **popen: object) -> subprocess.Popen[bytes]:
        """Start `rota` with these words."""
        command = [sys.executable, "-m", "rota", "--app", app, "--db", self.url, *words]
        keep = {name: value for name, value in os.environ.items() if not name.startswith("ROTA_")}
        environment = {
            **keep,
            "SHOP_LEDGER": str(self._ledger),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)]),
        }
        with (self.folder / "log").open("ab") as log:
            options = {"stdout": log, "stderr": log, "cwd": REPOSITORY, "env": environment} | popen
            process = subprocess.Popen(command, **options)
        self.processes.append(process)
        return process

    async def workers(self, count: int, *words: str, app: str = "tests.e2e.shop:rota") -> list[subprocess.Popen[bytes]]:
        """Start workers with a lease of one second, and return when they have introduced themselves."""
        before = await self.introduced()
        plain = ("--lease", "1s", "--poll", "100ms", "--concurrency", "4")
        started = [self.start("worker", *plain, *words, app=app) for _ in range(count)]

        async def introduced() -> bool:
            """The workers have introduced themselves."""
            return len(await self.introduced() - before) >= count

        await until(introduced)
        return started

    async def introduced(self) -> set[str]:
        """Incarnations that the store knows."""
        return {row[0] for row in await self.look("SELECT incarnation FROM rota.worker WHERE kind = 'worker'")}

    def end_all(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait(PATIENCE_S)

    @property
    def log(self) -> str:
        """What the processes wrote on stdout and stderr."""
        return (self.folder / "log").read_text(errors="replace")

    # -- what happened -----------------------------------------------------------------------------

    @property
    def ledger(self) -> list[Line]:
        """What the handlers wrote so far."""
        if not self._ledger.exists():
            return []
        rows = [line.split(" ", 5) for line in self._ledger.read_text().splitlines()]
        return [Line(row[0], row[1], int(row[2]), int(row[3]), int(row[4]), row[5]) for row in rows]

    def lines(self, what: str) -> list[Line]:
        """The lines that say `start`, or `end`."""
        return [line for line in self.ledger if line.what == what]

    async def look(self, text: str, **values: object) -> list[tuple]:
        """Run a statement of the test's own, written as in the store's own queries."""
        store = await self.rota.opened()
        store.db.dictionary._compiled["look"] = store.db.dictionary.compile("look", text)
        return [tuple(row) for row in await store.write(lambda: query("look", **values))]

    async def count(self, text: str) -> int:
        """The one number that a statement answers."""
        return int((await self.look(text))[0][0])

    async def quiet(self) -> bool:
        """No one-off is left and nothing runs."""
        return await self.count("SELECT count(*) FROM rota.turn WHERE standing = 0 OR state = 'running'") == 0
