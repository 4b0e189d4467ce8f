"""What an outcome means for a turn: the end of an attempt, computed and not yet written.

Always true: the next slot comes from the previous slot, never from now and never from the end; a run by hand
leaves the slot alone; a try given back lowers `tries`, never `attempt`.

Not here: writing it (store/turns.py), calling the handler (attempt.py), catching up (admit.py).
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rota.define.catalog import Catalog
from rota.define.contract import Place
from rota.define.job import JobSpec
from rota.define.outcome import Fail, Hold, Outcome, PauseJob, RateLimited, Skip, Snooze
from rota.engine.chain import Answered, story_of
from rota.engine.failure import failure_of, failure_saying
from rota.engine.shared import heat_of
from rota.errors import StoreUnavailable
from rota.turn.gates import COOL_MS
from rota.turn.records import BEGUN, After, Claim, End, Ending, Failure, Lead, Well

WAIT_MOST_MS: Final = 86_400_000  # a run waits for rate limits for a day in all, then waiting costs tries (design 17)
LEAST_AWAY_MS: Final = 1_000  # a store that was away inside a handler is tried again after a second at the earliest
LEAST_MS: Final = 1  # what comes again is due after the tick that caused it began, so that tick does not take it again


@dataclass(frozen=True, slots=True)
class Ended:
    """The facts of an attempt's end: who ran it, when it began by the store's clock, how long it took."""

    worker: str
    started_at: int | None
    busy_ms: int
    dice: float


_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Lost(Exception):
    """The attempt's worker is gone or its time is over: a loss, not a try."""


class ProcessDied(Lost):
    """The process of a `run_in="process"` is gone while its worker lives: a loss, and never again in the same tick."""


class Released(Exception):
    """Given back unfinished: a drain, a store that is away. No try is used."""


class Cancelled(Exception):
    """Stopped because a person wished it."""


class TimedOut(Exception):
    """The attempt took longer than the job allows."""


class Fenced(Exception):
    """The lease is another's now: whatever the handler returns is dropped."""


def word_of(came: object, why: Exception | None) -> object:
    """What an attempt came to: why it was called off, unless its own last word is that a person must look first.

    A call that may have been carried out must not be made again blindly because its time was over.
    """
    return came if why is None or (isinstance(came, Hold) and not isinstance(why, Fenced)) else why


def end_of(catalog: Catalog, spec: JobSpec, claim: Claim, came: object, facts: Ended) -> Ending:
    """The end of an attempt that came to a value (JSON text where the job keeps it), an outcome or an exception."""
    if isinstance(came, BaseException):
        return _ending(_Ending(catalog, spec, claim, facts), came)
    if isinstance(came, Answered):
        result = came.value if isinstance(came.value, str) and claim.standing else None
        answered = _Ending(catalog, spec, claim, facts).succeed(result)
        return answered._replace(link=came.link, reason=came.why)
    if spec.after or isinstance(came, str):
        result = came if isinstance(came, str) and claim.standing else None
        return _Ending(catalog, spec, claim, facts).succeed(result)
    return well(catalog, spec, claim, facts.worker, facts.started_at, facts.busy_ms)


def well(  # noqa: PLR0917 -- made for every run: positions are faster than names
    catalog: Catalog, spec: JobSpec, claim: Claim, worker: str, started_at: int | None, busy_ms: int
) -> Well:
    """The end of an attempt that simply succeeded; the pump calls it with plain values, as it is on the hot path."""
    leads = _leads(catalog, spec, failed=0) if spec.name in catalog.followers else ()
    slot_at = next_slot(spec, claim) if claim.standing else None
    return Well(claim, worker, started_at, busy_ms, slot_at, _fresh_ms(spec), spec.journal == "all", leads)


def place_of(claim: Claim, spec: JobSpec) -> Place:
    """Where the member of a claim stands in the job's schedule."""
    if claim.data is None or spec.schedule is None or not spec.schedule.fields:
        return Place(claim.phase_ms, claim.zone)
    return Place(claim.phase_ms, claim.zone, _decode(claim.data))


