"""Bugs on purpose, to see that the simulation finds them: each makes one line of the engine wrong for a while.

Always true: what was changed is put back; nothing of this is ever shipped.

Not here: the other deliberate bugs of reliability 6, which need real processes or another suite.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rota.engine import pump, settle
from rota.store.sql import Dictionary

WORLDS = 25  # within so many each of these is found; most are in the first three


@contextmanager
def _statement(name: str, wrong: tuple[str, str]) -> Iterator[None]:
    """One statement with a piece of its text replaced."""
    found = Dictionary.__getitem__

    def other(self: Dictionary, asked: str) -> Any:
        compiled = found(self, asked)
        if asked != name:
            return compiled
        assert wrong[0] in compiled.text
        return replace(compiled, text=compiled.text.replace(*wrong))

    Dictionary.__getitem__ = other  # type: ignore[method-assign]
    try:
        yield
    finally:
        Dictionary.__getitem__ = found  # type: ignore[method-assign]


@contextmanager
def _instead(place: Any, name: str, wrong: Any) -> Iterator[None]:
    kept = getattr(place, name)
    setattr(place, name, wrong)
    try:
        yield
    finally:
        setattr(place, name, kept)


def settle_without_the_fence() -> Any:
    """The end of an attempt is accepted whoever holds the lease now."""
    return _statement("settle", ("AND turn.attempt = ends.attempt AND turn.worker = ends.worker", ""))


def reap_a_live_lease() -> Any:
    """An attempt is given to another though its worker lives."""
    return _statement("lost_ids", (">=", "< 0 AND worker.lease_until >="))


def next_slot_from_now() -> Any:
    """The next slot is counted from the end of the run."""

    def wrong(spec: Any, claim: Any) -> int | None:
        if spec.schedule is None or claim.slot_at is None:
            return None
        place = settle.place_of(claim, spec)
        return claim.slot_at if claim.manual else spec.schedule.next_slot(claim.claimed_at, place)

    return _instead(settle, "next_slot", wrong)


def no_look_between_claim_and_start() -> Any:
    """A worker that was frozen after its claim starts without asking."""
    return _instead(pump, "FRESH_S", 1e9)


def a_stop_is_not_read_by_the_claim() -> Any:
    """The emergency stop is left out of the claim."""
    return _statement("lanes", ("pause.scope = 'all' OR", ""))


def nobody_reaps() -> Any:
    """What a dead worker held stays with it: nothing false is ever seen, but it never heals."""
    return _statement("lost_ids", ("turn.state = 'running'", "turn.state = 'nobody'"))


ALL = (
    settle_without_the_fence,
    reap_a_live_lease,
    nobody_reaps,
    next_slot_from_now,
    no_look_between_claim_and_start,
    a_stop_is_not_read_by_the_claim,
)
