"""P-8: a SQLite file that eight write, while a reader keeps a snapshot, a shell locks it and writers are killed.

Four workers, four processes that enqueue one by one. Every call of theirs is noted with its outcome and how long it
took, in a ledger outside the store.

Always true: a caller may be told that the store is locked only after the time-out; acknowledged is what the ledger
says, done is what the store says.

Not here: file systems that lie (P-11), power that fails.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import apsw

from rota.errors import StoreUnavailable
from rota.store.sqlite import BUSY_MS
from tests.e2e import shop
from tests.e2e.fleet import REPOSITORY, Fleet, until
from tests.strain.report import Report, percentile
from tests.strain.stage import Size, Stage, fleet_on, opened

WORKERS, ENQUEUERS = 4, 4
SEED = 7
PLAIN_S = 5.0  # of work between the parts
READER_S: dict[Size, float] = {"short": 20, "plain": 60, "long": 300}
LOCKED_S: dict[Size, float] = {"short": 20, "plain": 20, "long": 20}  # twice the time-out of a caller
KILL_S = 2.0  # between two kills
WAL_MOST = 64 * 2**20  # bytes; the bound of C-20
SETTLE_S = 5.0  # of further work after the reader has left
DRAIN_S = 120.0

_LOCKER = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(60_000)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


class Call(NamedTuple):
    """One line of the ledger of those who enqueue: the run that was acknowledged, or the error."""

    at_s: float
    ms: float
    run: str
    error: str


async def _enqueue(url: str, ledger: Path) -> None:
    """A process that enqueues one by one until it is ended."""
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    async with opened(shop.rota, url):
        number = 0
        while True:
            number += 1
            began = time.monotonic()
            run, error = "-", "-"
            try:
                run = (await shop.plain.enqueue(number)).id
            except StoreUnavailable as unavailable:
                error = str(unavailable)
            ended = time.monotonic()
            os.write(file, f"{ended} {(ended - began) * 1000:.1f} {run} {error}\n".encode())


@dataclass(slots=True)
class Crew:
    """The eight, some of whom are killed now and then."""

    fleet: Fleet
    ledger: Path
    dice: random.Random
    crew: list[subprocess.Popen[bytes]] = field(default_factory=list)
    kills: int = 0
    ended: list[int] = field(default_factory=list)

    def start(self, place: int) -> subprocess.Popen[bytes]:
        """One of them."""
        if place < WORKERS:
            return self.fleet.start("worker", "--lease", "3s", "--poll", "100ms", "--concurrency", "8")
        command = [sys.executable, "-m", "tests.strain.file", self.fleet.url, self.ledger]
        with (self.fleet.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)
        self.fleet.processes.append(process)
        return process

    async def kill_now_and_then(self) -> None:
        """One after the other, for ever."""
        while True:
            await asyncio.sleep(KILL_S)
            place = self.dice.randrange(len(self.crew))
            self.look()
            self.crew[place].kill()
            await asyncio.to_thread(self.crew[place].wait)
            self.kills += 1
            self.crew[place] = self.start(place)

    def look(self) -> None:
        """Note who has ended unasked."""
        self.ended += [one.returncode for one in self.crew if one.poll() is not None]

    def calls(self) -> list[Call]:
        """What those who enqueue have noted."""
        rows = [line.split(" ", 3) for line in self.ledger.read_text().splitlines()]
        return [Call(float(row[0]), float(row[1]), row[2], row[3]) for row in rows if len(row) == 4]


class Log:
    """The write-ahead log beside the file, and the largest it was."""

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}-wal")
        self.most = 0

    def now(self) -> int:
        """Its length in bytes."""
        with suppress(FileNotFoundError):
            return self._path.stat().st_size
        return 0

    async def watch(self, seconds: float) -> int:
        """The largest over a while."""
        ends_at = time.monotonic() + seconds
        most = 0
        while time.monotonic() < ends_at:
            most = max(most, self.now())
            await asyncio.sleep(0.1)
        self.most = max(self.most, most)
        return most


@asynccontextmanager
async def _held_by_a_shell(path: Path) -> AsyncIterator[None]:
    """Another program has the file for itself."""
    pipe = subprocess.PIPE
    shell = await asyncio.create_subprocess_exec(sys.executable, "-c", _LOCKER, path, stdin=pipe, stdout=pipe)
    assert shell.stdout is not None
    assert await shell.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        await shell.communicate(b"")  # the end of its input lets it go


async def _play(stage: Stage, report: Report) -> None:
    folder = stage.new_folder()
    path = folder / "strain.db"
    log = Log(path)
    async with fleet_on(shop.rota, f"sqlite:///{path}", folder) as fleet:
        crew = Crew(fleet, folder / "calls", random.Random(SEED))
        crew.crew = [crew.start(place) for place in range(WORKERS + ENQUEUERS)]
        await until(lambda: crew.ledger.exists() and len(crew.calls()) > 100)
        killer = asyncio.create_task(crew.kill_now_and_then())
        plain = await log.watch(PLAIN_S)
        reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        reader.execute("BEGIN; SELECT count(*) FROM rota_turn").fetchall()
        behind = await log.watch(READER_S[stage.size])
        reader.execute("COMMIT")
        reader.close()
        await asyncio.sleep(SETTLE_S)
        after = log.now()
        killer.cancel()
        await asyncio.gather(killer, return_exceptions=True)
        locked_at = time.monotonic()
        async with _held_by_a_shell(path):
            await asyncio.sleep(LOCKED_S[stage.size])
        locked_until = time.monotonic()
        await log.watch(PLAIN_S)
        crew.look()
        for one in crew.crew[WORKERS:]:
            one.kill()
            one.wait()
        await until(fleet.quiet, DRAIN_S)
        for one in crew.crew[:WORKERS]:
            one.send_signal(signal.SIGTERM)
        codes = [await asyncio.to_thread(one.wait, 60) for one in crew.crew[:WORKERS]]
        report.say(
            "log",
            f"at most {plain / 2**20:.0f} MB before, {behind / 2**20:.0f} MB behind the reader,"
            f" {after / 2**20:.0f} MB {SETTLE_S:.0f} s after it left (bound {WAL_MOST / 2**20:.0f})",
            wal=[plain, behind, after],
        )
        report.hold(after <= WAL_MOST, f"the log has {after / 2**20:.0f} MB {SETTLE_S:.0f} s after the reader left")
        report.hold(not crew.ended, f"processes that ended unasked: {crew.ended}")
        report.hold(codes == [0] * WORKERS, f"workers that were told to leave ended with {codes}")
        _judge_calls(report, crew, (locked_at, locked_until))
        await _judge_store(report, fleet, crew)
    _integrity(report, path)


def _judge_calls(report: Report, crew: Crew, locked: tuple[float, float]) -> None:
    calls = crew.calls()
    errors = [call for call in calls if call.error != "-"]
    early = [call for call in errors if call.ms < 0.95 * BUSY_MS]
    inside = [call for call in calls if locked[0] <= call.at_s <= locked[1] + BUSY_MS / 1000]
    slowest = max((call.ms for call in calls if call not in inside), default=0.0)
    report.say(
        "calls",
        f"{len(calls):,} by {ENQUEUERS} processes, p99 {percentile([call.ms for call in calls], 0.99):.0f} ms,"
        f" slowest outside the lock {slowest:,.0f} ms",
        calls=len(calls),
    )
    report.say(
        "locked",
        f"{len(errors)} told, after {min((call.ms for call in errors), default=0) / 1000:.1f} s or more,"
        f" {len(early)} of {len(calls):,} within the time-out of {BUSY_MS / 1000:.0f} s",
        early=[call.error for call in early[:5]],
    )
    report.hold(not early, f"{len(early)} calls failed within the time-out: {early[:3]}")


async def _judge_store(report: Report, fleet: Fleet, crew: Crew) -> None:
    acknowledged = {call.run for call in crew.calls() if call.run != "-"}
    ends = Counter(
        f"{turn}-{run}"
        for turn, run in await fleet.look("SELECT turn, run FROM rota.journal WHERE outcome IN ('succeeded', 'dead')")
    )
    twice = [run for run, count in ends.items() if count > 1]
    missing = acknowledged - ends.keys()
    lost = await fleet.count("SELECT count(*) FROM rota.journal WHERE outcome = 'lost'")
    starts = Counter(line.run for line in fleet.lines("start"))
    extra = sum(starts.values()) - len(starts)
    report.say(
        "runs",
        f"{len(acknowledged):,} acknowledged, {len(ends):,} ended, {len(missing)} missing, {len(twice)} ended twice",
        acknowledged=len(acknowledged),
        ended=len(ends),
    )
    report.say("kills", f"{crew.kills}, seed {SEED}; leases lost {lost}, extra starts {extra}", kills=crew.kills)
    report.hold(not missing, f"{len(missing)} acknowledged runs are nowhere: {sorted(missing)[:5]}")
    report.hold(not twice, f"ended twice: {twice[:5]}")
    report.hold(extra <= lost, f"{extra} extra starts with {lost} leases lost")


def _integrity(report: Report, path: Path) -> None:
    connection = apsw.Connection(str(path))
    answers = [row[0] for row in connection.execute("PRAGMA integrity_check").fetchall()]
    connection.close()
    report.say("integrity", f"{', '.join(answers[:3])} after all of it")
    report.hold(answers == ["ok"], f"integrity_check: {answers[:5]}")


def run(stage: Stage) -> Report:
    """Let them write."""
    report = Report(scenario="P-8", title="one file, eight writers", store="sqlite", form=stage.size)
    asyncio.run(_play(stage, report))
    return report


if __name__ == "__main__":
    asyncio.run(_enqueue(sys.argv[1], Path(sys.argv[2])))