def next_slot(spec: JobSpec, claim: Claim) -> int | None:
    """The slot after the current one; the current one when a run by hand has not used it up."""
    if spec.schedule is None or claim.slot_at is None:
        return None
    if claim.manual:
        return claim.slot_at
    if claim.member is not None and claim.data is None:
        return None  # its member has left: the turn goes with this end, and nothing is known of where it stood
    return spec.schedule.next_slot(claim.slot_at, place_of(claim, spec))


def _next_run(
    spec: JobSpec,
    claim: Claim,
    *,
    fresh_ms: int | None = None,
    result: str | None = None,
    state: str = "waiting",
    reason: str | None = None,
) -> After:
    slot = next_slot(spec, claim)
    leaders = (1 << len(spec.after)) - 1
    return After(state, slot, None, slot, 1, 0, 0, 0, 0, 0, leaders, fresh_ms, reason, result)


def _fresh_ms(spec: JobSpec) -> int:
    """How long a success keeps a member fresh or within grace."""
    return (spec.target_ms or 0) + (spec.grace_ms or 0)


def _leads(catalog: Catalog, spec: JobSpec, *, failed: int) -> tuple[Lead, ...]:
    return tuple(
        Lead(one.spec.name, one.bit, one.bit if failed else 0, one.leaders)
        for one in catalog.followers.get(spec.name, ())
    )


@dataclass(frozen=True, slots=True)
class _Ending:
    """One attempt's end in the making."""

    catalog: Catalog
    spec: JobSpec
    claim: Claim
    facts: Ended

    def end(
        self,
        outcome: str,
        reason: str | None,
        after: After | None,
        failure: Failure | None = None,
        *,
        dead: bool = False,
        leads: tuple[Lead, ...] = (),
    ) -> End:
        kept = self.spec.journal != "none"
        return End(
            self.claim,
            self.facts.worker,
            outcome,
            reason or None,
            after,
            self.facts.started_at,
            self.facts.busy_ms,
            failure,
            dead,
            kept,
            None,
            leads,
        )

    def same_run(
        self,
        *,
        delay_ms: int | None,
        due_at: int | None = None,
        state: str = "waiting",
        back: bool = False,
        lost: bool = False,
        waited_ms: int = 0,
        reason: str | None = None,
    ) -> After:
        """The run goes on: later, or held; `back` gives the try back."""
        claim = self.claim
        return After(
            state,
            due_at,
            delay_ms,
            claim.slot_at,
            0,
            claim.tries - (1 if back or lost else 0),
            claim.losses + (1 if lost else 0),
            claim.waited_ms + waited_ms,
            claim.manual,
            BEGUN,
            0,
            None,
            reason,
            None,
        )

    def succeed(self, result: str | None) -> End:
        """A success that keeps a result, or of a follower."""
        fresh_ms = _fresh_ms(self.spec)
        after = _next_run(self.spec, self.claim, fresh_ms=fresh_ms, result=result) if self.claim.standing else None
        leads = _leads(self.catalog, self.spec, failed=0)
        end = self.end("succeeded", None, after, leads=leads)
        return end if self.spec.journal == "all" else end._replace(journal=False)

    def over(self, outcome: str, reason: str | None, *, failed: int = 0) -> End:
        """The run is over without a success: the next slot, or a one-off is gone."""
        after = _next_run(self.spec, self.claim) if self.claim.standing else None
        return self.end(outcome, reason, after, leads=_leads(self.catalog, self.spec, failed=failed))

    def die(self, reason: str, failure: Failure) -> End:
        """The run is dead: a dead letter, and the next slot or a hold."""
        state = "held" if self.spec.after_death == "hold" else "waiting"
        held_for = f"dead: {reason}" if state == "held" else None
        after = _next_run(self.spec, self.claim, state=state, reason=held_for) if self.claim.standing else None
        return self.end("dead", reason, after, failure, dead=True, leads=_leads(self.catalog, self.spec, failed=1))

    def retry(self, reason: str, failure: Failure, floor_ms: int | None) -> End:
        """Another try at the retry's delay, or death after the last one."""
        delay_ms = self.spec.retry.delay_ms(self.claim.tries, self.facts.dice)
        if delay_ms is None:
            return self.die(reason, failure)
        after = self.same_run(delay_ms=max(delay_ms, floor_ms or 0, LEAST_MS), reason=reason)
        return self.end("retry", reason, after, failure)

    def lose(self, reason: str, delay_ms: int | None) -> End:
        """A loss: counted apart from tries, and poison after too many (G-8)."""
        failure = failure_saying("Lost", reason)
        if self.claim.losses + 1 >= self.spec.max_lost:
            return self.die("poison", failure_saying("Poison", f"lost {self.spec.max_lost} times: {reason}"))
        after = self.same_run(delay_ms=delay_ms, due_at=self.claim.due_at, lost=True)
        return self.end("lost", reason, after, failure)

    def wait_for_store(self, came: StoreUnavailable) -> End:
        """The store was away inside the handler: no try of the run's (G-24), until a day has been waited in all."""
        wait_ms = max(self.spec.retry.first_ms, LEAST_AWAY_MS)
        if self.claim.waited_ms + wait_ms > WAIT_MOST_MS:
            return self.retry(str(came), failure_of(came), wait_ms)
        after = self.same_run(delay_ms=wait_ms, back=True, waited_ms=wait_ms, reason=str(came))
        return self.end("released", str(came), after)

    def wait_for_limit(self, came: RateLimited) -> End:
        """Later without a try, until a day has been waited in all."""
        wait_ms = came.after_ms or COOL_MS
        heats = () if self.spec.links else (heat_of(self.spec, self.claim, came),)
        if self.claim.waited_ms + wait_ms > WAIT_MOST_MS:
            return self.retry(came.reason, failure_saying("RateLimited", came.reason), wait_ms)._replace(heats=heats)
        after = self.same_run(delay_ms=max(wait_ms, LEAST_MS), back=True, waited_ms=wait_ms, reason=came.reason)
        return self.end("rate_limited", came.reason, after)._replace(heats=heats)


