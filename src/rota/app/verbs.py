"""The operators' verbs as methods of an application: each is one call of the function that does it.

Always true: the first awaited call opens the store; whatever changes something takes `by=` and leaves one audit row.

Not here: what the verbs do (operate.py, steer.py, insight), declaring and running (rota.py).
"""

from abc import ABC, abstractmethod
from datetime import datetime, timedelta

from rota import operate, steer
from rota.insight.limits import Cooldown, LimitView, cooldowns, limits
from rota.insight.status import Status, status
from rota.insight.why import why
from rota.settings import Settings
from rota.store.store import Store

Duration = timedelta | str


class Verbs(ABC):
    """What operators may do to an application, and ask of it."""

    name: str

    @abstractmethod
    async def opened(self) -> Store:
        """The store, opened by whoever comes first."""

    async def pause(
        self,
        *,
        job: str | None = None,
        roster: str | None = None,
        member: str | None = None,
        reason: str,
        until: datetime | None = None,
        by: str = "local",
    ) -> None:
        """Pause one of a job, a roster or a member ("roster/key"), until resumed or until an instant."""
        store = await self.opened()
        await operate.pause(store, job=job, roster=roster, member=member, reason=reason, until=until, by=by)

    async def resume(
        self,
        *,
        job: str | None = None,
        roster: str | None = None,
        member: str | None = None,
        reason: str | None = None,
        by: str = "local",
    ) -> bool:
        """End a pause; whether there was one."""
        store = await self.opened()
        return await operate.resume(store, job=job, roster=roster, member=member, reason=reason, by=by)

    async def stop_all(
        self, reason: str, running: str = "finish", wait: Duration | None = None, *, by: str = "local"
    ) -> operate.Stop:
        """The emergency stop: when this returns nothing is claimed anywhere until `resume_all` (G-17).

        `running="cancel"` cancels what runs, "finish" lets it end; `wait` is how long to wait for that.
        """
        return await operate.stop_all(await self.opened(), reason, running=running, wait=wait, by=by)

    async def resume_all(
        self, catch_up: str | None = None, spread: Duration = "10m", *, reason: str | None = None, by: str = "local"
    ) -> bool:
        """End the emergency stop; what became due meanwhile follows each job's `catch_up`, or the one given."""
        store = await self.opened()
        return await operate.resume_all(store, catch_up=catch_up, spread=spread, reason=reason, by=by)

    async def hold(
        self,
        *,
        job: str | None = None,
        member: str | None = None,
        id: int | str | None = None,
        reason: str,
        by: str = "local",
    ) -> list[int]:
        """Hold a run (`id`) or a member's turns until a person lets them go; the turns that are held by this."""
        return await operate.hold(await self.opened(), job=job, member=member, id=id, reason=reason, by=by)

    async def unhold(
        self,
        *,
        job: str | None = None,
        member: str | None = None,
        id: int | str | None = None,
        reason: str | None = None,
        by: str = "local",
    ) -> list[int]:
        """Let held turns go on, due now; the turns that were let go."""
        return await operate.unhold(await self.opened(), job=job, member=member, id=id, reason=reason, by=by)

    async def cancel(
        self,
        *,
        job: str | None = None,
        member: str | None = None,
        id: int | str | None = None,
        reason: str | None = None,
        by: str = "local",
    ) -> operate.Cancelled:
        """Cancel runs: what waits goes on to its next slot, what runs is asked to stop."""
        return await operate.cancel(await self.opened(), job=job, member=member, id=id, reason=reason, by=by)

    async def requeue(
        self,
        id: int | str | None = None,
        *,
        error: str | None = None,
        spread: Duration | None = None,
        priority: int | None = None,
        reason: str | None = None,
        by: str = "local",
    ) -> "list[operate.Requeued]":
        """Make new runs of one dead letter, or of all of a cause, spread over a time; one-offs may get a priority."""
        store = await self.opened()
        return await operate.requeue(store, id=id, error=error, spread=spread, priority=priority, reason=reason, by=by)

    # -- limits and cool-downs ---------------------------------------------------------------------

    async def limits(self) -> list[LimitView]:
        """Every limit with its buckets, at most 500: what is used, who waits, since when, and when it clears.

        >>> from rota import Limit, Rota
        >>> rota = Rota("sqlite:///:memory:")
        >>> @rota.job(limit=Limit("geocoder", "20/s"))
        ... async def locate(city: str) -> None: ...
        >>> async def main() -> list[str | None]:
        ...     async with rota:
        ...         before = await rota.limits()
        ...         await rota.set_limit("geocoder", "5/s", for_="1h", reason="they are moving house", by="ana")
        ...         return [one.rate for one in (*before, *await rota.limits())]
        >>> import asyncio
        >>> asyncio.run(main())
        ['20/s', '5/s']
        """
        return await limits(await self.opened())

    async def set_limit(
        self,
        name: str,
        rate: str | float | None = None,
        *,
        burst: int | None = None,
        until: datetime | None = None,
        for_: Duration | None = None,
        reason: str | None = None,
        by: str = "local",
    ) -> None:
        """Give a limit, or one of its buckets, another rate for the whole fleet, at once; without a rate: as declared.

        It holds until an instant, for a time, or until told. Raises NotFound for a limit that nothing uses, BadInput
        for a wrong rate, burst or end.
        """
        store = await self.opened()
        await steer.set_limit(store, name, rate, burst=burst, until=until, for_=for_, reason=reason, by=by)

    async def cooldowns(self) -> list[Cooldown]:
        """Scopes that cool or have not shown since that they work, at most 500, with the jobs they close."""
        return await cooldowns(await self.opened())

    async def cool(self, scope: str, for_: Duration, *, reason: str, by: str = "local") -> datetime:
        """Put a scope on cool-down for the whole fleet, at once; the instant at which it ends.

        Raises NotFound for a scope that nothing uses, BadInput without a reason.
        """
        return await steer.cool(await self.opened(), scope, for_, reason=reason, by=by)

    async def clear_cooldown(self, scope: str, *, reason: str | None = None, by: str = "local") -> int:
        """End a cool-down: what waited for it is due now. How many scopes had cooled, 0 for none.

        Raises NotFound for a scope that nothing uses.
        """
        return await steer.clear_cooldown(await self.opened(), scope, reason=reason, by=by)

    # -- looking -----------------------------------------------------------------------------------

    async def why(self, member: str, job: str | None = None) -> str:
        """Why a member ("roster/key") is as it is, in sentences."""
        return await why(await self.opened(), member, job)

    async def status(self) -> Status:
        """The morning glance."""
        return await status(await self.opened(), application=self.name, environment=Settings.read().env)
