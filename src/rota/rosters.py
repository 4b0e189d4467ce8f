"""Who is owed work: joining and leaving rosters, syncing them with a source, and reconciling jobs with their turns.

Always true: what comes in is checked before anything is written; a join of many is written in transactions of at
most 5,000 members, each of them whole; with `on=` everything happens in the caller's transaction and nothing is
committed here, told as an event, or wakes anybody: the next poll finds it.

Not here: the statements (store/members, store/placing, store/reconcile), which slot is the emptiest (turn/slots).
"""

import inspect
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from rota.define.job import JobSpec
from rota.define.names import checked_key, checked_zone, clean_text, data_text
from rota.define.roster import Member, RosterSpec, checked_weight, member_of
from rota.define.units import MINUTE_MS
from rota.errors import BadInput, Conflict, NotFound, StoreError
from rota.store import members as stored
from rota.store import reconcile as reconciling
from rota.store.foreign import run_on
from rota.store.members import ALL_GIVEN, DATA, OWNER, WEIGHT, ZONE, Entry, Joined
from rota.store.placing import MOST_PAGE, Stored
from rota.store.port import Op, query
from rota.store.reconcile import Evened
from rota.store.store import Store

SYNC_MS = 15 * MINUTE_MS  # between two looks at a source by the chores, a guess: `sync` may be called at any time
NOTE_BYTES = 1_000  # of the reason why a sync failed: a line for `rota roster`

