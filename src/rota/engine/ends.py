"""From what an attempt came to, the end that is written: with what it sets free and what it puts on cool-down.

Always true: an end is made without a look at the store, so it can be made while the store is away.

Not here: what an outcome means for the turn (settle.py), writing it (pump.py).
"""

from collections.abc import Iterable, Sequence

from rota.clock import Clock
from rota.define.catalog import Catalog
from rota.define.job import JobSpec
from rota.define.outcome import RateLimited
from rota.engine.lane import Running
from rota.engine.scopes import Scopes
from rota.engine.settle import Ended, Released, end_of, well
from rota.engine.shared import is_failure, names_of, wake_of
from rota.turn.gates import Bounds, Heat, bounds_of
from rota.turn.records import End, Ending


class Ends:
    """Makes the ends of one pump's attempts."""

    def __init__(self, catalog: Catalog, scopes: Scopes, clock: Clock, incarnation: str) -> None:
        self._catalog, self._scopes, self._clock, self._incarnation = catalog, scopes, clock, incarnation
        self._bounds: dict[str, Bounds | None] = {}

    def bounds(self, spec: JobSpec) -> Bounds | None:
        """What runs of a job share with others."""
        if spec.name not in self._bounds:
            self._bounds[spec.name] = bounds_of(spec)
        return self._bounds[spec.name]

    def cools(self, one: Running) -> str | None:
        """The scope that keeps a run that was claimed and not yet started from it, as far as this process knows."""
        if one.probes or self._scopes.quiet(one.started_s):
            return None
        return self._scopes.cools(self._scopes_of(one), one.started_s)

    def _scopes_of(self, one: Running) -> Iterable[str]:
        learned = self._scopes.learned.get(one.claim.job, ())
        return (*names_of(self.bounds(one.spec), one.claim).all_scopes, *learned)

    def acknowledged(self, ends: Sequence[Ending]) -> None:
        """The store has what these ends said of scopes."""
        if self._scopes.untold:
            self._scopes.acknowledged(heat.scope for end in ends if isinstance(end, End) for heat in end.heats)

    def of(self, one: Running, came: object) -> Ending:
        """The end of an attempt that came to this."""
        busy_ms = int((self._clock.monotonic() - one.started_s) * 1000)
        if came is None and not one.spec.after:
            end: Ending = well(self._catalog, one.spec, one.claim, self._incarnation, one.started_at, busy_ms)
        else:
            dice = self._clock.dice() if isinstance(came, BaseException) else 0.0
            facts = Ended(self._incarnation, one.started_at, busy_ms, dice)
            end = end_of(self._catalog, one.spec, one.claim, came, facts)
        bounds = self.bounds(one.spec)
        if bounds is None and not one.probes and not isinstance(came, RateLimited):
            return end
        return self._shared(one, end, came, bounds)

    def _shared(self, one: Running, end: Ending, came: object, bounds: Bounds | None) -> Ending:
        """Add what the end means for others, and remember here what is not yet known there."""
        if isinstance(end, End):
            end = end._replace(heats=(*end.heats, *self._breaks(one, came)))
            for heat in end.heats:
                self._scopes.note(heat.scope, heat.delay_ms, heat.job)
        elif self._scopes.counting:
            self._scopes.succeeded(self._scopes_of(one))
        wake = wake_of(one.spec, bounds, end, one.probes)
        if wake is None:
            return end
        self._scopes.open(wake.works)
        return end._replace(wake=wake)

    def _breaks(self, one: Running, came: object) -> tuple[Heat, ...]:
        """Failures in a row open a scope like a breaker; a probe that fails opens it again."""
        if not is_failure(came) or one.spec.links or isinstance(came, Released):
            return ()
        names = names_of(self.bounds(one.spec), one.claim).all_scopes
        hot = [name for name in dict.fromkeys((*names, *one.probes)) if self._scopes.failed(name)]
        return tuple(Heat(name, None, f"failed too often in a row: {came}"[:500]) for name in hot)
