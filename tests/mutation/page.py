"""The page about mutation testing: what is changed, how many of the changes were noticed, and which may go unnoticed.

Always true: every figure on it is that of the last run of its module; a module of which not all was tried, or whose
goal was missed, is shown as that.

Not here: running mutants (`python -m tests.mutation`), the reasons themselves (targets).
"""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

from tests.mutation.targets import EQUIVALENT, Reasons

WIDTH = 120  # characters of a line, as in all of the project
_TEXT = """# Mutation testing

`make mutate` (or `python -m tests.mutation --minutes 8`) changes one small thing after the other in the modules whose
arithmetic everything rests on (states, slots, limits, schedules, policies) and sees whether their tests notice. It goes
on where it stopped; `--survivors` tells what nobody noticed, with the line; the figures lie in
`.cache/proof/mutation.json`, and `python -m tests.mutation --minutes 0 --write docs/mutation.md` makes this page.

A mutant is killed when a test fails, or when it uses four times the processor time that it takes without a change.
What is changed: comparisons, arithmetic, `and` and `or`, conditions, numbers, returned values, slices, calls
and assignments to attributes that are left out, and, in the table of states, its words. What is not: annotations,
decorators, and sentences for people.

The goal is nine of ten for each module, of those that could be noticed. *Same* are mutants that survived and do what
the module does; each is listed below with its reason. Anything else that is alive is a test to be written.
"""


def page(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page; `figures` by module, as the records have them."""
    lines = ["| module | mutants | killed | same | alive | share |", "|---|--:|--:|--:|--:|--:|"]
    for module, one in figures.items():
        share = f"{one['share']:.1%}" if one["complete"] else "not all yet"
        cells = (one["mutants"], one["killed"], one["equivalent"], len(one["survived"]), share)
        lines.append(f"| `{module}` | {' | '.join(map(str, cells))} |")
    alive = [f"- `{module}` {name}" for module, one in figures.items() for name in one["survived"]]
    if alive:
        lines += ["", "Alive, by line and change:", "", *alive]
    lines += ["", "## What may survive", "", "By module, the line as it begins, and the change."]
    for module in figures:
        if module in EQUIVALENT:
            lines += ["", f"### {module}", "", *_listed(EQUIVALENT[module])]
    return _TEXT + "\n" + "\n".join(lines) + "\n"


def _listed(reasons: Reasons) -> list[str]:
    return [
        fill(f"- `{begin.strip()} …`, `{change}`: {why}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        for (begin, change), why in reasons.items()
    ]
