"""What needs somebody, by cause, worst first.

Always true: many members with one cause are one line; what is paused is not behind.

Not here: counting members (freshness), the verdict (status).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rota.insight.words import about, clock, many, short
from rota.store.pauses import Pause
from rota.store.port import Op, query
from rota.store.reads import DeadGroup, HeldGroup, JobRow, StaleGroup, WorkerRow
from rota.store.store import Store

MOST_GROUPS = 50  # causes of one kind: a page shows seven lines in all


@dataclass(frozen=True, slots=True)
class Matter:
    """One line: its kind (clock, worker, stale, dead, held, pause, unknown), what and since when, and how many."""

    kind: str
    text: str
    count: int


class Found(NamedTuple):
    """The lines, and the number of causes for which members are stale."""

    matters: tuple[Matter, ...]
    reasons: int


class _Groups(NamedTuple):
    stale: list[StaleGroup]
    dead: list[DeadGroup]
    held: list[HeldGroup]
    pauses: list[Pause]
    messages: dict[tuple[str, str], str]


async def matters(
    store: Store,
    now_ms: int,
    jobs: Sequence[JobRow],
    held: Mapping[tuple[str, str], Pause],
    workers: Sequence[WorkerRow],
) -> Found:
    """Everything that needs somebody at this instant."""
    stopped = ("all", "*") in held
    going = [
        job.name
        for job in jobs
        if not stopped and ("job", job.name) not in held and ("roster", job.roster or "") not in held
    ]
    groups = await store.read(lambda: _groups(going))
    lines = [
        *(
            [Matter("clock", "The clock of this machine has leapt and is not believed yet.", 1)]
            if store.clock.suspect
            else []
        ),
        *_lost(workers, now_ms),
        *[_stale(group, groups.messages, now_ms) for group in groups.stale],
        *[_dead(group, now_ms) for group in groups.dead],
        *[_held(group) for group in groups.held],
        *[_paused(pause, now_ms) for pause in groups.pauses],
        *_unknown(store, jobs),
    ]
    causes = {(group.error or group.job) for group in groups.stale if group.roster is not None}
    return Found(tuple(lines), max(1, len(causes)))


def _groups(going: Sequence[str]) -> Op[_Groups]:
    stale = [
        StaleGroup(*row) for row in (yield from query("stale_groups", [(job,) for job in going], most=MOST_GROUPS))
    ]
    dead = [DeadGroup(*row) for row in (yield from query("dead_groups", most=MOST_GROUPS))]
    held = [HeldGroup(*row) for row in (yield from query("held_groups", most=MOST_GROUPS))]
    long = [Pause(*row) for row in (yield from query("long_pauses", most=MOST_GROUPS))]
    causes = [(group.job, group.error) for group in stale if group.error is not None]
    named = yield from query("errors_named", causes)
    return _Groups(stale, dead, held, long, {(row[0], row[1]): f"{row[2]}: {row[3]}" for row in named})


def _stale(group: StaleGroup, messages: Mapping[tuple[str, str], str], now_ms: int) -> Matter:
    since = f"since {clock(group.since, now_ms)}"
    why = messages.get((group.job, group.error or ""))
    cause = short(why) if why else "not run"
    if group.roster is None:
        return Matter("stale", f"{group.job} is stale: {cause} {since}", group.turns)
    return Matter("stale", f"{group.turns:,} of {group.roster} stale: {group.job}, {cause} {since}", group.turns)


def _dead(group: DeadGroup, now_ms: int) -> Matter:
    what = many(group.letters, "dead letter", "dead letters")
    newest = clock(group.newest_at, now_ms)
    return Matter("dead", f"{what} of {group.job}, the newest {newest}: {short(group.reason)}", group.letters)


def _held(group: HeldGroup) -> Matter:
    reason = f": {short(group.reason)}" if group.reason else ""
    return Matter("held", f"{many(group.turns, 'turn', 'turns')} of {group.job} on hold{reason}", group.turns)


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