_GIVEN = {"zone": ZONE, "data": DATA, "owner": OWNER, "weight": WEIGHT}
_NAMES = frozenset({"key", *_GIVEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a sync did."""

    joined: int
    changed: int
    left: int
    members: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What a reconcile did; `busy` when another process was at it and took over."""

    declared: int = 0
    added: int = 0
    moved: int = 0
    busy: bool = False


async def join(
    store: Store,
    roster: str,
    key: str,
    *,
    zone: str | UnsetType | None = UNSET,
    data: Mapping[str, Any] | UnsetType = UNSET,
    owner: str | UnsetType | None = UNSET,
    weight: int | UnsetType = UNSET,
    slot: int | Mapping[str, int] | None = None,
    on: object = None,
) -> Member:
    """Add a member, or change one that is there by what is given; `slot` pins it in its balanced jobs."""
    given = {"zone": zone, "data": data, "owner": owner, "weight": weight}
    entry = _entry({"key": key, **{name: value for name, value in given.items() if value is not UNSET}})
    spec, jobs = store.catalog.roster(roster), store.catalog.of_roster(roster)
    answer = await _write_join(store, spec, jobs, [entry], slot=slot, on=on)
    return _member(answer.members[0], roster)


async def join_many(store: Store, roster: str, entries: Iterable[object], *, on: object = None) -> int:
    """Add members given as keys, dicts or Members; how many joined or were changed.

    All of them are checked before the first is written. Without `on` each 5,000 are one transaction.
    """
    spec, jobs = store.catalog.roster(roster), store.catalog.of_roster(roster)
    found = _entries(entries, jobs)
    count = 0
    for start in range(0, len(found), MOST_PAGE):
        answer = await _write_join(store, spec, jobs, found[start : start + MOST_PAGE], slot=None, on=on)
        count += len(answer.fresh) + answer.changed
    return count


async def update(store: Store, roster: str, key: str, *, on: object = None, **given: object) -> Member:
    """Change a member that is there; `data` is replaced whole. `NotFound` where there is none."""
    entry = _entry({"key": key, **given})
    spec, jobs = store.catalog.roster(roster), store.catalog.of_roster(roster)

    def change() -> Op[Joined]:
        if (yield from stored.get(roster, entry.key)) is None:
            raise NotFound(f"there is no member {entry.key!r} in {roster!r}: join it first")
        return (yield from stored.join(spec, jobs, [entry]))

    answer = await (store.write(change) if on is None else run_on(on, change, store))
    return _member(answer.members[0], roster)


async def leave(store: Store, roster: str, key: str, *, on: object = None) -> bool:
    """Take a member out, with all its turns; a running one goes when it ends. Whether it was there."""
    return bool(await _write_leave(store, store.catalog.roster(roster), [checked_key(key, what="member key")], on=on))


async def get(store: Store, roster: str, key: str) -> Member | None:
    """One member, if it is there."""
    name, wanted = store.catalog.roster(roster).name, checked_key(key, what="member key")
    found = await store.read(lambda: stored.get(name, wanted))
    return None if found is None else _member(found, roster)


async def count(store: Store, roster: str) -> int:
    """How many members a roster has."""
    name = store.catalog.roster(roster).name
    return await store.read(lambda: stored.count(name))


async def members(store: Store, roster: str, *, after: str | None = None, limit: int = 500) -> list[Member]:
    """A page of members in the order of their keys, from the first after `after`."""
    if not 1 <= limit <= MOST_PAGE:
        raise BadInput(f"limit= must be a whole number from 1 to {MOST_PAGE:,}, not {limit!r}")
    name, start = store.catalog.roster(roster).name, after or ""
    return [_member(row, roster) for row, _ in await store.read(lambda: stored.page(name, start, limit))]


async def sync(store: Store, roster: str, *, force: bool = False) -> Synced:
    """Bring a roster to what its source yields: who is new joins, who is no longer named leaves.

    Refuses, as `Conflict` and with nothing changed, to let more than `max_shrink` of the members go, unless `force`.
    A member that joined while the source was being read stays.
    """
    spec, jobs = store.catalog.roster(roster), store.catalog.of_roster(roster)
    if spec.source is None:
        raise BadInput(f"the roster {roster!r} has no source: give it source=, or join its members")
    now_ms, before = await store.write(lambda: stored.began(spec))
    wanted = {entry.key: entry for entry in _entries(await _yielded(spec.source), jobs)}
    gone = await _compare(store, roster, wanted, now_ms)
    if not force and len(gone) > before * spec.max_shrink:
        raise Conflict(
            f"the source of {roster!r} leaves out {len(gone):,} of {before:,} members, at most {spec.max_shrink:.0%} "
            "may go at once, so nothing was changed: look at the source, or sync with force"
        )
    left = 0
    for start in range(0, len(gone), MOST_PAGE):
        left += len(await _write_leave(store, spec, gone[start : start + MOST_PAGE], on=None))
    joined = changed = 0
    entries = list(wanted.values())
    for start in range(0, len(entries), MOST_PAGE):
        answer = await _write_join(store, spec, jobs, entries[start : start + MOST_PAGE], slot=None, on=None)
        joined, changed = joined + len(answer.fresh), changed + answer.changed
    note = f"{joined} joined, {changed} changed, {left} left"
    await store.write(lambda: query("note_sync", roster=roster, note=note))
    return Synced(joined=joined, changed=changed, left=left, members=await count(store, roster))


async def _compare(store: Store, roster: str, wanted: dict[str, Entry], began_ms: int) -> list[str]:
    """Take from `wanted` who is there already and as wanted; who is there and not wanted leaves."""
    gone: list[str] = []
    after = ""
    while True:
        page = await store.read(lambda start=after: stored.page(roster, start, MOST_PAGE))  # type: ignore[misc]
        for member, joined_at in page:
            entry = wanted.get(member.key)
            if entry is None:
                if joined_at <= began_ms:
                    gone.append(member.key)
            elif entry.on(member) == member:
                del wanted[member.key]
        if len(page) < MOST_PAGE:
            return gone
        after = page[-1][0].key


async def _yielded(source: Callable[[], object]) -> list[object]:
    """What a source yields, whichever colour it has."""
    found = source()
    if inspect.isawaitable(found):
        found = await found
    if isinstance(found, AsyncIterable):
        return [entry async for entry in found]
    if not isinstance(found, Iterable):
        raise BadInput(f"a source must yield keys, dicts or Members, not return {found!r}")
    return list(found)


async def sync_due(store: Store) -> None:
    """Sync each roster that has a source and has not been synced for `SYNC_MS`; a fault of one is told as an event."""
    ages = {row[0]: row[1] for row in await store.read(lambda: query("synced"))}
    for spec in store.catalog.rosters.values():
        if spec.source is None or ages.get(spec.name, SYNC_MS) < SYNC_MS:
            continue
        try:
            await sync(store, spec.name)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 -- a source is foreign code: its faults must not end the chores
            note = f"sync failed: {clean_text(str(error) or type(error).__name__, most=NOTE_BYTES)}"
            await store.write(lambda name=spec.name, text=note: query("note_sync", roster=name, note=text))  # type: ignore[misc]
            store.events.tell("error", store.clock.now_ms(), roster=spec.name, reason=note)


async def reconcile(store: Store, *, declare: bool = True) -> Reconciled:
    """Bring jobs and turns in the store to what this process declares; cheap when there is nothing to do.

    With `declare`, at start-up: what this process says of a job counts from now on. Without, as a chore: only jobs
    are looked at whose stored schedule is ours. Any number of processes may call it; one at a time does the pages.
    """
    catalog = store.catalog
    declared = 0
    if declare and await store.read(lambda: reconciling.undeclared(catalog)):
        await store.write(lambda: reconciling.lanes(catalog))
        declared = await store.write(lambda: reconciling.declare(catalog))
    jobs = await store.read(reconciling.stored_jobs)
    open_jobs = [
        spec for spec in catalog.ordered() if spec.name in jobs and jobs[spec.name].reconciled != reconciling.DONE
    ]
    if not open_jobs:
        return Reconciled(declared=declared)
    holder = store.clock.token()
    added = moved = 0
    for spec in open_jobs:
        done = False
        while not done:
            page = await store.write(lambda job=spec: reconciling.page(catalog, job, holder))  # type: ignore[misc]
            if page is None:
                return Reconciled(declared=declared, added=added, moved=moved, busy=True)
            added, moved, done = added + page.added, moved + page.moved, page.done
    await store.write(lambda: query("drop_lease", name=reconciling.LEASE, holder=holder))
    if added or moved:
        await store.wake()
    return Reconciled(declared=declared, added=added, moved=moved)


async def tend(store: Store, turns: Sequence[int]) -> int:
    """Settle the places of turns that changed while an attempt ran (`on_end` bit 2); how many."""
    return await store.write(lambda: reconciling.tend(store.catalog, turns)) if turns else 0


async def rebalance(
    store: Store, job: str, *, preview: bool = False, by: str = "local", reason: str | None = None
) -> Evened:
    """Move as few members of a job as it takes to even out its slots, each to a later instant; leaves an audit row.

    With `preview` nothing is written. `Conflict` where the job has no slots, or is not reconciled yet.
    """
    spec = store.catalog.job(job)
    if spec.each is None or not spec.balanced:
        raise Conflict(f"the job {job!r} has no slots to even out: only every() over a roster has")
    roster = store.catalog.roster(spec.each)
    return await store.write(lambda: reconciling.even_out(spec, roster, preview=preview, by=by, reason=reason))


async def _write_join(
    store: Store,
    spec: RosterSpec,
    jobs: Sequence[JobSpec],
    entries: Sequence[Entry],
    *,
    slot: int | Mapping[str, int] | None,
    on: object,
) -> Joined:
    def op() -> Op[Joined]:
        return stored.join(spec, jobs, entries, slot)

    if on is not None:
        return await run_on(on, op, store)
    answer = await store.write(op)
    if answer.fresh:
        _tell(store, "member.joined", spec.name, answer.fresh)
    if answer.due:
        await store.wake()
    return answer


async def _write_leave(store: Store, spec: RosterSpec, keys: Sequence[str], *, on: object) -> list[str]:
    if on is not None:
        return await run_on(on, lambda: stored.leave(spec, keys), store)
    gone = await store.write(lambda: stored.leave(spec, keys))
    if gone:
        _tell(store, "member.left", spec.name, gone)
    return gone


def _tell(store: Store, name: str, roster: str, keys: Sequence[str]) -> None:
    """One event for each transaction: `member` where it was one, and how many."""
    member = keys[0] if len(keys) == 1 else None
    store.events.tell(name, store.clock.now_ms(), roster=roster, member=member, count=len(keys))


def _member(row: Stored, roster: str) -> Member:
    return Member(row.key, row.zone, msgspec.json.decode(row.data), row.owner, row.weight, roster=roster)


def _entries(entries: Iterable[object], jobs: Sequence[JobSpec]) -> list[Entry]:
    """Every entry checked; of a key that comes twice, the later says what it gives and the earlier the rest."""
    checks = [spec.schedule for spec in jobs if spec.schedule is not None and spec.schedule.fields]
    found: dict[str, Entry] = {}
    for item in entries:
        entry = _entry(item)
        if entry.given & DATA:
            for schedule in checks:
                schedule.check_member(entry.zone, msgspec.json.decode(entry.data))
        earlier = found.get(entry.key)
        if earlier is not None:
            entry = Entry(*entry.on(Stored(*earlier[:5])), entry.given | earlier.given)
        found[entry.key] = entry
    return list(found.values())


def _entry(item: object) -> Entry:
    """What a key, a dict or a Member says; `BadInput` where it cannot be stored."""
    if isinstance(item, str):
        return Entry(checked_key(item, what="member key"))
    if isinstance(item, Member):
        fields: Mapping[str, Any] = {name: getattr(item, name) for name in _NAMES}
        given = ALL_GIVEN
    elif isinstance(item, Mapping) and "key" in item and item.keys() <= _NAMES:
        fields = item
        given = sum(_GIVEN[name] for name in item if name != "key")
    else:
        member_of(item)  # says in one sentence what is wrong
        raise BadInput(f"a member must be a key, a dict with 'key', or a Member, not {item!r}")
    owner = fields.get("owner")
    return Entry(
        checked_key(fields["key"], what="member key"),
        checked_zone(fields.get("zone")),
        data_text(fields.get("data", {}), what="the member's data"),
        None if owner is None else checked_key(owner, what="owner key"),
        checked_weight(fields.get("weight", 1)),
        given,
    )
