"""The operations on buckets: the rates of limits, the cool-downs of scopes, the pauses between batches.

Always true: a bucket is read under a lock and written in the same transaction, so its room is never given away twice;
buckets are locked in one order, those that close whole jobs before others, each in the order of their names.

Not here: which turns may start (claiming.py), the arithmetic (turn/gates.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rota.define.job import JobSpec
from rota.define.policy import Limit
from rota.define.units import Rate, rate
from rota.store.port import Op, Row, query
from rota.store.sql import Call
from rota.turn.gates import NS, Bucket, Heat, bounds_of

EVERYBODY = 1_000_000  # more than ever wait for one scope
BATCH = "batch {}"  # the scope that closes a job between its batches
_SAID = slice(8, 11)  # of a row of `buckets_named`: rate, burst and the rate's end


class Known(NamedTuple):
    """Buckets under a lock, by name, what was said at run time about rates, and the instant."""

    buckets: dict[str, Bucket]
    said: dict[str, tuple[Rate, int | None]]
    now: int


def locked(names: Iterable[str], templates: Iterable[str] = (), *, make: Iterable[str] = ()) -> Op[Known]:
    """Lock some buckets; those of `make` come into being. `templates` are looked at for rates said at run time."""
    wanted = sorted({*names, *make, *templates})
    rows: Sequence[Row] = (yield Call("buckets", {}, [(name,) for name in wanted])) if wanted else []
    there = {row[0] for row in rows}
    missing = sorted(set(make) - there)
    if missing:
        yield Call("make_buckets", {}, [(name,) for name in missing])
        rows = yield Call("buckets", {}, [(name,) for name in wanted])
    buckets: dict[str, Bucket] = {}
    said: dict[str, tuple[Rate, int | None]] = {}
    now = 0
    for scope, tat_ns, line_ns, cooling_until, failures, closed_until, probing, at, text, burst in rows:
        buckets[scope] = Bucket(scope, tat_ns, line_ns, cooling_until, failures, closed_until, probing=bool(probing))
        now = at
        if text is not None:
            said[scope] = (rate(text), burst)
    return Known(buckets, said, now)


def lock(names: Iterable[str]) -> Op[None]:
    """Lock several buckets before the acts on them: first those that close whole jobs.

    A claim has these before it has turns, and learns only from the turns which others it needs.
    """
    asked = set(names)
    if len(asked) > 1:
        closing = {row[1] for row in (yield Call("gates_of", {}, [(name,) for name in sorted(asked)]))}
        yield from locked(closing)
        yield from locked(asked - closing)


def pace(known: Known, limit: Limit, key: str) -> None:
    """Say how fast the bucket of a limit is filled: as was said for it, for its template, or as declared."""
    found = known.said.get(key) or known.said.get(limit.name)
    parsed, burst = (limit.parsed, limit.burst) if found is None else found
    if burst is None:
        burst = limit.burst if found is None else max(1, parsed.count * 1_000 // parsed.per_ms)
    known.buckets[key].paced(parsed, burst or 1)


def put(buckets: Iterable[Bucket], now: int) -> Op[None]:
    """Write buckets back that have changed."""
    rows = [
        (one.scope, one.tat_ns, one.line_ns, one.cooling_until, int(one.probing), one.open_at(now))
        for one in buckets
        if one.changed
    ]
    yield Call("put_buckets", {}, sorted(rows))


def spend(limit: Limit, key: str, n: int) -> Op[int]:
    """Take `n` of a limit, now or in advance; in how many ms they may be used (0: at once)."""
    known = yield from locked([key], [limit.name], make=[key])
    pace(known, limit, key)
    bucket = known.buckets[key]
    room_ns = bucket.room_ns(known.now * NS, promised=True, n=n)
    wait_ms = max(0, -(-room_ns // NS) - known.now, bucket.cooling_until - known.now)
    bucket.spend(known.now * NS, n)
    yield from put([bucket], known.now)
    return wait_ms


class Said(NamedTuple):
    """A rate said at run time for a limit (its template, or one filled name): for so long, by whom."""

    scope: str
    rate: str | None
    burst: int | None
    for_ms: int | None
    by: str


def say_rate(said: Said, limit: Limit | None) -> Op[None]:
    """Give a limit another rate; what is used up counts at the new one, and what waits for room gets in line anew.

    It gives up the instants that were promised to it: kept, they would all be found wrong at one moment.
    """
    known = yield from locked([said.scope], [limit.name] if limit is not None else [], make=[said.scope])
    bucket = known.buckets[said.scope]
    if limit is not None:
        pace(known, limit, said.scope)
        before_ns = bucket.interval_ns
        bucket.limited = False
        now_ns = known.now * NS
        bucket.paced(limit.parsed if said.rate is None else rate(said.rate), said.burst or 1)
        used_ns = max(0, bucket.tat_ns - now_ns)
        bucket.tat_ns = bucket.line_ns = now_ns + used_ns * bucket.interval_ns // before_ns
        bucket.changed = True
    yield from put([bucket], known.now)
    values = {"scope": said.scope, "rate": said.rate, "burst": said.burst, "lasts_ms": said.for_ms, "by": said.by}
    yield from query("say_rate", **values)
    yield Call("rejudge", {}, [(f"limit {said.scope}",)])


def adjust(said: Said, limit: Limit) -> Op[None]:
    """Say what a service said of its rate, unless another process has said so already."""
    rows = yield Call("buckets_named", {}, [(said.scope,)])
    if not rows or tuple(rows[0][_SAID]) != (said.rate, said.burst, None):
        yield from say_rate(said, limit)


def cool(heats: Sequence[Heat]) -> Op[dict[str, int]]:
    """Put scopes on cool-down for everyone; in how many ms each ends. A heat with a job closes that job as a whole."""
    told: dict[str, Heat] = {}
    for heat in heats:
        before = told.get(heat.scope)
        if before is None or (heat.delay_ms or 0) > (before.delay_ms or 0):
            told[heat.scope] = heat
    yield Call("add_gates", {}, sorted({(heat.job, heat.scope, 1) for heat in heats if heat.job is not None}))
    known = yield from locked(told, make=told)
    rows: list[tuple[object, ...]] = []
    ends: dict[str, int] = {}
    for scope, heat in sorted(told.items()):
        bucket = known.buckets[scope]
        if heat.limit is not None:
            pace(known, heat.limit, scope)
        bucket.cool(known.now, heat.delay_ms)
        ends[scope] = bucket.cooling_until - known.now
        closed = bucket.open_at(known.now)
        times = (bucket.cooling_until, closed, bucket.failures)
        rows.append((scope, *times, heat.reason, bucket.tat_ns, bucket.line_ns))
    yield Call("put_cooled", {}, rows)
    return ends


def works(scopes: Iterable[str], *, by_hand: bool = False) -> Op[int]:
    """Scopes whose probe came through, or that a person clears: open for everyone. How many had cooled.

    A call that came through late says nothing of a cool-down that began after it. When it cooled last stays known. Who
    had room promised gets in line anew: instants have passed unused, and a crowd would want the next one.
    """
    known = yield from locked(scopes)
    opened = [one for one in known.buckets.values() if one.half_open]
    if not by_hand:
        opened = [one for one in opened if one.probing or one.cooling_until <= known.now]
    rows = [(one.scope, min(one.cooling_until, known.now), 0, 0, None, one.tat_ns, one.tat_ns) for one in opened]
    yield Call("put_cooled", {}, sorted(rows))
    crowded = sorted(one.scope for one in opened if one.line_ns > one.tat_ns)
    yield Call("rejudge", {}, [(f"{kind} {scope}",) for scope in crowded for kind in ("limit", "scope")])
    return len(rows)


def unproved(scopes: Iterable[str]) -> Op[None]:
    """A probe ended without having shown anything: the next one may try at once."""
    known = yield from locked(scopes)
    for one in known.buckets.values():
        one.unproved(known.now)
    yield from put(known.buckets.values(), known.now)


def declare(jobs: Mapping[str, Sequence[str]]) -> Op[None]:
    """The scopes that close whole jobs, as this release declares them; learned ones stay."""
    pairs = [(job, scope) for job, scopes in sorted(jobs.items()) for scope in scopes or ("",)]
    yield Call("drop_gates", {}, pairs)
    yield Call("declare_gates", {}, pairs)
    yield Call("add_gates", {}, [(job, scope, 0) for job, scope in pairs if scope])


def closing(spec: JobSpec) -> tuple[str, ...]:
    """The scopes that close a job as a whole, as it declares them."""
    bounds = bounds_of(spec)
    if bounds is None:
        return ()
    return (*bounds.gated, *((BATCH.format(spec.name),) if bounds.batch else ()))


def learned(jobs: Iterable[str]) -> Op[dict[str, list[str]]]:
    """Scopes that the handlers of some jobs were refused under, though the jobs do not declare them."""
    found: dict[str, list[str]] = {}
    for job, scope in (yield Call("learned_gates", {}, [(job,) for job in sorted(set(jobs))])):
        found.setdefault(job, []).append(scope)
    return found


class Cooling(NamedTuple):
    """A scope that cools (`left_ms` > 0), or is waiting for, or on, its probe."""

    scope: str
    left_ms: int
    failures: int
    reason: str | None
    probing: int


def cooling(most: int) -> Op[list[Cooling]]:
    """Scopes that cool or have not shown since that they work."""
    return [Cooling(*row) for row in (yield from query("cooling", most=most))]
