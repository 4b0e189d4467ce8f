"""Tells the events of runs.

Always true: an event is told after the store has accepted what it speaks of.

Not here: the list of names and who hears them (events.py).
"""

from rota.store.store import Store
from rota.turn.records import Claim, Ending

_NAMES = {
    "succeeded": "run.succeeded",
    "retry": "run.retry",
    "dead": "run.dead",
    "lost": "run.lost",
    "released": "run.released",
    "held": "run.held",
    "skipped": "run.skipped",
}


def tell_start(store: Store, claim: Claim) -> None:
    """A handler is about to be called."""
    store.events.tell("run.started", store.clock.now_ms(), **_who(claim))


def tell_end(store: Store, end: Ending, *, accepted: bool) -> None:
    """An end was accepted, or refused because the lease was another's."""
    if accepted and end.outcome == "succeeded" and not store.events.heard:
        return
    name = _NAMES.get(end.outcome) if accepted else "run.fenced"
    if name is not None:
        store.events.tell(
            name, store.clock.now_ms(), **_who(end.claim), outcome=end.outcome, reason=end.reason, worker=end.worker
        )


def tell_fenced(store: Store, claim: Claim, worker: str, reason: str) -> None:
    """An attempt was called off because its lease is another's: whatever it came to is dropped."""
    store.events.tell("run.fenced", store.clock.now_ms(), **_who(claim), reason=reason, worker=worker)


def _who(claim: Claim) -> dict[str, object]:
    return {
        "run": f"{claim.id}-{claim.run}",
        "attempt": claim.attempt,
        "job": claim.job,
        "roster": claim.roster,
        "member": claim.member,
    }
