"""What a scenario is, the stage it is played on, and where all of them are found.

A scenario is one module `cNN_name.py` in this folder with a `SCENARIO`; nothing else lists it.

Always true: every choice of a scenario is rolled with its stage's dice, so its seed repeats it (processes and the
machine add a chance of their own); what a scenario needs and does not find is a reason to skip it.

Not here: what any of them does.
"""

import importlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.report import Figure, Report, Row, Tally

STORES = ("postgres", "sqlite")
LEASE_S = 3.0  # of the workers: short forms see many of them end; shorter ones end by two busy cores alone
POLL_S = 0.2
PLACES = 8  # of each worker
CREW = 4  # workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One play of a scenario: the store, how long the faults go on, the seed and its dice, and a folder of its own."""

    store: str
    seconds: float
    seed: int
    folder: Path
    form: str = "short"
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dice", random.Random(self.seed))

    @property
    def short(self) -> bool:
        """Whether this is the form of CI."""
        return self.form == "short"


def nothing_needed(_store: str) -> str | None:
    """A scenario that runs everywhere."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario of reliability 5 (c): its fault, how long its faults last in seconds, and how it is played and read.

    `lacks` says why it cannot be played on a store here, or None; `piece_s` is the most of a long form in one go.
    """

    name: str
    title: str
    short_s: float
    long_s: float
    play: Callable[[Stage], Awaitable[Tally]]
    rows: Callable[[Tally], Sequence[Row]]
    figures: Callable[[Tally], Sequence[Figure]]
    stores: Sequence[str] = STORES
    ci_stores: Sequence[str] = ("postgres",)
    piece_s: float = 240.0
    lacks: Callable[[str], str | None] = nothing_needed

    def report(self, store: str, form: str, tally: Tally) -> Report:
        """The report of what was played."""
        return Report(
            scenario=self.name,
            title=self.title,
            store=store,
            form=form,
            tally=tally,
            rows=self.rows(tally),
            figures=self.figures(tally),
        )

    def skipped(self, store: str, form: str, why: str) -> Report:
        """The report of what could not be played."""
        return Report(scenario=self.name, title=self.title, store=store, form=form, skipped=why)


def written() -> dict[str, str]:
    """The modules of all scenarios by name, in the order of their numbers."""
    paths = sorted(Path(__file__).parent.glob("c[0-9][0-9]_*.py"))
    return {f"C-{int(path.stem[1:3])}": path.stem for path in paths}


def scenario(name: str) -> Scenario:
    """A scenario by its name."""
    found: Scenario = importlib.import_module(f"tests.chaos.{written()[name]}").SCENARIO
    return found
