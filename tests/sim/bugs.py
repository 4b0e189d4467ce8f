"""Bugs on purpose, to see that the simulation finds them: each makes one line of the engine wrong for a while.

Always true: what was changed is put back; nothing of this is ever shipped.

Not here: the other deliberate bugs of reliability 6, which need real processes or another suite.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rota.engine import attempt, settle
from rota.engine.doubts import Doubts
from rota.store.sql import Dictionary
from rota.turn import gates as rules

WORLDS = 50  # within so many each of these is found (reliability 5 b); most are in the first three


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
    return _statement("lost_ids", ("(worker.lease_until <", "(0 <"))


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
    return _instead(attempt, "FRESH_S", 1e9)


def a_stop_is_not_read_by_the_claim() -> Any:
    """The emergency stop is left out of the claim."""
    return _statement("lanes", ("pause.scope = 'all' OR", ""))


@contextmanager
def nobody_reaps() -> Iterator[None]:
    """What a dead worker held stays with it: nothing false is ever seen, but it never heals."""
    nobody = ("turn.state = 'running'", "turn.state = 'nobody'")
    with _statement("lost_ids", nobody), _statement("silent_ids", nobody):
        yield


def a_leap_of_the_clock_is_believed() -> Any:
    """Whose lease is over for hours is dead at once, though it may be the clock that was set."""
    return _instead(Doubts, "silent", lambda _self, found: [(one.worker, one.beat_at) for one in found])


ALL = (
    settle_without_the_fence,
    reap_a_live_lease,
    nobody_reaps,
    a_leap_of_the_clock_is_believed,
    next_slot_from_now,
    no_look_between_claim_and_start,
    a_stop_is_not_read_by_the_claim,
)


# -- policies --------------------------------------------------------------------------------------


def a_rate_counts_each_process_alone() -> Any:
    """What a start uses of a limit is not written: the next claim finds it unused."""
    return _instead(rules.Bucket, "spend", lambda _self, _now_ns, _n=1: None)


def a_cool_down_is_forgotten() -> Any:
    """A scope that said "too often" is not closed."""
    return _instead(rules.Bucket, "cool", lambda _self, _now_ms, _delay_ms: None)


def everybody_probes() -> Any:
    """After a cool-down all that waited start at once."""
    return _instead(rules, "PROBE_MS", 0)


def a_batch_without_its_pause() -> Any:
    """The next batch begins when the last has ended."""
    return _statement("rest_batch", ("+ ended.pause_ms", "+ 0 * ended.pause_ms"))


def a_serial_key_is_held_by_the_attempt() -> Any:
    """Between two tries of a run another one of its key may start."""
    return _statement("serial_holders", ("turn.run = serial.run", "turn.run = serial.run AND turn.state = 'running'"))


def a_cap_by_key_counts_nothing() -> Any:
    """What runs already is not counted."""
    return _statement("running_members", ("turn.state = 'running'", "turn.state = 'nobody'"))


def a_stale_wait_is_roused() -> Any:
    """A turn that was put off to its next slot still says what it waited for, and is called before its time."""
    return _statement("defer", (", waits_for = NULL", ""))


POLICIES = (
    a_rate_counts_each_process_alone,
    a_cool_down_is_forgotten,
    everybody_probes,
    a_batch_without_its_pause,
    a_serial_key_is_held_by_the_attempt,
    a_cap_by_key_counts_nothing,
    a_stale_wait_is_roused,
)
