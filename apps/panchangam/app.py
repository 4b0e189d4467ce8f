"""The application: the roster of cities, the nightly job, and what SCHED_ENABLED does to it.

Always true: one turn for each city, so each is due, fails and is retried alone; the job runs at PRECOMPUTE_TIME on the
Indian clock; a pause that a person made is never touched by SCHED_ENABLED.

Not here: what a city's run does (precompute), the command line (commands), the read API (api).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from apps.panchangam.almanac.records import INDIAN_ZONE
from apps.panchangam.cities import tier
from apps.panchangam.precompute import Precompute, Sinks, member_of
from apps.panchangam.settings import PanchangamSettings
from rota import Fail, Job, Member, Retry, Roster, Rota, daily

if TYPE_CHECKING:
    from apps.panchangam.tables import Tables

PAUSED_BY: Final = "SCHED_ENABLED"  # whose pause it is; only that one is ended when the variable says true again
NIGHTLY: Final = "precompute"
BY_HAND: Final = "precompute_city"


class Almanac(Rota):
    """An application that looks at SCHED_ENABLED when its store is opened, and closes the tables with the store."""

    tables: "Tables | None" = None
    sched_enabled = True
    _switching = False

    async def opened(self) -> Any:  # noqa: ANN401 -- the store is rota's own affair
        """Open the store and see to the switch once."""
        store = await super().opened()
        if not self._switching:
            self._switching = True
            try:
                await self._switch()
            except BaseException:
                self._switching = False
                raise
        return store

    async def close(self) -> None:
        """Close the store and the tables; the next opening looks at the switch again."""
        if self.tables is not None:
            await self.tables.close()
        await super().close()
        self._switching = False

    async def _switch(self) -> None:
        held = await pause_of(self)
        if self.sched_enabled and held is not None and held["by"] == PAUSED_BY:
            await self.resume(job=NIGHTLY, by=PAUSED_BY)
        elif not self.sched_enabled and held is None:
            await self.pause(job=NIGHTLY, reason="SCHED_ENABLED is false", by=PAUSED_BY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panchangam:
    """The parts of the application, wired."""

    settings: PanchangamSettings
    rota: Almanac
    cities: Roster
    nightly: Job[..., Any]
    by_hand: Job[..., Any]


def build(settings: PanchangamSettings, rota: Almanac) -> Panchangam:
    """Declare the roster and the jobs on an application."""
    rota.sched_enabled = settings.sched_enabled
    rota.tables = _tables(settings)
    work = Precompute(settings, Sinks(rota=rota, tables=rota.tables))

    def source() -> Iterable[Member]:
        return [member_of(city) for city in tier(settings.city_precompute)]

    # The list comes with the program: it cannot be half loaded, and a smaller tier is meant.
    cities = rota.roster("cities", source=source, facets=("state",), max_shrink=1.0)

    @rota.job(
        NIGHTLY,
        each=cities,
        schedule=daily(settings.precompute_time, zone=INDIAN_ZONE),
        first_run="now",
        retry=Retry(tries=4, first="5s", factor=4),
        timeout="2m",
    )
    async def precompute(city: Member) -> None:
        """Compute the days ahead and the festivals of a city, and keep them."""
        await work.run(city)

    @rota.job(BY_HAND, retry=Retry(tries=3, first="2s"), timeout="2m")
    async def precompute_city(city: str) -> None:
        """Do the same once, also while the nightly job is paused."""
        member = await cities.get(city)
        if member is None:
            raise Fail(f"The city {city} is no member of the roster: choose a tier that holds it.")
        await work.run(member)

    return Panchangam(settings=settings, rota=rota, cities=cities, nightly=precompute, by_hand=precompute_city)


def _tables(settings: PanchangamSettings) -> "Tables | None":
    """Give the tables where they are wanted; only then SQLAlchemy is imported, which takes a while."""
    if settings.database_url is None:
        return None
    from apps.panchangam.tables import Tables

    return Tables(settings.database_url)


async def pause_of(rota: Rota) -> dict[str, Any] | None:
    """Say who paused the nightly job, if anybody did."""
    jobs = (await rota.status()).as_json()["jobs"]
    return next((job["paused"] for job in jobs if job["job"] == NIGHTLY), None)


def _from_environment() -> Panchangam:
    settings = PanchangamSettings.read()
    return build(settings, Almanac(settings.store_url, name="panchangam", cache=settings.redis_url))


panchangam: Final = _from_environment()
rota: Final = panchangam.rota
