"""Whether it is the store's clock that leapt, or a worker that died: watched by a clock that never leaps.

A lease that is over for an hour by the store's clock proves nothing when that clock may be set (G-19). So whoever finds
one looks for a whole lease, by its own monotonic clock, whether another beat comes. A worker that lives beats three
times in it; one that does not has lost what it held. Each process watches for itself, in memory: there is nothing to
agree on, and a second leap in between changes nothing.

Always true: nobody is called silent before a whole lease without a beat has passed; what is forgotten is watched anew.

Not here: what is doubted and what is lost (store/reaping.py), guarding the host's clock (clock.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

from rota.clock import Clock, Guard
from rota.store.reaping import Doubted, Silent


class _Watched(NamedTuple):
    """A doubted worker: the beat that was seen, until when the next may come (monotonic), whether one came before."""

    beat_at: int
    until_s: float
    lives: bool


class Doubts:
    """What one process knows of the workers whose life the store's clock cannot tell."""

    def __init__(self, clock: Clock, lease_ms: int) -> None:
        """`lease_ms` is looked at for where a worker's own lease is not known."""
        self._clock = clock
        self._lease_ms = lease_ms
        self._watched: dict[str, _Watched] = {}

    def silent(self, found: Sequence[Doubted]) -> list[Silent]:
        """Of all who are doubted now, those that have let a whole lease pass without a beat; safe to ask twice."""
        now_s = self._clock.monotonic()
        self._watched = {one.worker: self._seen(one, now_s) for one in found}
        return [(worker, seen.beat_at) for worker, seen in self._watched.items() if seen.until_s <= now_s]

    @property
    def left_s(self) -> float:
        """How long until it is known of all that have not beaten since they are watched; 0 when it is."""
        now_s = self._clock.monotonic()
        return max((one.until_s - now_s for one in self._watched.values() if not one.lives), default=0.0)

    def _seen(self, one: Doubted, now_s: float) -> _Watched:
        before = self._watched.get(one.worker)
        if before is not None and before.beat_at == one.beat_at:
            return before
        if not self._clock.leaps:
            return _Watched(one.beat_at, now_s, lives=False)
        known = one.lease_ms is not None and one.lease_ms > 0  # else it has no row, or the clock leapt while it beat
        lease_ms = one.lease_ms if known and one.lease_ms is not None else self._lease_ms
        return _Watched(one.beat_at, now_s + lease_ms / 1000, lives=before is not None)


class StoreTime:
    """The store's clock as this process has seen it go: suspect for a minute after a leap, as a host's clock is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told_ms = 0
        self._guard: Guard | None = None

    def suspect(self, now_ms: int) -> bool:
        """Whether the store's clock, which shows this instant, has leapt and does not yet agree with itself."""
        self._told_ms = now_ms
        if self._guard is None:
            self._guard = Guard(lambda: self._told_ms, self._clock.monotonic)
        self._guard.now_ms()
        return self._guard.suspect
