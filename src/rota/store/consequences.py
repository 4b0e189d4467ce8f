"""What the ends of attempts bring with them, in their transaction: causes, dead letters, followers, who is set free.

Always true: turns are locked in the order of their ids, before keys, causes, jobs' rows and buckets; who holds some
already, as who reaps does, waits for no further one. So two ends never wait for each other in a ring.

Not here: the ends themselves (turns.py), what an outcome means (engine/settle.py).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter

from rota.store import gates
from rota.store.port import Op
from rota.store.sql import Call
from rota.turn.gates import Heat
from rota.turn.records import Claim, End, Ending, Wake, Well

Led = tuple[str, str | None, str | None]  # a follower: its job, roster and member


def lock(ends: Sequence[Ending], *, patient: bool) -> Op[Sequence[Ending]]:
    """Lock the turns that some ends will write, where more than one statement writes them; these ends by turn.

    Without patience (the turns are held already) those whose followers others hold are left out.
    """
    ends = sorted(ends, key=_turn_of)
    led = {(one.job, end.claim.roster, end.claim.member) for end in ends if end.leads for one in end.leads}
    if not patient:
        return (yield from _with_free_followers(ends, led)) if led else ends
    places = _places([end.wake for end in ends if end.wake is not None])
    if led or places or _statements(ends) > 1:
        rows: list[tuple[object, ...]] = [(end.claim.id, None, None, None, None, 0) for end in ends]
        rows += [(None, *one, None, 0) for one in led]
        yield Call("lock_ends", {}, rows + [(None, None, None, None, *one) for one in places.items()])
    return ends


def _statements(ends: Sequence[Ending]) -> int:
    """How many statements write these ends."""
    if set(map(type, ends)) == {Well}:
        return len({end.claim.standing for end in ends})
    return len({(type(end), end.claim.standing, type(end) is End and end.after is None) for end in ends})


_turn_of = attrgetter("claim.id")


def _with_free_followers(ends: Sequence[Ending], led: Iterable[Led]) -> Op[list[Ending]]:
    followers = yield Call("followers", {}, sorted(led, key=str))
    free = {row[0] for row in (yield Call("lock_free", {}, [(row[3],) for row in followers if row[3] is not None]))}
    busy = {(row[0], row[1], row[2]) for row in followers if row[3] is not None and row[3] not in free}
    return [end for end in ends if not any((one.job, end.claim.roster, end.claim.member) in busy for one in end.leads)]


def _places(wakes: Sequence[Wake]) -> Counter[str]:
    """How many of those that wait for something may go, by what they wait for."""
    places: Counter[str] = Counter(name for wake in wakes for name in wake.frees)
    places.update({f"scope {scope}": gates.EVERYBODY for scope in {name for wake in wakes for name in wake.works}})
    return places


def locks_shared(end: Ending) -> bool:
    """Whether what follows from this end locks jobs and buckets, after which no claim may lock more of them."""
    if isinstance(end, End) and end.heats:
        return True
    return end.wake is not None and bool(end.wake.batch or end.wake.works or end.wake.unproved)


def follow(taken: Sequence[Ending], others: Sequence[End]) -> Op[None]:
    """All that follows from ends which the store has accepted; `others` are those that are no plain successes."""
    yield from _freed(taken)
    if others:
        yield from _consequences(others)
    wakes = [one.wake for one in taken if one.wake is not None]
    heats = [heat for end in others for heat in end.heats]
    if wakes or heats:
        yield from _shared(wakes, heats)


def _shared(wakes: Sequence[Wake], heats: Sequence[Heat]) -> Op[None]:
    """Turns that wait for these ends are due, scopes work or cool, the pause of a batch begins."""
    batches = sorted({wake.batch for wake in wakes if wake.batch is not None})
    works = {scope for wake in wakes for scope in wake.works}
    unproved = {scope for wake in wakes for scope in wake.unproved} - works
    if batches:
        yield Call("lock_jobs", {}, [(job,) for job, _ in batches])
    yield from gates.lock({*works, *unproved, *(heat.scope for heat in heats)})
    yield Call("rest_batch", {}, [(job, gates.BATCH.format(job), pause_ms) for job, pause_ms in batches])
    if works:
        yield from gates.works(sorted(works))
    yield Call("rouse", {}, sorted(_places(wakes).items()))
    if unproved:
        yield from gates.unproved(sorted(unproved))
    if heats:
        yield from gates.cool(heats)


def _freed(taken: Sequence[Ending]) -> Op[None]:
    """What an end brings with it: a key that may be forgotten in a while, followers that are due."""
    keys = [
        (one.claim.job, one.claim.key, one.claim.id)
        for one in taken
        if one.claim.key and not one.claim.standing and (isinstance(one, Well) or one.after is None)
    ]
    if keys:
        yield Call("free_keys", {}, keys)
    led = [
        (lead.job, one.claim.roster, one.claim.member, lead.bit, lead.failed, lead.leaders, slot_of_run(one.claim))
        for one in taken
        if one.leads
        for lead in one.leads
    ]
    if led:
        yield from lead(led)


def _consequences(ends: Sequence[End]) -> Op[None]:
    """What the other ends bring with them: causes, dead letters, and followers whose leaders had ended again."""
    failed = [end for end in ends if end.failure is not None]
    if failed:
        yield Call("add_errors", {}, _causes(failed))
    dead = [end for end in ends if end.dead]
    if dead:
        yield Call("add_dead_letters", {}, [_dead_letter(end) for end in dead])
    following = [(end.claim.id, end.after.leaders) for end in ends if end.after is not None and end.after.leaders]
    if following:
        yield Call("follow_on", {}, following)


News = tuple[str, str | None, str | None, int, int, int, int | None]  # as the statement `lead` wants it


def lead(news: Sequence[News]) -> Op[None]:
    """Tell followers that runs they follow are over; an UPDATE takes one row for each, so theirs are put together."""
    told: dict[tuple[str, str | None, str | None], News] = {}
    for one in news:
        job, roster, member, bit, failed, leaders, slot_at = one
        before = told.get((job, roster, member))
        if before is not None:
            newest = max(slot_at or 0, before[6] or 0) or None  # the order of a batch means nothing
            one = (job, roster, member, before[3] | bit, before[4] | failed, leaders, newest)  # noqa: PLW2901
        told[job, roster, member] = one
    yield Call("lead", {}, list(told.values()))


def _causes(failed: Sequence[End]) -> list[tuple[object, ...]]:
    groups: dict[tuple[str, str], list[End]] = defaultdict(list)
    for end in failed:
        if end.failure is not None:
            groups[end.claim.job, end.failure.fingerprint].append(end)
    rows: list[tuple[object, ...]] = []
    for (job, _), group in groups.items():
        last = group[-1]
        if last.failure is not None:
            rows.append((job, *last.failure, len(group), last.claim.id, last.claim.run))
    return rows


def _dead_letter(end: End) -> tuple[object, ...]:
    claim = end.claim
    return (
        claim.id,
        claim.run,
        claim.job,
        claim.roster,
        claim.member,
        claim.key,
        claim.args,
        slot_of_run(claim),
        claim.tries,
        claim.losses,
        end.reason or "failed",
        end.failure.fingerprint if end.failure else None,
    )


def slot_of_run(claim: Claim) -> int | None:
    """The slot that this run uses up: a run by hand leaves its turn's slot alone."""
    return None if claim.manual else claim.slot_at
