"""The system under test: a store of its own, real workers and ticks on it, clients, and a look at its tables.

Always true: only what was started here is signalled, each by its own pid, and none outlives the fleet; the tables are
read past the library, with the driver alone; waiting asks for a condition and has an end.

Not here: which faults are made when (the scenarios), what must hold (judge), the handlers (app).
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import asyncpg

from rota.errors import StoreUnavailable
from tests.chaos import app
from tests.chaos.clients import Clients
from tests.chaos.ledger import FILE, Ledger, Line
from tests.chaos.scenario import CREW, LEASE_S, PLACES, POLL_S, Stage
from tests.servers import PostgresServer

REPOSITORY = Path(__file__).resolve().parents[2]
PATH = os.pathsep.join([*filter(None, sys.path), str(REPOSITORY)])  # a process loads the library that the harness did
PATIENCE_S = 60.0  # until a condition must hold: a bound on a hang, not a promise
LOOK_S = 0.02  # between two looks
FEW = 4  # requests at once while the store is away
APP = "tests.chaos.app:rota"
EFFECTS = f"CREATE TABLE {app.EFFECT} (run text NOT NULL, attempt integer NOT NULL, pid integer NOT NULL)"
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, StoreUnavailable, apsw.BusyError)


class NotInTime(Exception):
    """A condition did not hold in time."""


async def until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> float:
    """Return when the condition holds, and how long that took; a store that is away is looked at again."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(*AWAY):
            holds = condition()
            if isinstance(holds, Awaitable):
                holds = await holds
            if holds:
                return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise NotInTime(f"not within {seconds} s: {condition.__doc__ or condition!r}")
        await asyncio.sleep(LOOK_S)


