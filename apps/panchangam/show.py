"""What a person sees: a day, a year's festivals, the status and a pass, as text.

Always true: on a terminal tables are drawn and coloured, into a pipe or a file goes plain text; nothing here computes.

Not here: the commands (commands), the documents (almanac).
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from apps.panchangam.almanac import reference
from apps.panchangam.almanac.records import INDIAN_ZONE, zone_of
from apps.panchangam.almanac.reference import PUBLISHED, Quantity, Report

Json: TypeAlias = dict[str, Any]
Rows: TypeAlias = Sequence[tuple[str, str]]

WIDTH: Final = 18  # letters of the first column in plain text
COUNTS: Final = ("succeeded", "retrying", "dead", "snoozed", "skipped", "held", "cancelled", "postponed", "left")
NEXT_STEPS: Final = (
    (".venv/bin/rota status", "the engine: every city fresh, or who is not and why"),
    (".venv/bin/rota why cities/mumbai", "one city's story"),
    (".venv/bin/python -m apps.panchangam status", "the almanac: last pass, next run, cache"),
    (".venv/bin/python -m apps.panchangam day pune today", "a day anywhere in the list"),
    (".venv/bin/python -m apps.panchangam serve", "the read API and the nightly worker"),
    ("make dev", "only the worker"),
)
_QUANTITIES: Final = {each.name: each for each in vars(reference).values() if isinstance(each, Quantity)}
_GOOD: Final = (("Brahma muhurta", "brahmaMuhurta"), ("Abhijit", "abhijit"), ("Vijaya", "vijaya"))
_BAD: Final = (("Rahu kalam", "rahuKalam"), ("Yamaganda", "yamaganda"), ("Gulika", "gulika"))


def table(title: str, rows: Rows) -> None:
    """Print two columns under a title."""
    if not sys.stdout.isatty():
        print(title)
        width = max(WIDTH, *(len(name) for name, _ in rows)) if rows else WIDTH
        for name, value in rows:
            print(f"  {name:<{width}} {value}")
        return
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_style="bold", title_justify="left", show_header=False, box=None, padding=(0, 2))
    drawn.add_column(style="dim")
    drawn.add_column()
    for row in rows:
        drawn.add_row(*row)
    Console(highlight=False, markup=False).print(drawn)


def day_rows(document: Json) -> Iterator[tuple[str, str]]:
    """Give a day's document as rows."""
    day = document["date"]
    months, years = document["months"], document["years"]
    yield "Weekday", f"{document['vara']['weekday']} ({document['vara']['name']})"
    yield "Sun", f"rises {_clock(document['sunrise'], day)}, sets {_clock(document['sunset'], day)}"
    yield "Moon", f"rises {_clock(document['moonrise'], day)}, sets {_clock(document['moonset'], day)}"
    for name, limb in (("Tithi", "tithis"), ("Nakshatra", "nakshatras"), ("Yoga", "yogas"), ("Karana", "karanas")):
        yield name, _stretches(document[limb], day)
    yield (
        "Month",
        f"{months['amanta']['name']}, by full moons {months['purnimanta']['name']}, {document['paksha']} paksha",
    )
    yield (
        "Year",
        f"Shaka {years['shaka']}, Vikram {years['vikram']}, {document['samvatsaras']['south']['name']} samvatsara",
    )
    yield "Moon phase", f"{document['moon']['phase']}, {document['moon']['illumination']:.0%} lit"
    yield "Good", _windows(document, _GOOD, ("Amrit kalam", "amritKalam"), day)
    yield "Bad", _windows(document, _BAD, ("Varjyam", "varjyam"), day)


