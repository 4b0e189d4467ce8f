"""What one run shares with others, worked out from its claim: names of buckets and keys, and what its end sets free.

Always true: the same claim gives the same names as the claim itself worked out in the store.

Not here: the arithmetic (turn/gates.py), the rows (store).
"""

from typing import Any, Final

from rota.define.job import JobSpec
from rota.define.outcome import RateLimited, Retryable
from rota.define.stored import read_object
from rota.turn.gates import Bounds, Heat, Keys, bounds_of, filled, keys_of, narrow, values_of
from rota.turn.records import Claim, Ending, Wake, Well

_NOTHING: Final = Keys((), (), None, None)


def values_for(claim: Claim) -> dict[str, Any]:
    """What the holes of a template may name for this run."""
    return values_of(read_object(claim.args), read_object(claim.data), claim.member, claim.owner)


def names_of(bounds: Bounds | None, claim: Claim) -> Keys:
    """The names of all that this run shares."""
    return _NOTHING if bounds is None else keys_of(bounds, claim.job, values_for(claim))


def key_of(template: str, claim: Claim) -> str:
    """A template filled for this run."""
    return filled(template, values_for(claim))


def heat_of(spec: JobSpec, claim: Claim, came: RateLimited) -> Heat:
    """What a refused call means for its scope, and for the job where nothing says which runs are of that scope."""
    values = values_for(claim)
    scope, delay_ms = filled(came.scope, values), came.after_ms or None  # "in no time" says nothing
    bounds = bounds_of(spec)
    keys = _NOTHING if bounds is None else keys_of(bounds, claim.job, values)
    if scope in keys.limits:
        return Heat(scope, delay_ms, came.reason, spec.limits[keys.limits.index(scope)])
    whole = scope not in keys.scopes and not spec.links and not narrow(scope, values)
    return Heat(scope, delay_ms, came.reason, job=spec.name if whole else None)


def wake_of(spec: JobSpec, bounds: Bounds | None, end: Ending, probes: tuple[str, ...]) -> Wake | None:
    """What the end of an attempt sets free; None for nothing."""
    if bounds is None and not probes:
        return None
    frees: list[str] = []
    if bounds is not None and (bounds.serial or bounds.cap_by):
        keys = names_of(bounds, end.claim)
        if keys.cap is not None:
            frees.append(f"cap {keys.cap}")
        if keys.serial is not None and _over(end):
            frees.append(f"serial {keys.serial}")
    batch = None if spec.batch is None else (spec.name, spec.batch.pause_ms)
    works = probes if end.outcome == "succeeded" else ()
    hot = {heat.scope for heat in end.heats} if not isinstance(end, Well) else set()
    unproved = () if works else tuple(scope for scope in probes if scope not in hot)
    if not frees and batch is None and not probes:
        return None
    return Wake(tuple(frees), works, unproved, batch)


def _over(end: Ending) -> bool:
    """Whether the run has ended, and not only this attempt at it."""
    return isinstance(end, Well) or end.after is None or end.after.next_run == 1


def is_failure(came: object) -> bool:
    """Whether a service failed in a way that counts for the breaker of its scope."""
    return isinstance(came, Retryable | TimeoutError | ConnectionError)
