"""C-5: the line between a worker and the database is cut without a word: both ways, one way, half-open, flapping.

One worker works behind a proxy that stops carrying bytes; another one goes straight to the database and takes over.

Always true: nobody is told of the cut, no connection is reset by it; the lease is the plain one, as the library's own
time-outs are made for that.

Not here: connections that are ended (C-3, C-4), frozen processes (C-2).
"""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from itertools import pairwise
from urllib.parse import urlsplit

from tests.chaos import judge
from tests.chaos.fleet import Fleet, Process, fleet_of, until
from tests.chaos.harms import TARGET, on, steady
from tests.chaos.ledger import Line
from tests.chaos.proxy import Direction, Proxy
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import PLACES, Scenario, Stage

LEASE_S = 15.0  # the plain one
CUTS = ("both ways", "to the server", "to the client", "half-open", "flapping")
LEASES = (0.5, 3.0)  # how long a cut lasts
FLAP_S = 3.0
WAITING = 2 * PLACES  # runs kept waiting
STAY_MS = (1_000, 25_000)  # a run: some outlast a lease
SEEN_S = 15.0  # wished for: until the worker knows of the cut
LOOK_S = 0.2


async def play(stage: Stage) -> Tally:
    """One cut after the other, each healed, until the time is over."""
    tally = Tally()
    with ExitStack() as stack:
        async with fleet_of(stage) as fleet, on(fleet.url):
            parts = urlsplit(fleet.url)
            proxy = stack.enter_context(Proxy(int(parts.port or 0), seed=stage.seed))
            cut_off = await _worker(fleet, proxy.url(parts.path[1:]))
            straight = await _worker(fleet, fleet.url)
            load = asyncio.create_task(_load(stage, fleet))
            deadline = time.monotonic() + stage.seconds
            seen: list[tuple[float, float, str]] = []
            kinds = list(CUTS)
            while not seen or time.monotonic() < deadline:
                if not tally.counts["cuts"] % len(kinds):
                    stage.dice.shuffle(kinds)
                kind = kinds[tally.counts["cuts"] % len(kinds)]
                seen.append(await _cut(stage, fleet, proxy, kind))
                tally.counts["cuts"] += 1
                tally.counts[f"cut {kind}"] += 1
                await _works_again(fleet, cut_off)
            load.cancel()
            with suppress(asyncio.CancelledError):
                await load
            await until(lambda: _nothing_left(fleet), 4 * LEASE_S)
            _judge_worker(fleet, tally, cut_off, seen)
            what = "workers with the same process as before"
            alive = cut_off.alive + straight.alive
            tally.check(Check(name="G-24", what=what, happened=alive, of=2, allowed=2, rule="exactly"))
            await fleet.settled()
            tally.add(judge.judged(await judge.facts_of(fleet)))
    return tally


async def _worker(fleet: Fleet, url: str) -> Process:
    fleet.front, front = url, fleet.front
    words = ["--lease", f"{LEASE_S:.0f}s", "--poll", "200ms", "--concurrency", str(PLACES)]
    worker = fleet.start("worker", *words, env={"ROTA_LOG": "json"}, target=TARGET)
    fleet.front = front
    await fleet.introduced(worker)
    return worker


async def _load(stage: Stage, fleet: Fleet) -> None:
    """Keep runs waiting, for ever."""
    while True:
        missing = WAITING - await fleet.backlog()
        if missing > 0:
            handles = await steady.enqueue_many([(n, stage.dice.randint(*STAY_MS)) for n in range(missing)])
            for handle in handles:
                fleet.ledger.answer("acknowledged", handle.id, handle.id)
        await asyncio.sleep(LOOK_S)


async def _cut(stage: Stage, fleet: Fleet, proxy: Proxy, kind: str) -> tuple[float, float, str]:
    """Cut the line and heal it; when it began and ended, on the wall clock."""
    lasts_s, began = LEASE_S * stage.dice.uniform(*LEASES), time.time()
    if kind == "flapping":
        while time.time() - began < lasts_s:
            proxy.freeze()
            await asyncio.sleep(FLAP_S)
            proxy.thaw()
            await asyncio.sleep(FLAP_S)
    elif kind == "half-open":
        proxy.half_close()
        proxy.freeze("to_client")
        await asyncio.sleep(lasts_s)
    else:
        ways: dict[str, Sequence[Direction]] = {"to the server": ["to_server"], "to the client": ["to_client"]}
        proxy.freeze(*ways.get(kind, ()))
        await asyncio.sleep(lasts_s)
    proxy.thaw()
    return began, time.time(), kind


