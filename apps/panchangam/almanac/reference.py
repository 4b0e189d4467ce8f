"""The almanac held against a file of published or independently computed values.

Always true: every column that a row fills in is compared, and a column nobody knows is a failure, not a silence; what
is expected comes from the file, what is found from the same code that makes the documents.

Not here: the rules themselves; reading the answers off the almanac (reference_answers).
"""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeAlias

from apps.panchangam.almanac import reference_answers
from apps.panchangam.almanac.festivals import festival_dates
from apps.panchangam.almanac.records import INDIAN_ZONE, OutsideKernel, zone_of
from apps.panchangam.almanac.reference_answers import Answer, Row

FestivalDates: TypeAlias = Callable[[str, float, float, int], list[date]]

# What says which row it is, or where it comes from.
DESCRIPTIVE = frozenset({"kind", "festival", "city", "lat", "lon", "year", "date", "special", "source", "tolerance_s"})
NO_EVENT = "none"
PUBLISHED = "panchang_published"  # printed tables, rounded to minutes: no target is set for them
PUBLISHED_S = 120.0  # seconds, where a published row does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Something compared within a tolerance: what must be reached and what is aimed at (2015 to 2035)."""

    name: str
    unit: str
    must: float
    target: float


LIMB = Quantity(name="limb boundary", unit="s", must=60, target=3)
SUN = Quantity(name="sunrise, sunset", unit="s", must=20, target=2)
MOON = Quantity(name="moonrise, moonset", unit="s", must=60, target=3)
SLOT = Quantity(name="slot", unit="s", must=30, target=2)
NEW_MOON = Quantity(name="new moon", unit="s", must=60, target=3)
SANKRANTI = Quantity(name="sankranti", unit="s", must=90, target=15)
AYANAMSA = Quantity(name="ayanamsa", unit="deg", must=0.5 / 3600, target=0.000_01)  # the file has five decimals
SUN_LONGITUDE = Quantity(name="Sun's longitude", unit="deg", must=0.001, target=0.0001)
MOON_LONGITUDE = Quantity(name="Moon's longitude", unit="deg", must=0.003, target=0.0001)

_BY_COLUMN = {
    "sunrise": SUN,
    "sunset": SUN,
    "next_sunrise": SUN,
    "moonrise": MOON,
    "moonset": MOON,
    "ayanamsa": AYANAMSA,
    "sun_lon": SUN_LONGITUDE,
    "moon_lon": MOON_LONGITUDE,
}
_LIMB_COLUMN = re.compile(r"(tithi|nakshatra|yoga|karana)\d+_(start|end)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One value that is not what the file says."""

    row: int  # line of the file, the header being 1
    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"line {self.row}: expected {self.column} {self.expected}, found {self.found}"


@dataclass
class KindReport:
    """What came of the rows of one kind."""

    rows: int = 0
    fields: int = 0
    skipped: str | None = None
    failures: list[Failure] = field(default_factory=list)
    worst: dict[str, float] = field(default_factory=dict)  # largest deviation of each quantity, in its unit
    beyond_target: dict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True)
class Report:
    """What came of a file, kind by kind."""

    kinds: Mapping[str, KindReport]

    @property
    def ok(self) -> bool:
        """True when every compared value is within what must be reached."""
        return not any(kind.failures for kind in self.kinds.values())

    def lines(self) -> Iterator[str]:
        """Give the report as text: a line for each kind, one for each quantity, and every failure."""
        for name, kind in self.kinds.items():
            if kind.skipped:
                yield f"{name}: {kind.rows} rows, not compared: {kind.skipped}"
                continue
            yield f"{name}: {kind.rows} rows, {kind.fields} fields, {len(kind.failures)} failures"
            for quantity, worst in kind.worst.items():
                late = kind.beyond_target.get(quantity, 0)
                yield f"  {quantity}: worst {worst:.6g}" + (f", {late} beyond the target" if late else "")
            yield from (f"  {failure}" for failure in kind.failures)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as plain values for JSON."""
        kinds = {
            name: {
                "rows": kind.rows,
                "fields": kind.fields,
                "skipped": kind.skipped,
                "failures": [str(failure) for failure in kind.failures],
                "worst": dict(kind.worst),
                "beyondTarget": dict(kind.beyond_target),
            }
            for name, kind in self.kinds.items()
        }
        return {"ok": self.ok, "kinds": kinds}


def check(path: Path | str, festival_dates: FestivalDates | None = festival_dates) -> Report:
    """Compare the almanac with a reference file.

    The kinds are `panchang`, `panchang_published`, `masa`, `sankranti` and `festival`; without rules for
    the last it is counted as not compared. Raises ValueError for a file without the column `kind`.
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if "kind" not in (reader.fieldnames or ()):
            raise ValueError(f"Expected a reference file with a column 'kind', found {reader.fieldnames} in {path}.")
        return check_rows(reader, festival_dates)


