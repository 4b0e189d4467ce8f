"""For tests of applications: a clock you hold, and an application put on a fresh store in memory.

Always true: nothing sleeps; the clock moves only when the test moves it, or when `drain` goes from due to due.

Not here: servers, real time, other processes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from rota.app.rota import Rota
from rota.clock import Clock, give_way
from rota.define.units import duration_ms, instant_ms
from rota.engine.admit import asks
from rota.engine.settle import LEAST_MS
from rota.store import turns, views

__all__ = ["Isolated", "ManualClock", "isolated"]


class ManualClock(Clock):
    """A clock that a test holds: it stands still until it is set or advanced.

    >>> clock = ManualClock("2026-03-01T12:00:00Z")
    >>> clock.advance("1h30m")
    >>> clock.now().isoformat()
    '2026-03-01T13:30:00+00:00'
    """

    held = True
    leaps = False  # its monotonic clock goes with it, so that an hour that was moved has passed

    def __init__(self, start: str | datetime = "2026-01-01T00:00:00Z", *, seed: int = 0) -> None:
        super().__init__()
        self._ms = _instant(start)
        self._start_ms = self._ms
        self._dice = seed
        self._tokens = seed * 1_000_000

    @property
    def suspect(self) -> bool:
        """A held clock is believed."""
        return False

    def now(self) -> datetime:
        """The instant it shows, aware, in UTC."""
        return datetime.fromtimestamp(self._ms / 1000, UTC)

    def now_ms(self) -> int:
        """The instant it shows, in ms."""
        return self._ms

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return (self._ms - self._start_ms) / 1000

    def set(self, at: str | datetime) -> None:
        """Show this instant from now on."""
        self._ms = _instant(at)

    def advance(self, duration: timedelta | str) -> None:
        """Show an instant that much later."""
        self._ms += duration_ms(duration, name="duration")

    def dice(self) -> float:
        """Numbers that look random and are the same in every run."""
        self._dice = (self._dice * 1_103_515_245 + 12_345) % 2**31
        return self._dice / 2**31

    def token(self) -> str:
        """Names that are the same in every run."""
        self._tokens += 1
        return f"{self._tokens:016x}"

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002 -- time is moved, never slept
        """Let others run; time stands still."""
        await give_way()


def _instant(at: str | datetime) -> int:
    return instant_ms(datetime.fromisoformat(at) if isinstance(at, str) else at)


class Isolated:
    """An application on a store in memory, with a clock you hold."""

    def __init__(self, rota: Rota, clock: ManualClock) -> None:
        self._rota = rota
        self.clock = clock

    async def drain(self, until: str | datetime | None = None) -> int:
        """Run what is due now until nothing is; with `until`, move the clock from due to due up to that instant.

        How many runs have ended.
        """
        ended = await self._drain_now()
        if until is None:
            while await self._next_due_ms() == self.clock.now_ms() + LEAST_MS:  # a retry without a delay
                self.clock.advance(timedelta(milliseconds=LEAST_MS))
                ended += await self._drain_now()
            return ended
        until_ms = _instant(until)
        while (due_ms := await self._next_due_ms()) is not None and due_ms <= until_ms:
            self.clock.set(datetime.fromtimestamp(max(due_ms, self.clock.now_ms()) / 1000, UTC))
            ended += await self._drain_now()
        self.clock.set(datetime.fromtimestamp(until_ms / 1000, UTC))
        return ended

    async def _drain_now(self) -> int:
        ended = 0
        while True:
            summary = await self._rota.tick()
            came = sum(count.ended for count in summary.jobs)
            ended += came
            if not came:
                return ended

    async def _next_due_ms(self) -> int | None:
        store = await self._rota.opened()
        wait_ms = await store.read(lambda: turns.next_due(asks(store.catalog.ordered())))
        return None if wait_ms is None else self.clock.now_ms() + wait_ms

    async def journal(self) -> list[dict[str, Any]]:
        """Every row of the journal, oldest first (at most 100,000)."""
        store = await self._rota.opened()
        return await store.read(lambda: views.journal(100_000))


@asynccontextmanager
async def isolated(rota: Rota, *, start: str | datetime = "2026-01-01T00:00:00Z") -> AsyncIterator[Isolated]:
    """Put a fresh store in memory and a ManualClock under an application, for the length of a block.

    >>> import asyncio
    >>> from rota import Rota
    >>> rota = Rota()
    >>> seen = []
    >>> @rota.job
    ... async def greet(name: str) -> None:
    ...     seen.append(name)
    >>> async def main() -> None:
    ...     async with isolated(rota) as t:
    ...         await greet.enqueue("ada")
    ...         await t.drain()
    >>> asyncio.run(main())
    >>> seen
    ['ada']
    """
    clock = ManualClock(start)
    with rota.put_on("sqlite:///:memory:", clock):
        try:
            yield Isolated(rota, clock)
        finally:
            await rota.close()
