"""What a scenario under strain found: one JSON file and one row of a table for each.

Always true: what was allowed stands beside what happened; a scenario that could not run says why and counts as skipped,
never as held; seconds are how long it took.

Not here: running scenarios (__main__).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "proof"


@dataclass(slots=True, kw_only=True)
class Report:
    """One scenario on one store; `found` are the figures for people, `wrong` what did not hold."""

    scenario: str
    title: str
    store: str
    form: str
    seconds: float = 0.0
    found: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    skipped: str | None = None

    def say(self, what: str, text: str, **figures: Any) -> None:
        """Add a figure for people, and the numbers behind it."""
        self.found[what] = text
        self.figures |= figures

    def hold(self, that: bool, text: str) -> None:
        """Note what must be true and is not."""
        if not that:
            self.wrong.append(text)

    @property
    def verdict(self) -> str:
        """`held`, `violated` or `skipped`."""
        if self.skipped is not None:
            return "skipped"
        return "violated" if self.wrong else "held"

    def save(self, folder: Path = FOLDER) -> Path:
        """Write the JSON file, and beside it what is printed."""
        folder.mkdir(parents=True, exist_ok=True)
        base = folder / f"{self.scenario.lower()}-{self.store}-{self.form}"
        whole = {"schema": "rota.strain/1", **asdict(self), "seconds": round(self.seconds, 1), "verdict": self.verdict}
        file = base.with_suffix(".json")
        file.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
        base.with_suffix(".txt").write_text(f"{self}\n")
        return file

    def __str__(self) -> str:
        head = f"{self.scenario} {self.title} · {self.store} · {self.form} · {self.seconds:.0f} s · {self.verdict}"
        width = max((len(what) for what in self.found), default=0) + 2
        lines = [f"  {what.ljust(width)}{text}" for what, text in self.found.items()]
        lines += [f"  ✗ {text}" for text in self.wrong]
        if self.skipped is not None:
            lines.append(f"  skipped: {self.skipped}")
        return "\n".join([head, *lines])


def row(report: Report) -> str:
    """The scenario's row in a table."""
    words = (
        report.skipped or "; ".join(report.wrong) or "; ".join(f"{what} {text}" for what, text in report.found.items())
    )
    cells = (report.scenario, report.title, report.store, report.form, f"{report.seconds:.0f} s", report.verdict, words)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(reports: Sequence[Report]) -> str:
    """All rows, for a document."""
    return "\n".join(
        ["| | what | store | form | took | | found |", "|---|---|---|---|---|---|---|", *map(row, reports)]
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0
