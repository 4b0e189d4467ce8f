"""How the almanac is: the schedule, the last pass, what the cache and the tables hold.

Always true: it only reads; every count is taken now, and where not every key was asked for its lifetime it says of how
many it speaks.

Not here: the engine's own status (`rota status`), how a person sees it (show).
"""

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, Final, TypeAlias

import orjson

from apps.panchangam import keys
from apps.panchangam.app import NIGHTLY, Panchangam
from apps.panchangam.cities import tier
from apps.panchangam.precompute import today
from apps.panchangam.shelf import Shelf

Json: TypeAlias = dict[str, Any]

ASKED: Final = 200  # keys of a prefix whose lifetime is asked for: one of each city, a few milliseconds in all


async def status(app: Panchangam) -> Json:
    """Give the whole status as plain values for JSON."""
    engine = (await app.rota.status()).as_json()
    job = next(each for each in engine["jobs"] if each["job"] == NIGHTLY)
    roster = next(each for each in engine["rosters"] if each["roster"] == app.cities.name)
    body = await Shelf(app.rota.cache).summary()
    days = [key async for key in app.rota.cache.scan(keys.DAYS)]
    return {
        "v": 1,
        "scheduler": {
            "enabled": job["paused"] is None and engine["stopped"] is None,
            "paused": job["paused"],
            "stopped": engine["stopped"],
            "time": f"{app.settings.precompute_time} Asia/Kolkata",
            "nextRunAt": job["nextDueAt"],
            "due": job["due"],
            "running": job["running"],
            "dead": job["dead"],
        },
        "tier": app.settings.city_precompute,
        "days": app.settings.precompute_days,
        "cities": {name: roster[name] for name in ("members", "fresh", "late", "stale", "new", "paused")},
        "verdict": engine["verdict"],
        "lastSummary": None if body is None else orjson.loads(body),
        "coverage": _coverage(app, set(days)),
        "keys": [await _prefix(app, prefix) for prefix in keys.PREFIXES],
        "cache": asdict(await app.rota.cache.stats()),
        "tables": await _tables(app),
    }


async def _tables(app: Panchangam) -> Json | None:
    if app.rota.tables is None:
        return None
    from apps.panchangam.table_facts import table_facts

    return await app.rota.tables.ask(table_facts)


def _coverage(app: Panchangam, there: set[str]) -> Json:
    """Count how many of the days that should be in the cache are."""
    first: date = today(app.rota)
    wanted = [
        keys.day_key(city.slug, first + timedelta(days=ahead))
        for city in tier(app.settings.city_precompute)
        for ahead in range(app.settings.precompute_days)
    ]
    return {"wanted": len(wanted), "present": sum(key in there for key in wanted)}


async def _prefix(app: Panchangam, prefix: str) -> Json:
    """Count the keys of a prefix and find the shortest lifetime, of one key in each stride."""
    found = await _all(app.rota.cache.scan(prefix))
    asked = found[:: -(-len(found) // ASKED)] if found else []
    lifetimes = [lifetime for key in asked if (lifetime := await app.rota.cache.ttl(key)) is not None]
    return {
        "prefix": prefix,
        "count": len(found),
        "shortestTtl": min(lifetimes).total_seconds() if lifetimes else None,
        "asked": len(asked),
    }


async def _all(found: AsyncIterator[str]) -> list[str]:
    return [key async for key in found]
