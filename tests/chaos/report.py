"""What a scenario found: counts, samples and checks that can be added up over slices, one JSON file and one table.

Always true: a check is printed with what was allowed, what happened and out of how many; a scenario that could not run
says why and counts as skipped, never as held; reports lie in `.cache/proof/`.

Not here: where the numbers come from (judge, the scenarios), which figures a scenario wishes for (its own module).
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

PROOF = Path(__file__).resolve().parents[2] / ".cache" / "proof"

Rule = Literal["at most", "exactly", "at least"]
Row = tuple[str, str]  # the first words of a line of the table, and the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that must hold: `happened` against `allowed` by the rule, out of `of`."""

    name: str
    what: str
    happened: int
    of: int
    allowed: int = 0
    rule: Rule = "at most"
    example: str = ""

    @property
    def holds(self) -> bool:
        """Whether it held."""
        if self.rule == "exactly":
            return self.happened == self.allowed
        return self.happened <= self.allowed if self.rule == "at most" else self.happened >= self.allowed

    def plus(self, other: "Check") -> "Check":
        """Both slices together; a violation of one is not made good by the other."""
        broken = next((one for one in (self, other) if not one.holds), None)
        total = replace(
            self,
            happened=self.happened + other.happened,
            of=self.of + other.of,
            allowed=self.allowed + other.allowed,
            example=self.example or other.example,
        )
        return broken if broken is not None and total.holds else total


class Figure(NamedTuple):
    """A world-class figure: what is wished for, what was reached, and whether that is enough."""

    what: str
    wished: str
    reached: str
    met: bool


@dataclass(slots=True, kw_only=True)
class Tally:
    """What one or more slices of a scenario came to; samples are seconds unless their name says otherwise."""

    counts: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[float]] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    seconds: float = 0.0
    seeds: list[int] = field(default_factory=list)

    def sample(self, name: str, values: Iterable[float]) -> None:
        """Add samples."""
        self.samples.setdefault(name, []).extend(values)

    def check(self, *checks: Check) -> None:
        """Add checks, each under its name and its words."""
        for one in checks:
            place = f"{one.name} {one.what}"
            self.checks[place] = self.checks[place].plus(one) if place in self.checks else one

    def add(self, other: "Tally") -> None:
        """Add another slice."""
        self.counts.update(other.counts)
        for name, values in other.samples.items():
            self.sample(name, values)
        self.check(*other.checks.values())
        self.seconds += other.seconds
        self.seeds += other.seeds

    @property
    def broken(self) -> list[Check]:
        """The checks that did not hold."""
        return [one for one in self.checks.values() if not one.holds]

    def as_json(self) -> dict[str, object]:
        """Everything, so that a later slice can go on from it."""
        checks = [asdict(one) for one in self.checks.values()]
        whole = {"counts": dict(self.counts), "samples": self.samples, "checks": checks}
        return whole | {"seconds": self.seconds, "seeds": self.seeds}

    @classmethod
    def of_json(cls, found: dict) -> "Tally":
        """A tally as it was written."""
        tally = cls(
            counts=Counter(found["counts"]),
            samples=found["samples"],
            seconds=found["seconds"],
            seeds=found["seeds"],
        )
        tally.check(*(Check(**one) for one in found["checks"]))
        return tally


class Spread(NamedTuple):
    """The middle, the tail and the end of some samples; zeros where there are none."""

    count: int
    p50: float
    p99: float
    max: float
    min: float

    def words(self, unit: str = "s") -> str:
        """In words, with the number of samples."""
        if not self.count:
            return "no samples"
        return f"p50 {self.p50:.2f} {unit}   p99 {self.p99:.2f} {unit}   max {self.max:.2f} {unit}   of {self.count:,}"


def spread(values: Sequence[float]) -> Spread:
    """The spread of some samples."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0, 0.0, 0.0, 0.0, 0.0)
    last = len(ordered) - 1
    return Spread(len(ordered), ordered[last // 2], ordered[int(last * 0.99)], ordered[-1], ordered[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A scenario on one store: its tally with the rows and figures made of it, or why it was skipped."""

    scenario: str
    title: str
    store: str
    form: str
    tally: Tally = field(default_factory=Tally)
    rows: Sequence[Row] = ()
    figures: Sequence[Figure] = ()
    skipped: str | None = None

    @property
    def verdict(self) -> str:
        """`held`, `violated` or `skipped`."""
        if self.skipped is not None:
            return "skipped"
        return "violated" if self.tally.broken else "held"

    def save(self, folder: Path = PROOF) -> Path:
        """Write the JSON file and the table."""
        folder.mkdir(parents=True, exist_ok=True)
        base = folder / f"{self.scenario.lower()}-{self.store}-{self.form}"
        tally = self.tally
        whole = {
            "schema": "rota.chaos/1",
            "scenario": self.scenario,
            "title": self.title,
            "store": self.store,
            "form": self.form,
            "verdict": self.verdict,
            "skipped": self.skipped,
            "seeds": tally.seeds,
            "seconds": round(tally.seconds, 1),
            "counts": dict(sorted(tally.counts.items())),
            "samples": {name: spread(values)._asdict() for name, values in sorted(tally.samples.items())},
            "checks": [asdict(one) | {"holds": one.holds} for one in tally.checks.values()],
            "figures": [one._asdict() for one in self.figures],
        }
        path = base.with_suffix(".json")
        path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
        base.with_suffix(".txt").write_text(self.table() + "\n")
        return path

    def table(self) -> str:
        """The table for people."""
        if self.skipped is not None:
            return f"{self.scenario} {self.title} · {self.store} · skipped: {self.skipped}"
        seeds = ", ".join(str(seed) for seed in self.tally.seeds)
        lines = [f"{self.scenario} {self.title} · {self.store} · seed {seeds} · {self.tally.seconds:.0f} s"]
        lines += [f"  {name:<15} {rest}" for name, rest in self.rows]
        for one in self.tally.checks.values():
            sign = "ok " if one.holds else "NOT"
            numbers = f"{one.happened:,} of {one.of:,} ({one.rule} {one.allowed:,} allowed)"
            lines.append(f"  {sign} {one.name:<11} {one.what}: {numbers}" + (f"   {one.example}" * (not one.holds)))
        for figure in self.figures:
            sign = "met" if figure.met else "—  "
            lines.append(f"  {sign} world-class {figure.what}: wished {figure.wished}, reached {figure.reached}")
        return "\n".join([*lines, f"  {self.verdict}"])
