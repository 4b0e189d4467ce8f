"""Limits and cool-downs as operators see them: how much is used, who waits, since when, and when it clears.

Always true: every list has a limit; a figure that the store cannot know is None, never guessed; what is due behind a
closed scope counts as waiting for it, though no claim has touched it.

Not here: changing them (steer.py), what one turn waits for (waits), the arithmetic of buckets (turn/gates.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rota.define.catalog import Catalog
from rota.define.policy import Limit, is_open_template
from rota.define.units import Rate, instant, rate
from rota.store import scopes
from rota.store.gates import BATCH
from rota.store.port import Op
from rota.store.scopes import Behind, BucketRow, First, Seen, fills
from rota.store.store import Store
from rota.turn.gates import NS

MOST: Final = 500  # limits, or scopes, of one list (G-25)
NOTHING: Final = Behind(0, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitView:
    """One bucket of a limit; `name` is as declared ("ads:{region}"), `bucket` as filled ("ads:eu").

    `rate` and `burst` are in force, `declared` is the rate in the code (None: no job of this release declares it);
    `said_by` and `said_until` tell who said another rate, and until when. `used` of `burst` calls are used up now.
    `waiting` runs wait for room, the first since `waiting_since` and until `next_at`, the last until about `clears_at`.
    """

    name: str
    bucket: str
    rate: str | None
    burst: int | None
    declared: str | None
    declared_burst: int | None
    said_by: str | None
    said_until: datetime | None
    used: int | None
    waiting: int
    waiting_since: datetime | None
    first: str | None
    next_at: datetime | None
    clears_at: datetime | None
    cooling_until: datetime | None
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooldown:
    """A scope that was refused, or failed, too often.

    `state` is "cooling" (nothing of it starts before `until`), "half-open" (the next run shows whether it works) or
    "probing" (that run is on its way; `until` is how long the others wait for it). `since` is when it was last told.
    """

    scope: str
    state: str
    until: datetime
    since: datetime
    failures: int
    reason: str | None
    jobs: tuple[str, ...]
    waiting: int


async def limits(store: Store, *, name: str | None = None, most: int = MOST) -> list[LimitView]:
    """Every limit with its buckets, those that most turns wait for first; with `name`, of one limit or bucket."""
    declared = declared_limits(store.catalog)
    names = [one for one in declared if not is_open_template(one)]
    names += [name] if name is not None else []
    seen = await store.read(lambda: scopes.look(names, most))
    views = limit_views(store.catalog, seen)
    if name is not None:
        views = [one for one in views if name in {one.name, one.bucket}]
    return views[:most]


async def cooldowns(store: Store, *, most: int = MOST) -> list[Cooldown]:
    """Scopes that cool or have not shown since that they work, the last to end first."""
    return await store.read(lambda: _cooldowns(store.catalog, most))


def declared_limits(catalog: Catalog) -> dict[str, list[tuple[str, Limit]]]:
    """The limits of the code by name, each with the jobs that declare it."""
    found: dict[str, list[tuple[str, Limit]]] = {}
    for spec in catalog.jobs.values():
        for limit in spec.limits:
            found.setdefault(limit.name, []).append((spec.name, limit))
    return found


def limit_of(catalog: Catalog, name: str) -> Limit | None:
    """The declared limit that a name is, or that it may be a bucket of; of several the one that says most of it.

    Where jobs declare one name at several rates the slowest holds, as for claims.
    """
    fitting = [one for one in declared_limits(catalog) if fills(one, name)]
    if not fitting:
        return None
    template = max(fitting, key=lambda one: (one == name, len(one.replace("{", "").replace("}", ""))))
    return slowest(limit for _, limit in declared_limits(catalog)[template])


def slowest(declared: Iterable[Limit]) -> Limit:
    """Of several declarations of one name the one that holds."""
    return min(declared, key=lambda limit: limit.parsed.count / limit.parsed.per_ms)


def limit_views(catalog: Catalog, seen: Seen) -> list[LimitView]:
    """Views of what was seen, those that most turns wait for first."""
    declared = declared_limits(catalog)
    views: list[LimitView] = []
    shown: set[str] = set()
    for row in seen.buckets.values():
        limit = limit_of(catalog, row.scope)
        if row.scope.startswith(BATCH.format("")) and limit is None:
            continue
        if limit is None and not row.tat_ns and row.rate is None:
            continue  # a scope that only ever cools
        if limit is not None and is_open_template(limit.name) and row.scope == limit.name and row.rate is None:
            continue
        shown |= {row.scope, limit.name if limit is not None else row.scope}
        jobs = tuple(job for job, _ in declared.get(limit.name, ())) if limit is not None else ()
        views.append(_view(row, limit, jobs, seen))
    for name, pairs in declared.items():
        if name not in shown:  # nothing has used it yet
            empty = BucketRow(name, 0, 0, 0, 0, 0, 0, None, None, None, None, None, 0, seen.now)
            views.append(_view(empty, slowest(limit for _, limit in pairs), tuple(job for job, _ in pairs), seen))
    return sorted(views, key=lambda one: (-one.waiting, one.name, one.bucket))


def _view(row: BucketRow, limit: Limit | None, jobs: tuple[str, ...], seen: Seen) -> LimitView:
    """One bucket, with what waits for it."""
    text, burst, by, until = _in_force(row, limit, seen)
    parsed = None if text is None else rate(text)
    waits = _waits(row.scope, seen)
    return LimitView(
        name=row.scope if limit is None else limit.name,
        bucket=row.scope,
        rate=text,
        burst=burst,
        declared=None if limit is None else limit.rate,
        declared_burst=None if limit is None else limit.burst,
        said_by=by,
        said_until=None if until is None else instant(until),
        used=None if parsed is None or burst is None else _used(row, parsed, burst),
        waiting=waits.turns,
        waiting_since=None if waits.since is None else instant(waits.since),
        first=None if waits.first is None else _who(waits.first),
        next_at=None if waits.next_at is None else instant(max(waits.next_at, row.now)),
        clears_at=None if not waits.turns else instant(_clears_at(row, parsed, burst or 1, waits)),
        cooling_until=instant(row.cooling_until) if row.cooling_until > row.now else None,
        jobs=jobs,
    )


def _in_force(row: BucketRow, limit: Limit | None, seen: Seen) -> tuple[str | None, int | None, str | None, int | None]:
    """Rate, burst, who said so, and until when: said for the bucket, for its template, or declared."""
    template = seen.buckets.get(limit.name) if limit is not None else None
    for said in (row, template):
        if said is not None and said.rate is not None:
            parsed = rate(said.rate)
            burst = said.burst or max(1, parsed.count * 1_000 // parsed.per_ms)
            return said.rate, burst, said.rate_by, said.rate_until
    return (None, None, None, None) if limit is None else (limit.rate, limit.burst, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waits:
    """What waits for one bucket: turns that were told their instant, and those due behind it."""

    turns: int
    behind: int
    since: int | None
    next_at: int | None
    last_at: int | None
    first: First | None


def _waits(scope: str, seen: Seen) -> _Waits:
    told = [seen.waits[key] for key in (f"limit {scope}", f"scope {scope}") if key in seen.waits]
    firsts = [seen.firsts[one.waits_for] for one in told if one.waits_for in seen.firsts]
    behind = seen.behind.get(scope, NOTHING)
    row = seen.buckets.get(scope)
    nexts = [one.next_at for one in told if one.next_at is not None]
    nexts += [row.closed_until] if row is not None and behind.turns and not nexts else []
    slots = [one.slot_at for one in firsts if one.slot_at is not None and one.slot_at <= seen.now]
    slots += [behind.since] if behind.since is not None else []
    return _Waits(
        turns=sum(one.turns for one in told) + behind.turns,
        behind=behind.turns,
        since=min(slots, default=None),
        next_at=min(nexts, default=None),
        last_at=max((one.last_at for one in told if one.last_at is not None), default=None),
        first=min(firsts, key=lambda one: (one.due_at, one.turn), default=None),
    )


def _who(first: First) -> str:
    return f"{first.roster}/{first.member}" if first.member is not None else f"{first.turn}-{first.run}"


def _interval_ns(parsed: Rate) -> int:
    return -(-parsed.per_ms * NS // parsed.count)


def _used(row: BucketRow, parsed: Rate, burst: int) -> int:
    """How many calls of the burst are used up; a part of one counts."""
    used_ns = max(0, row.tat_ns - row.now * NS)
    return min(burst, -(-used_ns // _interval_ns(parsed)))


def _clears_at(row: BucketRow, parsed: Rate | None, burst: int, waits: _Waits) -> int:
    """When the last of those that wait now has room, if nobody else comes and each makes one call."""
    latest = [row.now, row.cooling_until, waits.last_at or 0]
    if parsed is not None and waits.behind:
        used_ns = max(row.tat_ns, row.line_ns, row.now * NS, row.cooling_until * NS)
        latest.append(-(-(used_ns + (waits.behind - burst) * _interval_ns(parsed)) // NS))
    return max(latest)


def _cooldowns(catalog: Catalog, most: int) -> Op[list[Cooldown]]:
    rows = yield from scopes.cooling(most)
    if not rows:
        return []
    seen = yield from scopes.look([row.scope for row in rows], most)
    closes = yield from scopes.closes([row.scope for row in rows])
    return [_cooldown(row, catalog, closes.get(row.scope, ()), seen) for row in rows]


def _cooldown(row: BucketRow, catalog: Catalog, closes: Sequence[str], seen: Seen) -> Cooldown:
    state = "half-open" if row.cooling_until <= row.now else "probing" if row.probing else "cooling"
    return Cooldown(
        scope=row.scope,
        state=state,
        until=instant(row.cooling_until),
        since=instant(row.changed_at),
        failures=row.failures,
        reason=row.reason,
        jobs=tuple(dict.fromkeys([*jobs_of(catalog, row.scope), *closes])),
        waiting=_waits(row.scope, seen).turns,
    )


def jobs_of(catalog: Catalog, scope: str) -> list[str]:
    """The jobs that declare a scope: as a limit, as their own, or as that of a link of their chain."""
    found = []
    for spec in catalog.jobs.values():
        names = [limit.name for limit in spec.limits] + [link.scope for link in spec.links] + [spec.scope]
        if any(name is not None and fills(name, scope) for name in names):
            found.append(spec.name)
    return found
