"""P-2: another session holds an old snapshot while work goes on; a claim costs no more at the end than at the start.

The dead rows of the work pile up behind the snapshot, and index scans meet them. An engine in this process works, so
that its own transactions can be timed; the snapshot is held by a session of its own.

Always true: a claim's time is that of its whole transaction, as the engine makes it.

Not here: the long form of thirty minutes at the plain rate; here the rate is higher and the time shorter, so that the
same number of dead rows comes together.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from rota import Rota
from rota.cli import checks
from rota.cli.session import Manner, Session
from rota.settings import Settings
from rota.store.store import Store
from tests.strain.report import Report, percentile
from tests.strain.stage import Size, Stage, opened

HELD_S: dict[Size, float] = {"short": 20, "plain": 180, "long": 900}
RATE = 1_000  # one-offs a second, twice what is asked for
BEFORE_S = 15.0  # of work before the snapshot is taken
AFTER_S = 60.0  # within which a claim must cost again what it did
WINDOW_S = 10.0  # of which a percentile is taken
BEAT_S = 0.05  # between two helpings of one-offs
TIMES = 3  # how much more a claim may cost at the end
LEAST_MS = 5.0  # below this a p99 is the machine's noise: others run on the same cores

rota = Rota(name="strain")


@rota.job(journal="failures")
async def nothing(number: int) -> None:
    """Take no time."""


@dataclass(slots=True)
class Timed:
    """How long the engine's transactions take, each with the instant of its end."""

    claims: list[tuple[float, float]] = field(default_factory=list)
    reads: list[tuple[float, float]] = field(default_factory=list)

    def onto(self, store: Store) -> None:
        """Time every claim and every look of a store."""
        store.db.write = self._timed(store.db.write, self.claims, gated=True)  # type: ignore[method-assign]
        store.db.read = self._timed(store.db.read, self.reads, gated=False)  # type: ignore[method-assign]

    def _timed(self, call: Callable[..., Any], into: list[tuple[float, float]], *, gated: bool) -> Callable[..., Any]:
        async def timed(make: Any, **how: Any) -> Any:
            began = time.monotonic()
            answer = await call(make, **how)
            if not gated or how.get("gate") == "shared":
                ended = time.monotonic()
                into.append((ended, (ended - began) * 1000))
            return answer

        return timed


def p99(taken: list[tuple[float, float]], since: float, until: float) -> float:
    """In ms, of what ended in between."""
    return percentile([ms for at, ms in taken if since <= at < until], 0.99)


def p50(taken: list[tuple[float, float]], since: float, until: float) -> float:
    """The same of the middle one."""
    return percentile([ms for at, ms in taken if since <= at < until], 0.5)


async def _feed() -> None:
    share = int(RATE * BEAT_S)
    began, helpings = time.monotonic(), 0
    while True:
        await nothing.enqueue_many(range(share))
        helpings += 1
        await asyncio.sleep(max(0.0, began + helpings * BEAT_S - time.monotonic()))


async def _play(url: str, report: Report, held_s: float) -> None:
    timed = Timed()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(opened(rota, url))
        store = await rota.opened()
        timed.onto(store)
        tasks = [asyncio.create_task(rota.work(concurrency=64)), asyncio.create_task(_feed())]
        await asyncio.sleep(BEFORE_S)
        holder = await asyncpg.connect(url, server_settings={"application_name": "old report"})
        await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM rota.turn LIMIT 1")
        began = time.monotonic()
        await asyncio.sleep(held_s)
        named = await _named()
        dead = await holder.fetchval("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'turn'")
        ended = time.monotonic()
        await holder.close()
        await asyncio.sleep(min(held_s, AFTER_S))
        over = time.monotonic()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left, journal = await _left(url)
    _judge(report, timed, (began, ended, over))
    report.say("dead rows", f"{dead:,} of the turn table behind the snapshot, by the server's count", dead=dead)
    report.say("doctor", named[0] if named else "does not name the session")
    report.say("left", f"{left:,} turns waited when the work was ended, {journal} rows of failures")
    report.hold(any("old report" in text for text in named), "`rota doctor` does not name the session")
    report.hold(left < RATE * 2, f"{left} turns waited: the engine did not keep up with {RATE}/s")


def _judge(report: Report, timed: Timed, marks: tuple[float, float, float]) -> None:
    began, ended, over = marks
    start = p99(timed.claims, began - WINDOW_S, began)
    last = p99(timed.claims, ended - WINDOW_S, ended)
    after = p99(timed.claims, over - WINDOW_S, over)
    windows = [(at - WINDOW_S, at) for at in marks]
    halves = [p50(timed.claims, *window) for window in windows]
    looks = [p99(timed.reads, *window) for window in windows]
    report.say(
        "claim p99",
        f"{start:.1f} ms before, {last:.1f} ms after {ended - began:.0f} s, {after:.1f} ms"
        f" {over - ended:.0f} s after its end",
        claim_p99_ms=[start, last, after],
    )
    report.say(
        "claim p50",
        f"{halves[0]:.1f} ms before, {halves[1]:.1f} ms at the end, {halves[2]:.1f} ms after",
        claim_p50_ms=halves,
    )
    report.say("look p99", f"{looks[0]:.1f} ms before, {looks[1]:.1f} ms at the end")
    report.say("rate", f"{RATE}/s, {len(timed.claims):,} claims")
    report.hold(last <= TIMES * max(start, LEAST_MS), f"a claim's p99 went from {start:.1f} to {last:.1f} ms")
    report.hold(
        after <= TIMES * max(start, LEAST_MS),
        f"a claim's p99 is {after:.1f} ms {over - ended:.0f} s after, {start:.1f} before",
    )


async def _left(url: str) -> tuple[int, int]:
    view = await asyncpg.connect(url)
    left = await view.fetchval("SELECT count(*) FROM rota.turn")
    journal = await view.fetchval("SELECT count(*) FROM rota.journal")
    await view.close()
    return left, journal


async def _named() -> list[str]:
    """What `rota doctor` says of sessions, with a snapshot counting as old after ten seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "OLD_SNAPSHOT_MS", 10_000)
        found = await checks.pooler(Session(Manner(), Settings()), await rota.opened())
    return [one.text for one in found if one.check == "snapshots"]


def run(stage: Stage) -> Report:
    """Hold a snapshot under load."""
    report = Report(scenario="P-2", title="an old snapshot", store="postgresql", form=stage.size)
    server = stage.shared
    asyncio.run(_play(server.url(server.fresh_database()), report, HELD_S[stage.size]))
    return report