class Process:
    """One process of the system under test."""

    def __init__(self, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.log_path = log
        self.incarnation = ""
        self.began_s = time.monotonic()
        self.ended_s = 0.0
        self.thawed_ns = 0

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.popen.poll() is None

    @property
    def log(self) -> str:
        """What it wrote on stdout and stderr."""
        return self.log_path.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended gets none."""
        if self.alive:
            self.thawed_ns = time.monotonic_ns() if number == signal.SIGCONT else self.thawed_ns
            self.popen.send_signal(number)

    async def ended(self, seconds: float = PATIENCE_S) -> int:
        """Wait until it has ended; its exit code."""
        await until(lambda: not self.alive, seconds)
        self.ended_s = time.monotonic()
        return int(self.popen.returncode)


class Fleet:
    """Processes on one store, and the harness's own application and eyes on it."""

    def __init__(self, stage: Stage, url: str, server: PostgresServer | None) -> None:
        self.stage = stage
        self.url = url  # the store itself
        self.front = url  # what processes and clients are told: a scenario may put a proxy there before `opened`
        self.server = server
        self.ledger = Ledger(stage.folder)
        self.clients = Clients(self.ledger, stage.dice)
        self.processes: list[Process] = []
        self.incarnations: dict[str, int] = {}  # of every worker that was seen, with its pid
        self.environment: dict[str, str] = {}  # for every process started from here on
        self.lease_s = LEASE_S
        self.left = ""  # what had not healed when it should have
        self._eyes: asyncpg.Connection | apsw.Connection | None = None
        self._looking = asyncio.Lock()

    # -- processes ---------------------------------------------------------------------------------

    def start(
        self, *words: str, under: Sequence[str] = (), env: Mapping[str, str] | None = None, target: str = APP
    ) -> Process:
        """Start `rota` with these words, `under` a program such as faketime, with more in its environment."""
        command = [*under, sys.executable, "-m", "rota", "--app", target, "--db", self.front, *words]
        keep = {name: value for name, value in os.environ.items() if not name.startswith("ROTA_")}
        environment = {**keep, FILE: str(self.ledger.path), "PYTHONPATH": PATH, **self.environment, **(env or {})}
        log = self.stage.folder / f"log-{len(self.processes):04}"
        with log.open("wb") as file:
            popen = subprocess.Popen(command, stdout=file, stderr=file, cwd=REPOSITORY, env=environment)
        process = Process(popen, log)
        self.processes.append(process)
        return process

    def worker(self, *words: str, under: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Process:
        """Start a worker with the lease and the places of these scenarios."""
        plain = ["--lease", f"{int(self.lease_s * 1000)}ms", "--poll", f"{int(POLL_S * 1000)}ms"]
        plain += ["--concurrency", str(PLACES)]
        return self.start("worker", *plain, *words, under=under, env=env)

    async def workers(self, count: int = CREW, *words: str) -> list[Process]:
        """Start workers, and return when they have introduced themselves."""
        started = [self.worker(*words) for _ in range(count)]
        for one in started:
            await self.introduced(one)
        return started

    async def introduced(self, process: Process) -> None:
        """Wait until a worker has introduced itself; its incarnation is known then."""

        async def seen() -> bool:
            """The worker has introduced itself."""
            await self.meet()
            if not process.alive:
                raise NotInTime(f"a worker ended at once with {process.popen.returncode}:\n{process.log}")
            found = [name for name, pid in self.incarnations.items() if pid == process.pid]
            process.incarnation = found[-1] if found else ""
            return bool(found)

        await until(seen)

    async def meet(self) -> None:
        """Note the incarnations that the store knows, with their process ids."""
        for incarnation, name in await self.look("SELECT incarnation, name FROM rota.worker"):
            self.incarnations[incarnation] = int(name.rsplit(":", 1)[1])

    async def held(self, process: Process) -> list[tuple[str, int]]:
        """The runs (id, attempt) that the store says a worker holds."""
        text = f"SELECT id, run, attempt FROM rota.turn WHERE state = 'running' AND worker = '{process.incarnation}'"
        return [(f"{turn}-{run}", attempt) for turn, run, attempt in await self.look(text)]

    def end_all(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.alive:
                process.popen.send_signal(signal.SIGKILL)
                process.popen.wait(PATIENCE_S)

    # -- load --------------------------------------------------------------------------------------

    async def backlog(self) -> int:
        """One-offs that wait and are due."""
        return int((await self.look("SELECT count(*) FROM rota.turn WHERE standing = 0 AND state = 'waiting'"))[0][0])

    def load(self, target: int = 2 * CREW * PLACES) -> None:
        """Let the clients keep about so many runs waiting."""

        async def missing() -> int:
            """How many more are to be enqueued; a few while nobody can tell."""
            try:
                return target - await self.backlog()
            except AWAY:
                return FEW

        self.clients.keep_up(missing)

    async def members(self, count: int) -> None:
        """Shops that are visited every few seconds."""
        await app.shops.join_many([f"s{number}" for number in range(count)])

    def new_since(self, place: int, what: str = "start") -> list[Line]:
        """The ledger's lines from a place on."""
        return list(self.ledger.of(what, since=place))

    async def turned_over(self, starts: int) -> None:
        """Wait until so many more handlers have started."""
        seen = len(self.ledger.lines())
        await until(lambda: len(self.new_since(seen)) >= starts)

    async def healed(self, seconds: float = PATIENCE_S) -> float:
        """Wait until no one-off is left and no visit is late; how long that took. What is left then, is in `left`."""

        async def nothing_owed() -> bool:
            """No one-off is left and no member is late."""
            text = "SELECT count(*) FROM rota.turn WHERE standing = 0 OR due_at < {now} - 1000 AND state = 'waiting'"
            return (await self.look(text.replace("{now}", self.now)))[0][0] == 0

        try:
            return await until(nothing_owed, seconds)
        except NotInTime:
            due = f"min(due_at) - {self.now}, max(due_at) - {self.now}"
            text = f"SELECT job, state, paused, count(*), {due} FROM rota.turn GROUP BY job, state, paused"
            self.left = f"left (job, state, paused, count, due in ms from … to …): {await self.look(text)}"
            return seconds

    async def settled(self) -> None:
        """Pause what recurs, let what runs end, and tell every worker to leave."""
        await app.rota.pause(job="visit", reason="the scenario is over", by="chaos")

        async def nothing_runs() -> bool:
            """Nothing runs."""
            return (await self.look("SELECT count(*) FROM rota.turn WHERE state = 'running'"))[0][0] == 0

        if not self.left:
            await until(nothing_runs)
        await self.meet()
        for process in self.processes:
            process.send(signal.SIGCONT)
            process.send(signal.SIGTERM)
        for process in self.processes:
            if process.alive:
                await process.ended()

    # -- eyes --------------------------------------------------------------------------------------

    @property
    def now(self) -> str:
        """The store's clock as an expression, in ms."""
        if self.server is not None:
            return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
        return "CAST(unixepoch('subsec') * 1000 AS integer)"

    async def look(self, text: str) -> list[tuple]:
        """The rows of a statement on the tables, as `rota.turn` on both stores, read with the driver alone."""
        if self.server is None:
            return list(self._sqlite().execute(text.replace("rota.", "rota_")).fetchall())
        async with self._looking:
            if self._eyes is None or self._eyes.is_closed():
                self._eyes = await asyncpg.connect(self.url, timeout=5)
            return [tuple(row) for row in await self._eyes.fetch(text, timeout=30)]

    def _sqlite(self) -> apsw.Connection:
        if self._eyes is None:
            self._eyes = apsw.Connection(self.url.removeprefix("sqlite:///"))
            self._eyes.set_busy_timeout(10_000)
        return self._eyes

    async def close_eyes(self) -> None:
        """Give the harness's own connection back."""
        if isinstance(self._eyes, asyncpg.Connection):
            self._eyes.terminate()
        elif self._eyes is not None:
            self._eyes.close()
        self._eyes = None


@asynccontextmanager
async def fleet_of(
    stage: Stage, *, make: Callable[[], PostgresServer] = PostgresServer, front: Callable[[str], str] | None = None
) -> AsyncIterator[Fleet]:
    """A fleet on an empty store of the stage's kind: `make` another kind of server, `front` is where all find it."""
    server = None
    if stage.store == "postgres":
        server = make()
        server.start()
        url = server.url(server.fresh_database())
    else:
        url = f"sqlite:///{stage.folder / 'chaos.db'}"
    fleet = Fleet(stage, url, server)
    fleet.front = front(url) if front is not None else url
    try:
        with app.rota.put_on(fleet.front, app.rota.clock):
            await app.rota.opened()
            await fleet.look(EFFECTS)
            try:
                yield fleet
            finally:
                await fleet.clients.drop()
                fleet.end_all()
                await app.rota.close()
    finally:
        await fleet.close_eyes()
        if server is not None:
            server.close()