def _ending(one: _Ending, came: BaseException) -> End:
    """What an outcome, a word of the engine, or the handler's own exception ends in."""
    match came:
        case Outcome():
            return _of_outcome(one, came)
        case Released():
            return one.end("released", str(came), one.same_run(delay_ms=None, due_at=one.claim.due_at, back=True))
        case StoreUnavailable():
            return one.wait_for_store(came)
        case Cancelled():
            return one.over("cancelled", str(came))
        case Lost():
            return one.lose(str(came), LEAST_MS if isinstance(came, ProcessDied) else None)
    failure = failure_of(came)
    said = failure.kind if failure.message == failure.kind else f"{failure.kind}: {failure.message}"
    return one.retry(story_of(came) or said, failure, None)


def _of_outcome(one: _Ending, came: Outcome) -> End:
    """One line for each outcome of design 17."""
    reason, due_at = came.reason, one.claim.due_at
    match came:
        case RateLimited():
            return one.wait_for_limit(came)
        case Snooze():
            return one.end(
                "snoozed", reason, one.same_run(delay_ms=max(came.after_ms or 0, LEAST_MS), back=True, reason=reason)
            )
        case Skip():
            return one.over("skipped", reason)
        case Hold():
            held = one.same_run(delay_ms=None, due_at=due_at, state="held", back=True, reason=reason)
            return one.end("held", reason, held)
        case PauseJob():
            return one.end("released", reason, one.same_run(delay_ms=None, due_at=due_at, back=True))
        case Fail():
            return one.die(reason, failure_saying("Fail", reason))
    return one.retry(reason, failure_saying(type(came).__name__, reason), came.after_ms)