def festival_rows(festivals: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """Give festivals as rows of date and name."""
    for festival in festivals:
        at = datetime.fromisoformat(festival["date"])
        yield f"{at:%a %d %b %Y}", f"{festival['name']} ({festival['kind']}, {festival['region']})"


def status_rows(found: Json) -> Iterator[tuple[str, str]]:
    """Give the status as rows."""
    scheduler, cities, coverage, cache = (found[name] for name in ("scheduler", "cities", "coverage", "cache"))
    yield "Verdict", found["verdict"]
    yield "Schedule", f"{scheduler['time']}, {_switch(scheduler)}"
    yield "Next run", local(scheduler["nextRunAt"]) if scheduler["nextRunAt"] else "none is planned"
    yield "Cities", ", ".join(f"{count} {name}" for name, count in cities.items() if count)
    yield "Coverage", f"{coverage['present']} of {coverage['wanted']} days ahead are in the cache"
    yield "Last pass", _last_pass(found["lastSummary"])
    for prefix in found["keys"]:
        shortest = prefix["shortestTtl"]
        left = f", the first of {prefix['asked']} asked ends in {_span(shortest)}" if shortest is not None else ""
        yield f"Keys {prefix['prefix']}*", f"{prefix['count']}{left}"
    size = "unknown" if cache["bytes"] is None else f"{cache['bytes'] / 1e6:.1f} MB"
    yield "Cache", f"{cache['kind']}, {size}, {cache['hits']} hits, {cache['misses']} misses, {cache['errors']} errors"
    for name, about in (found["tables"] or {}).items():
        used = "index used" if about["indexUsed"] else "INDEX NOT USED"
        yield f"Table {name}", f"{about['rows']} rows, {about['bytes'] / 1e6:.1f} MB, {used}"


def tick_lines(summary: Json, held: Json | None, now_ms: int) -> Iterator[str]:
    """Say what a pass came to: its counts, or why there was nothing to do, and when the next run is."""
    if summary["busy"]:
        yield "Another pass is at work; this one did nothing."
        return
    if summary["stopped"] is not None:
        yield f"Everything is stopped by {summary['stopped']['by']}: {summary['stopped']['reason']}; nothing was run."
        return
    if summary["due"]:
        counts = ", ".join(f"{summary[name]} {name}" for name in COUNTS if summary[name])
        yield f"{summary['due']} cities were due: {counts}, in {summary['duration']:.1f} s."
        yield from (f"  {job['job']}: {job['error']}" for job in summary["jobs"] if job["error"])
    else:
        yield "Nothing is due."
    if held is not None:
        yield f"The nightly run is paused by {held['by']}: {held['reason']}."
    elif summary["nextDueAt"] is not None:
        ahead = datetime.fromisoformat(summary["nextDueAt"]).timestamp() - now_ms / 1000
        yield f"The next run is on {local(summary['nextDueAt'])}, in {_span(ahead)}."


def check_lines(report: Report) -> Iterator[str]:
    """Give a comparison with a reference file: each kind, each quantity with its tolerance, and every miss."""
    for name, kind in report.kinds.items():
        yield f"{name}: {kind.rows} rows, {kind.fields} fields compared, {len(kind.failures)} failures"
        for quantity, worst in kind.worst.items():
            about = _QUANTITIES[quantity]
            allowed = f"tolerance {about.must:.6g} {about.unit}, target {about.target:g} {about.unit}"
            if name == PUBLISHED and about.unit == "s":
                allowed = "tolerance that of each row"  # printed tables are rounded, each in its own way
            yield f"  {quantity}: worst deviation {worst:.6g} {about.unit}, {allowed}"
        yield from (f"  MISS {failure}" for failure in kind.failures)
    yield "No miss." if report.ok else "There are misses."


def local(instant: str) -> str:
    """Give an instant on the Indian clock.

    >>> local("2026-01-01T21:00:00Z")
    'Fri 02 Jan 2026 02:30 IST'
    """
    return f"{datetime.fromisoformat(instant).astimezone(zone_of(INDIAN_ZONE)):%a %d %b %Y %H:%M} IST"


def _switch(scheduler: Json) -> str:
    if scheduler["stopped"] is not None:
        return f"everything is stopped by {scheduler['stopped']['by']}: {scheduler['stopped']['reason']}"
    if scheduler["paused"] is not None:
        return f"paused by {scheduler['paused']['by']}: {scheduler['paused']['reason']}"
    return "on"


def _last_pass(summary: Json | None) -> str:
    if summary is None:
        return "none in the last 24 hours"
    failed = "".join(f"; {each['city']}: {each['error']}" for each in summary["errors"])
    return (
        f"{local(summary['finished'])}, {summary['succeeded']} of {summary['expected']} cities, "
        f"{summary['documents']} days in {summary['duration']:.1f} s{failed}"
    )


def _stretches(stretches: Sequence[Json], day: str) -> str:
    """Say `Shukla Chaturthi until 03:05 (11 Feb), then Shukla Panchami`."""
    first, *rest = (f"{each['name']} until {_clock(each['end'], day)}" for each in stretches[:-1] or stretches)
    words = ", then ".join([first, *rest])
    return f"{words}, then {stretches[-1]['name']}" if len(stretches) > 1 else words


def _windows(document: Json, names: Rows, span: tuple[str, str], day: str) -> str:
    parts = [(title, document["slots"][name]) for title, name in names]
    parts += [(span[0], each) for each in document[span[1]]]
    told = (f"{title} {_clock(each['start'], day)}–{_clock(each['end'], day)}" for title, each in parts if each)
    return ", ".join(told)


def _clock(instant: str | None, day: str) -> str:
    """Give hours and minutes, with the date where it is another day's."""
    if instant is None:
        return "not at all"
    at = datetime.fromisoformat(instant)
    return f"{at:%H:%M}" if instant.startswith(day) else f"{at:%H:%M (%d %b)}"


def _span(seconds: float) -> str:
    days, rest = divmod(timedelta(seconds=round(seconds)), timedelta(days=1))
    hours, minutes = divmod(int(rest.total_seconds()) // 60, 60)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"
