"""The operators' acts on limits and cool-downs, each with its audit row, and what they look at.

Always true: an act and its audit row are one transaction; what changes nothing leaves none; a list is bounded, and
none of these reads looks at history or at turns that wait for nothing but their time.

Not here: the arithmetic and what claims do (gates.py, claiming.py), the words for people (insight, steer.py).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from rota.define.policy import Limit, is_open_template
from rota.store import gates
from rota.store.chores import BEYOND_EVERY_KEY, prefix_range
from rota.store.gates import Said
from rota.store.operators import Deed, recorded
from rota.store.port import Op, query
from rota.store.sql import Call
from rota.turn.gates import NS, Heat

MOST_FILLED: Final = 1_000  # buckets of one template that an act looks at: a tenth of a second
COUNTED: Final = 10_000  # turns behind a closed scope that are counted: some ten milliseconds
MOMENT_MS: Final = 2_000  # a scope that was closed so short a time ago is closed: a claim is on its way
_HOLE: Final = re.compile(r"\\\{[^{}]*\\\}")


class Waiting(NamedTuple):
    """How many turns wait for something ("limit amazon", "scope llm:gpt"), and when the first and last may start."""

    waits_for: str
    turns: int
    next_at: int | None
    last_at: int | None


class First(NamedTuple):
    """The turn that waits at the head of a line; `slot_at` is since when, where it has a slot."""

    waits_for: str
    turn: int
    run: int
    job: str
    roster: str | None
    member: str | None
    due_at: int
    slot_at: int | None


class BucketRow(NamedTuple):
    """A bucket as operators see it; instants in ms."""

    scope: str
    tat_ns: int
    line_ns: int
    cooling_until: int
    failures: int
    probing: int
    closed_until: int
    reason: str | None
    rate: str | None
    burst: int | None
    rate_until: int | None
    rate_by: str | None
    changed_at: int
    now: int


class Closed(NamedTuple):
    """A scope that keeps a job from being looked at, and until when."""

    job: str
    scope: str
    until: int


class Behind(NamedTuple):
    """Turns that are due and not looked at because a scope closes their job; since when the first is due."""

    turns: int
    since: int | None


class Wait(NamedTuple):
    """What one turn waits for, and how many wait for it before this one."""

    turn: int
    waits_for: str
    before: int


class Seen(NamedTuple):
    """Everything that keeps turns waiting, at one instant."""

    now: int
    buckets: Mapping[str, BucketRow]
    waits: Mapping[str, Waiting]
    firsts: Mapping[str, First]
    behind: Mapping[str, Behind]


@lru_cache(maxsize=1_024)
def _form(template: str) -> re.Pattern[str]:
    return re.compile(_HOLE.sub(".+", re.escape(template)), re.DOTALL)


def fills(template: str, name: str) -> bool:
    """Whether a name is a template itself, or what it may be when its holes are filled."""
    return name == template or (is_open_template(template) and _form(template).fullmatch(name) is not None)


def buckets(most: int, *, prefix: str = "") -> Op[list[BucketRow]]:
    """Buckets by name, of all names or of those that begin so."""
    first, beyond = prefix_range(prefix) if prefix else ("", BEYOND_EVERY_KEY)
    return [BucketRow(*row) for row in (yield from query("bucket_rows", first=first, beyond=beyond, most=most))]


def named(names: Iterable[str]) -> Op[list[BucketRow]]:
    """The buckets of these names that there are."""
    rows = yield Call("buckets_named", {}, [(name,) for name in sorted(set(names))])
    return [BucketRow(*row) for row in rows]


def cooling(most: int) -> Op[list[BucketRow]]:
    """Scopes that cool or have not shown since that they work, the last to end first."""
    return [BucketRow(*row) for row in (yield from query("buckets_cooling", most=most))]


def filled(template: str, most: int = MOST_FILLED) -> Op[list[BucketRow]]:
    """The buckets of a template, its own row not included."""
    found = yield from buckets(most, prefix=template.partition("{")[0])
    return [one for one in found if one.scope != template and fills(template, one.scope)]


def waiting(most: int) -> Op[list[Waiting]]:
    """What turns wait for, other than their time, what most wait for first."""
    return [Waiting(*row) for row in (yield from query("waiting_for", most=most))]


def waits_of(turns: Iterable[int], most: int) -> Op[dict[int, Wait]]:
    """What some turns wait for, those that do, and their place in line, counted no further than `most`."""
    rows = yield Call("waits_of", {"most": most}, [(turn,) for turn in turns])
    return {row[0]: Wait(*row) for row in rows}


def closed_jobs(most: int) -> Op[list[Closed]]:
    """Scopes that keep whole jobs from being looked at, by job, the last to open first."""
    return [Closed(*row) for row in (yield from query("closed_jobs", moment_ms=MOMENT_MS, most=most))]


def closes(scopes: Iterable[str]) -> Op[dict[str, list[str]]]:
    """The jobs that each of some scopes closes as a whole."""
    found: dict[str, list[str]] = {}
    for job, scope, _ in (yield Call("gates_of", {}, [(scope,) for scope in sorted(set(scopes))])):
        found.setdefault(scope, []).append(job)
    return found


class Holder(NamedTuple):
    """The run that holds a serial key."""

    key: str
    turn: int
    run: int
    job: str
    state: str
    due_at: int | None


def holders(keys: Iterable[str]) -> Op[dict[str, Holder]]:
    """The runs that hold some serial keys."""
    rows = yield Call("serial_runs", {}, [(key,) for key in sorted(set(keys))])
    return {row[0]: Holder(*row) for row in rows}


def look(names: Iterable[str], most: int) -> Op[Seen]:
    """Everything that keeps turns waiting, with the buckets of these names and as many more as `most`."""
    now = (yield from query("now"))[0][0]
    waits = {one.waits_for: one for one in (yield from waiting(most))}
    rows = yield Call("first_waiting", {}, [(name,) for name in waits])
    firsts = {row[0]: First(*row) for row in rows}
    shut: dict[str, str] = {}
    for one in (yield from closed_jobs(most)):
        shut.setdefault(one.job, one.scope)  # the last to open is what it waits for
    behind: dict[str, Behind] = {}
    for job, turns, since in (yield Call("due_behind", {"most": COUNTED}, [(job,) for job in sorted(shut)])):
        before = behind.get(shut[job], Behind(0, None))
        first = min((at for at in (since, before.since) if at is not None), default=None)
        if turns:
            behind[shut[job]] = Behind(before.turns + turns, first)
    found = {one.scope: one for one in (yield from buckets(most))}
    wanted = {*names, *(name.partition(" ")[2] for name in waits), *shut.values()}
    found |= {one.scope: one for one in (yield from named(wanted - found.keys()))}
    return Seen(now, found, waits, firsts, behind)


def set_rate(said: Said, limit: Limit | None, deed: Deed) -> Op[None]:
    """Give a limit another rate, for a while or until told; None: as declared.

    What was used up counts at the new rate, and what waits for room gets in line anew.
    """
    names: list[str] = []
    if limit is not None and said.scope == limit.name and is_open_template(limit.name):
        names = [one.scope for one in (yield from filled(limit.name))]
    intervals_ns = yield from _intervals_ns(limit, names, said.scope)
    yield from gates.say_rate(said, limit)
    yield from _rescaled(limit, intervals_ns)
    yield Call("rejudge", {}, [(f"limit {name}",) for name in names])
    yield from recorded(deed, 1, {"rate": said.rate, "burst": said.burst, "forMs": said.for_ms})


def _intervals_ns(limit: Limit | None, names: Sequence[str], template: str) -> Op[dict[str, int]]:
    """How far apart the calls of some buckets are, all of them locked before anything is changed."""
    if limit is None or not names:
        return {}
    known = yield from gates.locked(names, make=[template])
    for name in names:
        gates.pace(known, limit, name)
    return {name: known.buckets[name].interval_ns for name in names}


def _rescaled(limit: Limit | None, before_ns: Mapping[str, int]) -> Op[None]:
    """Buckets of a template after its rate was changed."""
    if limit is None or not before_ns:
        return
    known = yield from gates.locked(before_ns, [limit.name])
    now_ns = known.now * NS
    for name, interval_ns in before_ns.items():
        bucket = known.buckets[name]
        gates.pace(known, limit, name)
        used_ns = max(0, bucket.tat_ns - now_ns)
        bucket.tat_ns = bucket.line_ns = now_ns + used_ns * bucket.interval_ns // interval_ns
        bucket.changed = True
    yield from gates.put([known.buckets[name] for name in before_ns], known.now)


def cool(heat: Heat, deed: Deed) -> Op[int]:
    """Put a scope on cool-down by hand; in how many ms it ends, which may be later than was asked for."""
    ends = yield from gates.cool([heat])
    yield from recorded(deed, 1, {"forMs": heat.delay_ms})
    return ends[heat.scope]


def clear(scopes: Sequence[str], deed: Deed) -> Op[int]:
    """End cool-downs: what waits for them is due, and gets in line anew. How many had cooled."""
    yield from gates.lock(scopes)
    count = yield from gates.works(scopes, by_hand=True)
    if not count:
        return 0
    yield Call("rejudge", {}, [(f"{kind} {scope}",) for scope in sorted(scopes) for kind in ("limit", "scope")])
    yield from recorded(deed, count)
    return count