async def _works_again(fleet: Fleet, worker: Process) -> None:
    place = len(fleet.ledger.lines())
    await until(lambda: any(line.pid == worker.pid for line in fleet.new_since(place)), 4 * LEASE_S)


async def _nothing_left(fleet: Fleet) -> bool:
    """Every run has ended."""
    return not (await fleet.look("SELECT count(*) FROM rota.turn WHERE standing = 0"))[0][0]


def _judge_worker(fleet: Fleet, tally: Tally, worker: Process, cuts: Sequence[tuple[float, float, str]]) -> None:
    """What the worker that was cut off did: whether its handlers had ended before others began, and when it knew."""
    taken_over, overlaps = 0, []
    for lines in _by_run(fleet).values():
        for before, after in _takeovers(lines):
            taken_over += 1
            if before is None or before.at_ns > after.at_ns:
                late_s = 0.0 if before is None else (before.at_ns - after.at_ns) / 1e9
                overlaps.append(late_s)
    tally.counts["taken over"] = taken_over
    tally.sample("overlap", overlaps)
    what = "handlers that went on when another worker had begun the run"
    tally.check(
        Check(
            name="G-24",
            what=what,
            happened=len(overlaps),
            of=taken_over,
            example=f"by {max(overlaps, default=0):.1f} s",
        )
    )
    told = [at for at, event in _events(worker) if event in {"store.lost", "run.released"}]
    for began, ended, kind in cuts:
        if kind != "flapping" and ended - began > SEEN_S:
            first = min((at - began for at in told if began <= at <= ended + SEEN_S), default=ended - began + SEEN_S)
            tally.sample("seen", [first])


def _by_run(fleet: Fleet) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in fleet.ledger.lines():
        found.setdefault(line.run, []).append(line)
    return found


def _takeovers(lines: Sequence[Line]) -> Iterator[tuple[Line | None, Line]]:
    """The last word of each attempt (None where it has none), and the start of the next one elsewhere."""
    starts = [line for line in lines if line.what == "start"]
    for start, following in pairwise(starts):
        if start.pid != following.pid:
            words = [line for line in lines if line.attempt == start.attempt and line.what != "start"]
            yield (words[-1] if words else None), following


def _events(worker: Process) -> Iterator[tuple[float, str]]:
    for line in worker.log.splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            yield datetime.fromisoformat(said["at"]).timestamp(), said.get("event") or ""


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    kinds = "  ".join(f"{kind} {counts[f'cut {kind}']}" for kind in CUTS)
    overlap = spread(tally.samples.get("overlap", []))
    return [
        *judge.shared_rows(tally),
        ("cuts", f"{counts['cuts']} ({kinds})   of {LEASES[0]:g} to {LEASES[1]:g} leases of {LEASE_S:g} s"),
        (
            "taken over",
            f"{counts['taken over']}   while the old handler went on {overlap.count}, for {overlap.max:.1f} s at most",
        ),
        ("seen", f"{spread(tally.samples.get('seen', [])).words()}   until the worker knew"),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    slowest, overlap = spread(tally.samples.get("seen", [])).max, spread(tally.samples.get("overlap", []))
    return [
        Figure("detection without a reset", f"≤ {SEEN_S:g} s", f"{slowest:.1f} s", slowest <= SEEN_S),
        Figure(
            "handlers cancelled before their lease ends",
            "all",
            f"all but {overlap.count} of {tally.counts['taken over']}",
            not overlap.count,
        ),
    ]


SCENARIO = Scenario(
    name="C-5",
    title="partitions",
    short_s=40,
    long_s=600,
    play=play,
    rows=rows,
    figures=figures,
    stores=("postgres",),
)
