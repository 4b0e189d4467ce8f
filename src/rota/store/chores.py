"""What keeps the store small and its figures current, one bounded step at a time.

Always true: each step takes at most `BATCH` rows and says how many it did, so that a chore which holds a small lease
can stop in between; nothing younger than its retention is removed.

Not here: when a chore runs and who does it (engine/chores.py), how long things are kept (settings).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from rota.store.operators import Deed, recorded
from rota.store.pauses import MEMBER
from rota.store.port import Op, query
from rota.store.reads import Freshness, Tally
from rota.store.sql import Call, Dictionary

BATCH = 5_000  # rows of one step: some 20 ms of a writer's time
DAY_MS: Final = 86_400_000
LOST_WORKER_MS = 3_600_000  # an hour in sight, then a lost worker's row goes
LAST_LETTER = 0x10FFFF  # the greatest code point
BEFORE_SURROGATES, AFTER_SURROGATES = 0xD7FF, 0xE000  # between them lie halves of pairs, which no text holds
BEYOND_EVERY_KEY = "\U0010ffff" * 129  # keys have at most 512 bytes

# What is pruned by its age, and the statement for it; `keys` and `workers` have their own rule.
_BY_AGE = {
    "journal": "prune_journal",
    "dead": "prune_dead",
    "errors": "prune_errors",
    "rollups": "prune_rollups",
    "audit": "prune_audit",
    "pauses": "prune_pauses",
}
PRUNED = (*_BY_AGE,)


def prune(what: str, keep_ms: int) -> Op[int]:
    """Remove a batch of what is older than its retention; how many rows went. `what` is one of `PRUNED`."""
    rows = yield from query(_BY_AGE[what], keep_ms=keep_ms, most=BATCH)
    return len(rows)


def prune_keys() -> Op[int]:
    """Forget a batch of keys whose time is over."""
    return len((yield from query("prune_keys", most=BATCH)))


def prune_buckets() -> Op[int]:
    """Forget a batch of buckets that have said nothing for a day: full again, cooled, without a rate of their own."""
    return len((yield from query("prune_buckets", keep_ms=DAY_MS, most=BATCH)))


def prune_gates() -> Op[int]:
    """Forget a batch of scopes that jobs were refused under, did not declare, and that have not cooled for a day."""
    return len((yield from query("prune_gates", keep_ms=DAY_MS, most=BATCH)))


def prune_serials(after: str) -> Op[str]:
    """Forget those serial keys of the next page whose run is over; where the page after it begins, "" at the end."""
    upto = (yield from query("serial_page", after=after, most=BATCH))[0][0]
    if upto is None:
        return ""
    yield from query("prune_serials", after=after, upto=upto)
    return str(upto)


def prune_workers() -> Op[int]:
    """Remove the rows of workers that were lost more than an hour ago."""
    return len((yield from query("prune_workers", keep_ms=LOST_WORKER_MS)))


def old_partitions(dictionary: Dictionary, schema: str, keep_ms: int) -> Op[list[str]]:
    """PostgreSQL: the journal's days that lie wholly before the retention, oldest first."""
    if dictionary.dialect != "postgres":
        return []
    now = (yield from query("now"))[0][0]
    names = [row[0] for row in (yield from query("partitions", schema=schema))]
    days = sorted(int(name.removeprefix("journal_")) for name in names if name.removeprefix("journal_").isdigit())
    return [f"journal_{day}" for day in days if (day + 1) * DAY_MS <= now - keep_ms]


def drop_partition(dictionary: Dictionary, name: str) -> Op[None]:
    """PostgreSQL: drop one day of the journal. It gives way to claims: half a second without the lock, and it fails."""
    yield Call("sql", {"text": "SET LOCAL lock_timeout = '500ms'"})
    yield Call("sql", {"text": f"DROP TABLE IF EXISTS {dictionary.table(name)}"})


def fold_rollups() -> Op[int]:
    """Fold a batch of finished hours of workers that are gone into one row for each job and hour."""
    rows = yield from query("rollups_to_fold", most=BATCH)
    sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0] * 8)
    for row in rows:
        found = sums[row[0], row[1]]
        for place, value in enumerate(row[3:]):
            found[place] += value
    yield Call("drop_rollups", {}, [tuple(row[:3]) for row in rows])
    yield Call("add_folded", {}, [(*key, *values) for key, values in sorted(sums.items())])
    return len(rows)


def sweep_cache() -> Op[int]:
    """Remove a batch of cache entries that are over."""
    return len((yield from query("cache_sweep", most=BATCH)))


def clear_cache(prefix: str, deed: Deed) -> Op[int]:
    """Delete the embedded cache's entries under a prefix, and record it; how many there were."""
    first, beyond = prefix_range(prefix)
    count = 0
    while True:
        gone = yield from query("cache_delete_range", first=first, beyond=beyond, most=BATCH)
        count += sum(1 for row in gone if row[0])
        if len(gone) < BATCH:
            break
    yield from recorded(deed, count, {"kind": "table"})
    return count


def prefix_range(prefix: str) -> tuple[str, str]:
    """The range [first, beyond) of keys with a prefix, compared byte for byte as UTF-8."""
    letters = list(prefix)
    while letters:
        code = ord(letters[-1])
        if code < LAST_LETTER:
            following = AFTER_SURROGATES if code == BEFORE_SURROGATES else code + 1
            return prefix, "".join([*letters[:-1], chr(following)])
        letters.pop()
    return prefix, BEYOND_EVERY_KEY


def end_pauses() -> Op[int]:
    """End pauses whose time is over, and let the turns of their members be claimed again."""
    rows = yield from query("end_pauses", most=BATCH)
    members = [tuple(str(row[1]).split("/", 1)) for row in rows if row[0] == MEMBER]
    turns = yield Call("turns_of_members", {}, members)
    yield Call("mark_member", {"paused": 0}, turns)
    return len(rows)


def keep_freshness(roster: str, counts: Sequence[Freshness]) -> Op[None]:
    """Keep the counts of a roster; those of jobs it no longer has go."""
    yield Call("put_freshness", {}, [(roster, *count[:8]) for count in counts])
    yield Call("drop_freshness", {"roster": roster}, [(count.job,) for count in counts])


def keep_tallies(counts: Sequence[Tally], jobs: Sequence[str]) -> Op[None]:
    """Keep the counts of some jobs; those of jobs that are not among `jobs` go."""
    if counts:
        yield Call("put_tallies", {}, [tuple(count[:8]) for count in counts])
    yield Call("drop_tallies", {}, [(job,) for job in jobs])
