"""What needs somebody, by cause, worst first.

Always true: many members with one cause are one line; what is paused is not behind.

Not here: counting members (freshness), the verdict (status).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from rota.define.units import MINUTE_MS, SECOND_MS, instant_ms
from rota.insight import tallies
from rota.insight.limits import Cooldown, LimitView, cooldowns, limits
from rota.insight.tallies import MOST_GROUPS, Counted
from rota.insight.words import about, clock, many, short
from rota.store.pauses import Pause
from rota.store.port import Op, query
from rota.store.reads import JobCount, JobRow, StaleGroup, WorkerRow
from rota.store.store import Store

LONG_MS: Final = 10 * MINUTE_MS  # a limit that is full, or a scope that cools, for longer than this needs somebody


@dataclass(frozen=True, slots=True)
class Matter:
    """One line: what and since when, and how many.

    The kinds are clock, worker, stale, dead, held, limit, cooling, pause and unknown.
    """

    kind: str
    text: str
    count: int

    def as_json(self) -> dict[str, object]:
        """The entry of `rota.status/1`."""
        return {"kind": self.kind, "text": self.text, "count": self.count}


class Found(NamedTuple):
    """The lines, the number of causes for which members are stale, and what waits and needs nobody yet."""

    matters: tuple[Matter, ...]
    reasons: int
    waiting: tuple[Matter, ...]


class Seen(NamedTuple):
    """What was read before: the instant, the jobs that this release has or that have turns, the figures of all jobs."""

    now_ms: int
    jobs: Sequence[JobRow]
    pauses: Mapping[tuple[str, str], Pause]
    workers: Sequence[WorkerRow]
    counted: Mapping[str, Counted]


class _Groups(NamedTuple):
    stale: list[StaleGroup]
    dead: list[tuple[JobCount, int, str]]  # with when the newest died, and of what
    held: list[tuple[JobCount, str | None]]  # with why the first is held
    pauses: list[Pause]
    messages: dict[tuple[str, str], str]


async def matters(store: Store, seen: Seen) -> Found:
    """Everything that needs somebody at this instant."""
    now_ms, jobs, held, workers, counted = seen
    stopped = ("all", "*") in held
    going = [
        job.name
        for job in jobs
        if not stopped and ("job", job.name) not in held and ("roster", job.roster or "") not in held
    ]
    groups = await store.read(lambda: _groups(going, counted))
    back = await _held_back(store, now_ms, {job.name for job in jobs} - set(going))
    lines = [
        *(
            [Matter("clock", "The clock of this machine has leapt and is not believed yet.", 1)]
            if store.clock.suspect
            else []
        ),
        *_lost(workers, now_ms),
        *[_stale(group, groups.messages, now_ms) for group in groups.stale],
        *[_dead(*group, now_ms) for group in groups.dead],
        *[_held(*group) for group in groups.held],
        *[matter for matter, long in back if long],
        *[_paused(pause, now_ms) for pause in groups.pauses],
        *_unknown(store, jobs),
    ]
    causes = {(group.error or group.job) for group in groups.stale if group.roster is not None}
    return Found(tuple(lines), max(1, len(causes)), tuple(matter for matter, long in back if not long))


def _groups(going: Sequence[str], counted: Mapping[str, Counted]) -> Op[_Groups]:
    stale: list[StaleGroup] = []
    for job in going:
        if job in counted:
            stale += yield from tallies.stale(counted[job])
    stale = sorted(stale, key=tallies.most_first)[:MOST_GROUPS]
    figures = {job: one.figures for job, one in counted.items()}
    newest = yield from query("dead_newest", [(job,) for job, one in figures.items() if one.dead])
    reasons = yield from query("held_reasons", [(job,) for job, one in figures.items() if one.held])
    dead = sorted(((figures[job], at, why) for job, at, why in newest), key=lambda one: -one[0].dead)
    held = sorted(((figures[job], why) for job, why in reasons), key=lambda one: -one[0].held)
    long = [Pause(*row) for row in (yield from query("long_pauses", most=MOST_GROUPS))]
    causes = [(group.job, group.error) for group in stale if group.error is not None]
    named = yield from query("errors_named", causes)
    messages = {(row[0], row[1]): f"{row[2]}: {row[3]}" for row in named}
    return _Groups(stale, dead[:MOST_GROUPS], held[:MOST_GROUPS], long, messages)


def _stale(group: StaleGroup, messages: Mapping[tuple[str, str], str], now_ms: int) -> Matter:
    since = f"since {clock(group.since, now_ms)}"
    why = messages.get((group.job, group.error or ""))
    cause = short(why) if why else "not run"
    if group.roster is None:
        return Matter("stale", f"{group.job} is stale: {cause} {since}", group.turns)
    turns = f"{'at least ' if group.more else ''}{group.turns:,}"
    return Matter("stale", f"{turns} of {group.roster} stale: {group.job}, {cause} {since}", group.turns)


def _dead(count: JobCount, newest_at: int, reason: str, now_ms: int) -> Matter:
    what = many(count.dead, "dead letter", "dead letters")
    return Matter("dead", f"{what} of {count.job}, the newest {clock(newest_at, now_ms)}: {short(reason)}", count.dead)


def _held(count: JobCount, reason: str | None) -> Matter:
    why = f": {short(reason)}" if reason else ""
    return Matter("held", f"{many(count.held, 'turn', 'turns')} of {count.job} on hold{why}", count.held)


async def _held_back(store: Store, now_ms: int, paused: set[str]) -> list[tuple[Matter, bool]]:
    """What waits for limits and scopes, and whether that lasts long; jobs that are paused wait for their resume."""
    cooling = [one for one in await cooldowns(store) if not _at_rest(one.jobs, paused)]
    hot = {one.scope for one in cooling}
    found: list[tuple[Matter, bool]] = []
    for view in await limits(store):
        if view.waiting and not _at_rest(view.jobs, paused) and not (view.bucket in hot and view.cooling_until):
            text = f"{view.waiting:,} waiting: limit {_limit(view, now_ms)}"
            found.append((Matter("limit", text, view.waiting), _long(view.waiting_since, view.clears_at, now_ms)))
    for one in cooling:
        if one.waiting or one.state != "half-open":  # else nobody wants it
            long = one.state == "cooling" and _long(one.since, one.until, now_ms)
            found.append((Matter("cooling", _cooling(one, now_ms), max(1, one.waiting)), long))
    return found


def _at_rest(jobs: Sequence[str], paused: set[str]) -> bool:
    return bool(jobs) and paused.issuperset(jobs)


def _long(since: datetime | None, until: datetime | None, now_ms: int) -> bool:
    """Whether it has lasted, or will last, longer than one leaves it alone."""
    lasted = since is not None and now_ms - instant_ms(since) > LONG_MS
    return lasted or (until is not None and instant_ms(until) - now_ms > LONG_MS)


def _limit(view: LimitView, now_ms: int) -> str:
    full_ms = 0 if view.waiting_since is None else now_ms - instant_ms(view.waiting_since)
    rated = "" if view.rate is None else f" {view.rate}"
    full = f", full for {about(full_ms)}" if full_ms >= SECOND_MS else ""
    clears = "" if view.clears_at is None else f", clears about {clock(instant_ms(view.clears_at), now_ms)}"
    return f"{view.bucket}{rated}{full}{clears}"


def _cooling(one: Cooldown, now_ms: int) -> str:
    until = f"cools until {clock(instant_ms(one.until), now_ms)}"
    doing = {"cooling": until, "half-open": "has cooled, the next run tries it"}.get(one.state, "is being tried")
    waits = f"{one.waiting:,} waiting: " if one.waiting else ""
    return f"{waits}scope {one.scope} {doing}{f': {short(one.reason)}' if one.reason else ''}"


def _paused(pause: Pause, now_ms: int) -> Matter:
    if pause.until is not None and pause.until <= now_ms:
        over = about(now_ms - pause.until)
        return Matter(
            "pause", f"the pause of {pause.name} is over since {over} and not ended yet: does a worker run?", 1
        )
    since = about(now_ms - pause.since)
    return Matter("pause", f"{pause.scope} {pause.name} paused by {pause.by} for {since}: {short(pause.reason)}", 1)


def _lost(workers: Sequence[WorkerRow], now_ms: int) -> list[Matter]:
    lost = [worker for worker in workers if not worker.alive]
    if not lost:
        return []
    newest = max(lost, key=lambda worker: worker.beat_at)
    what = many(len(lost), "worker", "workers")
    return [
        Matter("worker", f"{what} lost, {newest.name} last heard of {about(now_ms - newest.beat_at)} ago", len(lost))
    ]


def _unknown(store: Store, jobs: Sequence[JobRow]) -> list[Matter]:
    """Jobs whose turns nobody here can run. A process without any job of its own cannot tell."""
    if not store.catalog.jobs:
        return []
    unknown = [job.name for job in jobs if job.name not in store.catalog.jobs]
    return [
        Matter("unknown", f"the job {name} is not in this release: its turns wait", 1) for name in unknown[:MOST_GROUPS]
    ]
