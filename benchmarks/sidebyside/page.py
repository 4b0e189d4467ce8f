"""The tables and the page: what was found, with what, and what is fair and what is not.

Always true: every figure comes from the run that writes the page; the words of the page that judge are about how the
test is made, never about figures.

Not here: finding it (kills.py, year.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from benchmarks.sidebyside.contenders import PLACES, Contender
from benchmarks.sidebyside.days import Days, Drift
from benchmarks.sidebyside.kills import Ordeal
from benchmarks.sidebyside.ledger import LEAST_MS, MOST_MS
from benchmarks.sidebyside.moments import LATEST_S, OUTAGE, ZONE
from benchmarks.sidebyside.verdict import Verdict
from benchmarks.sidebyside.year import Lived

PEERS = Path(__file__).parents[1] / "peers"
NAMES = {"celery": "celery", "rq": "rq", "huey_redis": "huey", "pgqueuer": "pgqueuer", "apscheduler3": "APScheduler"}
TEXT = Path(__file__).with_name("page.txt")

KILL_HEADS = (
    *("system", "settings", "ended", "lost", "failed", "stuck", "run twice", "ended twice"),
    *("all done after", "hit", "again after: median", "longest"),
)
DAY_HEADS = ("scheduler", "runs", "missing", "doubled", "at another time", "the day without 02:30", "the day with two")
DRIFT_HEADS = (
    *("scheduler", "slots missed", "last run late by", "latest run"),
    *("with an outage: missed", "last run late by", "latest run"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a reader must know of the run."""

    date: str
    command: str
    machine: str
    load: str
    postgres: str
    redis: str
    rota: str


def kill_rows(found: Sequence[tuple[Contender, Verdict | str]]) -> list[tuple[str, ...]]:
    """The table of killed workers."""
    rows = []
    for who, verdict in found:
        if isinstance(verdict, str):
            rows.append((who.name, who.settings, verdict, *[""] * (len(KILL_HEADS) - 3)))
            continue
        counts = (verdict.lost, verdict.failed, verdict.stuck + verdict.waiting, verdict.run_twice, verdict.ended_twice)
        rows.append(
            (
                who.name,
                who.settings,
                f"{verdict.ended} of {verdict.jobs}",
                *map(str, counts),
                seconds(verdict.done_s, "–"),
                str(verdict.hits),
                seconds(verdict.again_median_s, "–"),
                seconds(verdict.again_longest_s, "–"),
            )
        )
    return rows


def day_rows(found: Sequence[Lived]) -> list[tuple[str, ...]]:
    """The table of the time of day."""
    rows = [(lived.name.partition(" /")[0], lived.days) for lived in found]
    rows += [("rota, cron", lived.expression) for lived in found if lived.expression is not None]
    return [(name, *_day_cells(days)) for name, days in rows]


def _day_cells(days: Days) -> tuple[str, ...]:
    words = [_readings(day, runs) for day, runs in days.unusual.items()]
    return (str(days.runs), *map(dates, (days.missing, days.doubled, days.elsewhere)), *words)


def _readings(day: date, runs: Sequence[datetime]) -> str:
    read = " and ".join(f"{run:%H:%M} (UTC{run:%z})".replace("00)", ")") for run in runs)
    return f"{day:%d %b}: {read or 'no run'}"


def drift_rows(found: Sequence[Lived]) -> list[tuple[str, ...]]:
    """The table of the period."""
    return [(lived.name, *_drift_cells(lived.period), *_drift_cells(lived.outage)) for lived in found]


def _drift_cells(drift: Drift | None) -> tuple[str, ...]:
    if drift is None:
        return ("–", "–", "–")
    return (f"{drift.missing} of {drift.owed}", *(f"{ms / 1000:,.1f} s" for ms in (drift.last_ms, drift.latest_ms)))


def dates(days: Sequence[date]) -> str:
    """How many, and which when they are few."""
    few = 3
    return f"{len(days)}" + (f" ({', '.join(f'{day:%d %b}' for day in days)})" if 0 < len(days) <= few else "")


def seconds(value: float | None, without: str) -> str:
    """A time, or the word for none."""
    return without if value is None else f"{value:.1f} s"


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    widths = [max(len(line[at]) for line in (heads, *rows)) for at in range(len(heads))]
    lines = [heads, ["─" * width for width in widths], *rows]
    padded = ("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a document."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def versions() -> str:
    """Which versions of the peers took part."""
    lists = [*NAMES, "apscheduler4"]
    found = []
    for peer in lists:
        package = NAMES.get(peer, "APScheduler")
        pinned = (line for line in (PEERS / f"{peer}.txt").read_text().splitlines() if line.startswith(f"{package}=="))
        found.append(next(pinned).replace("==", " "))
    return ", ".join(found)


def document(
    kills: Sequence[tuple[Contender, Verdict | str]], years: Sequence[Lived], ordeal: Ordeal, where: Circumstances
) -> str:
    """The page."""
    return TEXT.read_text().format(
        where=where,
        versions=versions(),
        ordeal=ordeal,
        places=PLACES,
        least_ms=LEAST_MS,
        most_ms=MOST_MS,
        zone=ZONE,
        latest_s=LATEST_S,
        outage_from=f"{OUTAGE[0]:%d %B %H:%M}",
        outage_until=f"{OUTAGE[1]:%d %B %H:%M} UTC",
        kills=markdown_table(KILL_HEADS, kill_rows(kills)),
        days=markdown_table(DAY_HEADS, day_rows(years)),
        drift=markdown_table(DRIFT_HEADS, drift_rows(years)),
    )
