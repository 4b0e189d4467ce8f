"""One city's run: compute its days and festivals, write the tables, then the cache, and note what came of it.

Always true: data goes to the tables first and to the cache second; a cache that is away fails no run; a city whose
data are wrong, or whose tables refuse it, fails alone and is named in the summary.

Not here: when it runs (app), how fifty cities share the work (bundle), adding up (account).
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from apps.panchangam import keys
from apps.panchangam.account import Account, Entry, Plan
from apps.panchangam.almanac.festival_rules import REGIONS
from apps.panchangam.almanac.festivals import region_calendar
from apps.panchangam.almanac.records import INDIAN_ZONE, Place, zone_of
from apps.panchangam.bundle import Bundle, Bundles, Window
from apps.panchangam.cities import City, tier
from apps.panchangam.settings import PanchangamSettings
from rota import Fail, Member, Rota

if TYPE_CHECKING:
    from apps.panchangam.tables import Tables

FORGET_S: Final = 30.0  # how long documents that nobody has taken yet stay in memory: a pass takes two seconds

_log = logging.getLogger("panchangam")


def member_of(city: City) -> Member:
    """Give a city as a member of the roster."""
    place = city.place
    data = {
        "order": city.order,
        "name": place.name,
        "state": place.state,
        "lat": place.lat,
        "lon": place.lon,
        "elevation": place.elevation_m,
    }
    return Member(city.slug, zone=INDIAN_ZONE, data=data)


def place_of(member: Member) -> Place:
    """Give the place that a member's data describe; data that describe none are `Fail`."""
    data: Mapping[str, Any] = member.data
    try:
        return Place(
            lat=float(data["lat"]),
            lon=float(data["lon"]),
            zone=member.zone or INDIAN_ZONE,
            slug=member.key,
            name=str(data.get("name", member.key)),
            state=str(data.get("state", "")),
            elevation_m=float(data.get("elevation", 0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Fail(
            f"The city {member.key} has no usable place ({error!r}): give it lat and lon in degrees with "
            f"`rota member set cities/{member.key}`."
        ) from error


def today(rota: Rota) -> date:
    """Give the date in India now, whatever the zone of the machine."""
    return datetime.fromtimestamp(rota.clock.now_ms() / 1000, zone_of(INDIAN_ZONE)).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sinks:
    """Where documents go: rota has the cache, the tables are optional."""

    rota: Rota
    tables: "Tables | None"


class Precompute:
    """Computes and writes cities."""

    def __init__(self, settings: PanchangamSettings, sinks: Sinks) -> None:
        chosen = tier(settings.city_precompute)
        self._days = settings.precompute_days
        self._rota = sinks.rota
        self._tables = sinks.tables
        self._bundles = Bundles([city.place for city in chosen])
        self._regions = _regions_of([city.slug for city in chosen])
        plan = Plan(tier=settings.city_precompute, cities=len(chosen), days=settings.precompute_days)
        self._account = Account(plan, sinks.rota.clock.token())
        self._forgetting: asyncio.TimerHandle | None = None

    async def run(self, member: Member) -> None:
        """Do one city."""
        window = Window(first=today(self._rota), days=self._days)
        entry = self._account.begin(member.key, window.first, self._rota.clock.now_ms())
        try:
            await self._write(member, window, entry)
        except asyncio.CancelledError:
            self._account.abandon()
            raise
        except Exception as error:
            self._mark(entry)
            entry.error = f"{type(error).__name__}: {error}"
            _log.warning("city %s failed: %s", member.key, entry.error)
            await self._account.end(entry, self._rota.cache)
            raise
        await self._account.end(entry, self._rota.cache)

    async def _write(self, member: Member, window: Window, entry: Entry) -> None:
        bundle = self._take(place := place_of(member), window)
        self._mark(entry)
        if self._tables is not None:
            await self._write_tables(self._tables, place, window, bundle)
        self._mark(entry)
        await self._write_cache(member.key, bundle)
        entry.documents, entry.festival_months = len(bundle.days), len(bundle.months)
        entry.bytes = bundle.size
        self._mark(entry)

    def _take(self, place: Place, window: Window) -> Bundle:
        bundle = self._bundles.take(place, window)
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(FORGET_S, self._bundles.forget)
        return bundle

    def _mark(self, entry: Entry) -> None:
        entry.marks.append(self._rota.clock.now_ms())

    async def _write_tables(self, tables: "Tables", place: Place, window: Window, bundle: Bundle) -> None:
        computed_at = datetime.fromtimestamp(self._rota.clock.now_ms() / 1000, UTC)
        await tables.store_days(place, bundle.days, computed_at)
        for region in self._regions.get(place.slug, ()):
            festivals = [
                festival
                for year in dict.fromkeys(year for year, _ in window.months)
                for festival in region_calendar(region, year)
                if window.first <= festival.date <= window.last
            ]
            await tables.store_festivals(region, (window.first, window.last), festivals, computed_at)

    async def _write_cache(self, city: str, bundle: Bundle) -> None:
        cache = self._rota.cache
        await cache.set_many([(keys.day_key(city, day), body) for day, body in bundle.days], ttl=keys.DAY_TTL)
        months = [(keys.festivals_key(city, *month), body) for month, body in bundle.months]
        await cache.set_many(months, ttl=keys.FESTIVALS_TTL)


def _regions_of(slugs: list[str]) -> dict[str, list[str]]:
    """Say which city's run writes the calendar of which region: the main city's, or the first where it is no member."""
    found: dict[str, list[str]] = {}
    for region, about in REGIONS.items():
        keeper = about.main_city if about.main_city in slugs else slugs[0]
        found.setdefault(keeper, []).append(region)
    return found
