"""What jobs have due, coming, held, dead and stale: counted up to a bound, and beyond it read from the last count.

Always true: a job with little is counted when asked, so its figures are exact; one with much is counted by a chore and
read from its table; a page looks at a bounded number of rows of each, few where somebody has counted lately.

Not here: members by state (freshness), the sentences (attention, status, why).
"""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from rota.define.units import HOUR_MS, MINUTE_MS
from rota.insight.freshness import REST_MS, SMALL
from rota.store import chores, reads
from rota.store.port import Op
from rota.store.reads import JobCount, JobRow, StaleGroup, Tally
from rota.store.store import Store

FEW: Final = 1_000  # rows that a page looks at for each figure of a job with much: under a millisecond
MANY: Final = 20_000  # while nobody counts: some 20 ms
LATELY_MS: Final = 5 * MINUTE_MS  # since the last count; it comes every 30 s, or less often where it takes long
RESTS: Final = 3  # as many rests between two counts
EVERY: Final = 2**62  # no bound: for the chore
MOST_GROUPS: Final = 50  # causes of one kind: a page shows seven lines in all


class Counted(NamedTuple):
    """The figures of a job, how far they were counted, the last count, and since when they may be out of date.

    `more`: at least so many are due; nobody has counted further.
    """

    figures: JobCount
    most: int
    kept: Tally | None
    at: int
    more: bool = False


def counts(store: Store, jobs: Sequence[JobRow], now_ms: int) -> Op[dict[str, Counted]]:
    """The figures of some jobs."""
    kept = yield from reads.tallies([job.name for job in jobs])
    by_bound: dict[int, list[JobRow]] = {}
    for job in jobs:
        by_bound.setdefault(bound(kept.get(job.name), now_ms), []).append(job)
    found: dict[str, Counted] = {}
    for most, some in by_bound.items():
        for count in (yield from reads.job_counts([_asked(store, job) for job in some], most)):
            found[count.job] = _with_last(count, most, kept.get(count.job), now_ms)
    return found


def bound(kept: Tally | None, now_ms: int) -> int:
    """How far a page counts a job, by when it was counted last and how much there was."""
    if kept is None or now_ms > kept.counted_at + max(LATELY_MS, int(RESTS * kept.looked * REST_MS)):
        return MANY
    return FEW if kept.looked > SMALL else SMALL


def _asked(store: Store, job: JobRow) -> tuple[str, int, int]:
    spec = store.catalog.jobs.get(job.name)
    period_ms = spec.schedule.period_ms if spec is not None and spec.schedule is not None else HOUR_MS
    return job.name, period_ms, int(job.roster is None)


def _with_last(count: JobCount, most: int, kept: Tally | None, now_ms: int) -> Counted:
    """The figures; those that reached the bound as the last count has them, if it has more."""
    if max(count.due, count.coming, count.held, count.dead, count.stale, count.waiting) < most:
        return Counted(count, most, kept, now_ms)
    if kept is None:
        return Counted(count, most, kept, now_ms, more=count.due >= most)
    joined = count._replace(
        due=_larger(count.due, kept.due, most),
        next_hour=max(count.next_hour, kept.next_hour) if count.coming >= most else count.next_hour,
        held=_larger(count.held, kept.held, most),
        dead=_larger(count.dead, kept.dead, most),
        waiting=_larger(count.waiting, kept.waiting, most),
    )
    return Counted(joined, most, kept, kept.counted_at, more=count.due >= max(most, kept.due))


def _larger(here: int, last: int, most: int) -> int:
    return max(here, last) if here >= most else here


def stale(of: Counted) -> Op[list[StaleGroup]]:
    """The stale turns of a job by cause, most first; where there are many with what the last count had of each."""
    if not of.figures.stale:
        return []
    here = yield from reads.stale_groups(of.figures.job, of.most, MOST_GROUPS)
    if of.figures.stale < of.most:
        return here
    found = {(one.roster, one.error): one for one in (_causes(of.kept) if of.kept is not None else ())}
    for one in here:
        last = found.get((one.roster, one.error), one)  # a cause of the time since: so many at least
        found[one.roster, one.error] = one._replace(
            turns=max(one.turns, last.turns), since=min(one.since, last.since), more=one.turns >= last.turns
        )
    return sorted(found.values(), key=most_first)[:MOST_GROUPS]


def most_first(one: StaleGroup) -> tuple[int, str, str]:
    """The order in which causes are told."""
    return -one.turns, one.job, one.error or ""


def same_cause(job: str, error: str, now_ms: int) -> Op[int]:
    """How many turns are stale in a job for one cause: of a job with much as the last count has it."""
    kept = (yield from reads.tallies([job])).get(job)
    most = bound(kept, now_ms)
    turns, looked = yield from reads.same_cause(job, error, most)
    if kept is None or looked < most:
        return turns
    return max(turns, sum(one.turns for one in _causes(kept) if one.error == error))


def _causes(kept: Tally) -> list[StaleGroup]:
    return [StaleGroup(kept.job, *row) for row in json.loads(kept.causes)]


async def recount(store: Store) -> int:
    """Count every job and keep the counts; how many were counted. One job is counted in one read.

    A job with much is counted less often, so that counting never takes more than a small part of the time.
    """
    known = await store.read(reads.jobs)
    names = [job.name for job in known]
    kept = await store.read(lambda: reads.tallies(names))
    counted: list[Tally] = []
    for job in known:
        last = kept.get(job.name)
        if last is None or store.clock.now_ms() >= last.counted_at + int(last.looked * REST_MS):
            counted.append(await store.read(lambda: _tally(store, job)))  # noqa: B023 -- awaited at once
    await store.write(lambda: chores.keep_tallies(counted, names))
    return len(counted)


def _tally(store: Store, job: JobRow) -> Op[Tally]:
    one = (yield from reads.job_counts([_asked(store, job)], EVERY))[0]
    groups = []
    if one.stale:
        groups = yield from reads.stale_groups(job.name, EVERY, MOST_GROUPS)
    causes = json.dumps([group[1:6] for group in groups])
    looked = max(one.due, one.coming, one.waiting, one.held, one.dead, one.stale)
    return Tally(job.name, one.due, one.next_hour, one.waiting, one.held, one.dead, looked, causes, 0)
