"""What a benchmark found, and how it is shown: one table, the same on a terminal and in the document.

Always true: a row says what was measured, its target where there is one, and whether it was met; a ratio is of
figures from the same run.

Not here: measuring.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: a contender's figure in a subject; `ratio` to whom it is compared with, `met` None without a target."""

    subject: str
    who: str
    figure: str
    ratio: str = ""
    target: str = ""
    met: bool | None = None
    spread: str = ""


def spread(values: Sequence[float]) -> str:
    """How far the rounds lie apart: half their range, in percent of the median."""
    if len(values) < 2:
        return ""
    return f"±{(max(values) - min(values)) / 2 / median(values):.0%}"


def rate(value: float) -> str:
    """A rate as people say it."""
    return f"{value:,.0f}/s"


HEADS = ("what", "who", "measured", "rounds", "ratio", "target", "")


def cells(row: Row) -> tuple[str, ...]:
    """The words of a line."""
    met = {None: "", True: "met", False: "MISSED"}[row.met]
    return (row.subject, row.who, row.figure, row.spread, row.ratio, row.target, met)


def text_table(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    lines = [HEADS, *(cells(row) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADS))]
    shown: list[str] = []
    before = ""
    for line in lines:
        words = ("" if line[0] == before else line[0], *line[1:])
        before = line[0]
        shown.append("  ".join(word.ljust(width) for word, width in zip(words, widths, strict=True)).rstrip())
    shown.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(shown)


def markdown_table(rows: Sequence[Row]) -> str:
    """The table for a document."""
    lines = ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    lines += ["| " + " | ".join(word.replace("|", "\\|") for word in cells(row)) + " |" for row in rows]
    return "\n".join(lines)


def machine() -> str:
    """What it ran on, in one line."""
    cpu = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = f"{len(names)} × {names[0]}" if names else cpu
    memory = ""
    if Path("/proc/meminfo").exists():
        kilobytes = int(Path("/proc/meminfo").read_text().split()[1])
        memory = f", {kilobytes / 2**20:.0f} GB"
    return f"{cpu}{memory}, {platform.system()}, {platform.python_implementation()} {platform.python_version()}"


def today() -> str:
    """The date of the run."""
    return datetime.now(UTC).strftime("%Y-%m-%d")