def check_rows(rows: Iterable[Row], festival_dates: FestivalDates | None = festival_dates) -> Report:
    """Compare the almanac with rows of a reference file."""
    kinds: dict[str, KindReport] = {}
    for number, row in enumerate(rows, start=2):
        report = kinds.setdefault(row["kind"], KindReport())
        report.rows += 1
        _check_row(report, number, row, festival_dates)
    return Report(kinds)


def _check_row(report: KindReport, number: int, row: Row, festival_dates: FestivalDates | None) -> None:
    if row["kind"] == "festival":
        _check_festival(report, number, row, festival_dates)
        return
    answer = reference_answers.ANSWERS.get(row["kind"])
    if answer is None:
        known = ", ".join((*reference_answers.ANSWERS, "festival"))
        report.failures.append(Failure(row=number, column="kind", expected=f"one of {known}", found=row["kind"]))
        return
    try:
        found = answer(row)
    except OutsideKernel as error:
        report.failures.append(Failure(row=number, column="date", expected=row["date"], found=str(error)))
        return
    for column, expected in row.items():
        if expected and column not in DESCRIPTIVE:
            report.fields += 1
            _compare(report, number, column, row, found.get(column))


def _check_festival(report: KindReport, number: int, row: Row, festival_dates: FestivalDates | None) -> None:
    if festival_dates is None:
        report.skipped = "no festival rules were given"
        return
    report.fields += 1
    year = int(row["year"] or row["date"][:4])
    try:
        found = festival_dates(row["festival"], float(row["lat"]), float(row["lon"]), year)
    except (
        LookupError,
        OutsideKernel,
    ) as error:  # a festival we do not know, a year without a sky: a miss like any other
        report.failures.append(Failure(row=number, column=row["festival"], expected=row["date"], found=str(error)))
        return
    if date.fromisoformat(row["date"]) not in found:
        text = ", ".join(map(str, found)) or "no date"
        report.failures.append(Failure(row=number, column=row["festival"], expected=row["date"], found=text))


def _compare(report: KindReport, number: int, column: str, row: Row, found: Answer) -> None:
    quantity = _quantity(row["kind"], column)
    expected = row[column]
    if quantity is None:
        if expected != str(found):
            report.failures.append(Failure(row=number, column=column, expected=expected, found=str(found)))
        return
    deviation = _deviation(quantity, expected, found)
    if math.isfinite(deviation):
        report.worst[quantity.name] = max(report.worst.get(quantity.name, 0.0), deviation)
        if row["kind"] != PUBLISHED:
            report.beyond_target[quantity.name] += deviation > quantity.target
    if not deviation <= _must(quantity, row):
        text = _ist(found) if quantity.unit == "s" else str(found)
        report.failures.append(Failure(row=number, column=column, expected=expected, found=text))


def _quantity(kind: str, column: str) -> Quantity | None:
    if kind == "masa":
        return NEW_MOON if column in ("start", "end") else None
    if kind == "sankranti":
        return SANKRANTI if column == "start" else None
    if column in _BY_COLUMN:
        return _BY_COLUMN[column]
    if _LIMB_COLUMN.fullmatch(column):
        return LIMB
    return SLOT if column.endswith(("_start", "_end")) else None


def _must(quantity: Quantity, row: Row) -> float:
    """Give the tolerance: printed tables are held to what their row allows, they are rounded to minutes."""
    if row["kind"] == PUBLISHED and quantity.unit == "s":
        return float(row["tolerance_s"] or PUBLISHED_S)
    return quantity.must


def _deviation(quantity: Quantity, expected: str, found: Answer) -> float:
    """Give how far the two are apart; infinite when only one of them has the event."""
    if not isinstance(found, float):
        return math.inf
    if expected == NO_EVENT or math.isnan(found):
        return 0.0 if expected == NO_EVENT and math.isnan(found) else math.inf
    if quantity.unit == "s":
        return abs(reference_answers.instant(expected) - found)
    apart = abs(float(expected) - found) % 360
    return min(apart, 360 - apart)


def _ist(found: Answer) -> str:
    if not isinstance(found, float) or math.isnan(found):
        return NO_EVENT
    return datetime.fromtimestamp(found, zone_of(INDIAN_ZONE)).isoformat(timespec="milliseconds")
