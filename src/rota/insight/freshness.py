"""How many members are fresh, late, stale, new or paused: counted, or read from the last count.

Always true: a small roster is counted when asked, so its answer is exact; a large one is counted by a chore, a page of
keys at a time, and read from its table; a member counts as its worst job.

Not here: the verdict about the numbers (status), one member's story (why).
"""

from collections import defaultdict
from collections.abc import Sequence

from rota.store import chores, reads
from rota.store.port import Op, query
from rota.store.reads import Freshness, StateCount
from rota.store.store import Store

SMALL = 5_000  # turns of a roster that are counted when asked: some 12 ms
PAGE = 20_000  # members in one page of a recount: keeps each read short
REST_MS = 0.1  # for each member between two counts: a million is counted every 100 s
WORST = ""  # in place of a job: its members by their worst job

_PAUSED, _FRESH, _NEW, _LATE, _STALE = range(5)


def current(roster: str, now_ms: int) -> Op[dict[str, Freshness]]:
    """The counts of a roster by job, and under '' by members' worst job."""
    few = yield from query("few_turns", roster=roster, most=SMALL + 1)
    kept = yield from reads.freshness_of(roster)
    if few[0][0] > SMALL and kept:
        return {one.job: one for one in kept}
    sums = _Sums()
    after: str | None = ""
    while after is not None:  # one page, unless nobody has counted a large roster yet
        after = yield from _count_page(roster, after, PAGE, sums)
    return sums.freshness(now_ms)


class _Sums:
    """Counts that grow page by page."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
        self._oldest: dict[str, int] = {}
        self._members = 0

    def add(self, rows: Sequence[StateCount], members: int) -> None:
        """Add a page; members without any turn have not run yet."""
        self._members += members
        for row in rows:
            self._counts[row.job][row.state] += row.members
            if row.oldest_at is not None:
                self._oldest[row.job] = min(row.oldest_at, self._oldest.get(row.job, row.oldest_at))

    def freshness(self, now_ms: int) -> dict[str, Freshness]:
        """The counts, by job."""
        worst = self._counts[WORST]
        worst[_NEW] += max(0, self._members - sum(worst))
        return {
            job: Freshness(
                job,
                sum(counts),
                counts[_FRESH],
                counts[_LATE],
                counts[_STALE],
                counts[_NEW],
                counts[_PAUSED],
                self._oldest.get(job),
                now_ms,
            )
            for job, counts in self._counts.items()
        }


def _count_page(roster: str, after: str, page: int, sums: _Sums) -> Op[str | None]:
    """Add the members of one page; where the next page begins, or None after the last."""
    end = yield from query("page_end", roster=roster, after=after, most=page)
    upto, members = end[0]
    if members == 0:
        return None
    rows = yield from reads.member_states(roster, after, upto)
    sums.add(rows, members)
    return str(upto) if members == page else None


async def recount(store: Store, roster: str) -> int:
    """Count a roster and keep the counts; how many members were counted. Each page is a read of its own.

    A large roster is counted less often, so that counting never takes more than a small part of the time.
    """
    kept = {one.job: one for one in await store.read(lambda: reads.freshness_of(roster))}
    last = kept.get(WORST)
    if last is not None and store.clock.now_ms() < last.counted_at + int(last.members * REST_MS):
        return 0
    sums = _Sums()
    after: str | None = ""
    while after is not None:
        start = after
        after = await store.read(lambda: _count_page(roster, start, PAGE, sums))  # noqa: B023 -- awaited at once
    counts = sums.freshness(store.clock.now_ms())
    await store.write(lambda: chores.keep_freshness(roster, list(counts.values())))
    return counts[WORST].members
