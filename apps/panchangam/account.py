"""What a nightly pass did, added up over cities and processes: the summary of the pass.

Each process writes an entry for each city it did to a key of its own, before that city's run is settled. Whenever none
of its cities is under way it adds up the keys of all processes and writes the sum. So the last one to finish writes the
whole, also when another was killed.

Always true: a city counts once, with its latest attempt; a cache that is away loses a summary and nothing else.

Not here: what a city's run does (precompute).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Protocol, TypeAlias

import orjson

from apps.panchangam import keys
from apps.panchangam.almanac.layout import CONVENTIONS, ENGINE, SCHEMA_VERSION, SUNRISE

Json: TypeAlias = dict[str, Any]

MOST_WRITES: Final = 10  # of the sum, one after the other; the process that made it old writes it too
STAGES: Final = ("almanac", "tables", "cache")

_log = logging.getLogger("panchangam")


class Cache(Protocol):
    """What is needed of `rota.cache`."""

    async def get(self, key: str) -> bytes | None:
        """Give the bytes of a key."""

    async def set(self, key: str, value: object, *, ttl: timedelta) -> None:
        """Keep a value for a time."""

    def scan(self, prefix: str) -> AsyncIterator[str]:
        """Give every key that begins so."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One city in one pass; `marks` are ms UTC: its begin and the ends of the stages it reached."""

    city: str
    marks: list[int]
    documents: int = 0
    festival_months: int = 0
    bytes: int = 0
    error: str | None = None

    def as_list(self) -> list[Any]:
        """Give the short form that parts are stored in."""
        return [self.city, self.marks, self.documents, self.festival_months, self.bytes, self.error]

    @classmethod
    def of(cls, stored: list[Any]) -> "Entry":
        """Read the short form."""
        city, marks, documents, months, size, error = stored
        return cls(city=city, marks=marks, documents=documents, festival_months=months, bytes=size, error=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the pass is meant to do."""

    tier: str
    cities: int
    days: int


class Account:
    """The entries of this process, and the way to the summary."""

    def __init__(self, plan: Plan, process: str) -> None:
        self._plan = plan
        self._process = process
        self._first = date.min
        self._entries: dict[str, Entry] = {}
        self._busy = 0
        self._ended = 0
        self._written = 0  # how many of the ended are in the part that was written last
        self._writing = asyncio.Lock()

    def begin(self, city: str, first: date, at_ms: int) -> Entry:
        """Open the entry of a city whose window begins with a day."""
        if first != self._first:
            self._first = first
            self._entries = {}
            _log.info("the pass of %s begins: %s cities, %s days", first, self._plan.cities, self._plan.days)
        self._busy += 1
        return Entry(city=city, marks=[at_ms])

    async def end(self, entry: Entry, cache: Cache) -> None:
        """Close it, and write the summary where no other city is under way in this process."""
        self._busy -= 1
        self._entries[entry.city] = entry
        self._ended += 1
        last, number = not self._busy, self._ended
        async with self._writing:
            if self._written < number:  # else somebody who waited less wrote this entry with his own
                await self._write_part(cache)
            if last:
                await self._add_up(cache)

    def abandon(self) -> None:
        """Close an entry that tells nothing: its run was cut short and somebody does it again."""
        self._busy -= 1

    async def _write_part(self, cache: Cache) -> None:
        self._written = self._ended
        part = [entry.as_list() for entry in self._entries.values()]
        await cache.set(keys.part_key(self._first, self._process), orjson.dumps(part), ttl=keys.SUMMARY_TTL)

    async def _add_up(self, cache: Cache) -> None:
        """Write the sum of all parts; again if another process wrote its part meanwhile."""
        first = self._first
        others = await _other_parts(cache, first, self._process)
        for _ in range(MOST_WRITES):
            whole = summary(self._plan, first, latest([*self._entries.values(), *others]))
            await cache.set(keys.SUMMARY, orjson.dumps(whole), ttl=keys.SUMMARY_TTL)
            seen, others = others, await _other_parts(cache, first, self._process)
            if others == seen:
                _log.info("the pass of %s: %s cities succeeded, %s failed", first, whole["succeeded"], whole["failed"])
                return


async def _other_parts(cache: Cache, first: date, process: str) -> list[Entry]:
    """Read what the other processes of this pass have written."""
    entries: list[Entry] = []
    async for key in cache.scan(keys.part_key(first, "")):
        body = None if key == keys.part_key(first, process) else await cache.get(key)
        if body:
            entries += [Entry.of(stored) for stored in orjson.loads(body)]
    return entries


def latest(entries: Iterable[Entry]) -> list[Entry]:
    """Keep for each city the attempt that began last."""
    found: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.marks[0]):
        found[entry.city] = entry
    return list(found.values())


def summary(plan: Plan, first: date, entries: list[Entry]) -> Json:
    """Add up the entries of a pass."""
    failed = [entry for entry in entries if entry.error is not None]
    started, finished = min(entry.marks[0] for entry in entries), max(entry.marks[-1] for entry in entries)
    return {
        "v": SCHEMA_VERSION,
        "engine": ENGINE,
        "kernel": CONVENTIONS["ephemeris"],
        "ayanamsa": CONVENTIONS["ayanamsa"],
        "sunrise": SUNRISE[False],
        "tier": plan.tier,
        "first": first.isoformat(),
        "last": (first + timedelta(days=plan.days - 1)).isoformat(),
        "days": plan.days,
        "started": _text(started),
        "finished": _text(finished),
        "duration": (finished - started) / 1000,
        "stages": {name: _spent(entries, number) for number, name in enumerate(STAGES)},
        "expected": plan.cities,
        "cities": len(entries),
        "succeeded": len(entries) - len(failed),
        "failed": len(failed),
        "documents": sum(entry.documents for entry in entries),
        "festivalDocuments": sum(entry.festival_months for entry in entries),
        "bytes": sum(entry.bytes for entry in entries),
        "errors": [{"city": entry.city, "error": entry.error} for entry in failed],
    }


def _spent(entries: list[Entry], stage: int) -> float:
    """Give the seconds during which any city was in a stage: cities wait side by side, so times do not add up."""
    spans = sorted(tuple(entry.marks[stage : stage + 2]) for entry in entries if len(entry.marks) > stage + 1)
    spent_ms, reached = 0, 0
    for begin, end in spans:
        spent_ms += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return spent_ms / 1000


def _text(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
