"""What the ends of attempts bring with them, in their transaction: causes, dead letters, followers, who is set free.

Always true: turns are changed before jobs' rows and buckets are locked, so no end and no claim wait for each other.

Not here: the ends themselves (turns.py), what an outcome means (engine/settle.py).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from rota.store import gates
from rota.store.port import Op
from rota.store.sql import Call
from rota.turn.records import Claim, End, Ending, Wake, Well


def follow(taken: Sequence[Ending], others: Sequence[End]) -> Op[None]:
    """All that follows from ends which the store has accepted; `others` are those that are no plain successes."""
    yield from _freed(taken)
    if others:
        yield from _consequences(others)
    wakes = [one.wake for one in taken if one.wake is not None]
    if wakes:
        yield from _woken(wakes)
    heats = [heat for end in others for heat in end.heats]
    if heats:
        yield from gates.cool(heats)


def _woken(wakes: Sequence[Wake]) -> Op[None]:
    """Turns that wait for these ends are due, scopes that were proved work, the pause of a batch begins."""
    places: Counter[str] = Counter(name for wake in wakes for name in wake.frees)
    works = sorted({scope for wake in wakes for scope in wake.works})
    places.update({f"scope {scope}": gates.EVERYBODY for scope in works})
    yield Call("rouse", {}, sorted(places.items()))
    batches = sorted({wake.batch for wake in wakes if wake.batch is not None})
    if batches:
        yield Call("lock_jobs", {}, [(job,) for job, _ in batches])
        yield Call("rest_batch", {}, [(job, gates.BATCH.format(job), pause_ms) for job, pause_ms in batches])
    if works:
        yield from gates.works(works)
    unproved = sorted({scope for wake in wakes for scope in wake.unproved} - set(works))
    if unproved:
        yield from gates.unproved(unproved)


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
    yield Call("lead", {}, [one for one in told.values() if one[2] is not None])
    yield Call("lead_alone", {}, [(one[0], *one[3:]) for one in told.values() if one[2] is None])


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
