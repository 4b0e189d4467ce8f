"""The page of guarantees, from what runs have left in `.cache/proof`: promise, tests, figures.

Always true: a figure on the page stands in a record of a run; a scenario that was skipped or has no record says so; a
zero is printed with what it is a zero of.

Not here: the promises (promises.py), running anything.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.guarantees.promises import PROMISES

ROOT = Path(__file__).resolve().parents[2]
PROOF = ROOT / ".cache" / "proof"
CHECKS = 3  # that held and are printed of one scenario; the record holds all

_HEAD = """# Guarantees

What rota promises, the tests that hold it to that, and what the last runs of the scenarios came to. It is made by
`python -m tests.guarantees --write docs/guarantees.md` from the records of `make proof`, `make chaos`, `make bugs` and
`make strain`; nothing on it is written by hand but the promises themselves (`tests/guarantees/promises.py`).

Not promised: exactly-once effects outside the database, a total order, a deadline when there is no capacity, anything
about a disk that lies about flushing, or about tables that somebody writes to by hand.

"""


def records(folder: Path = PROOF) -> list[Mapping[str, Any]]:
    """The records of all runs, by scenario, store and form."""
    found = []
    for file in sorted(folder.glob("*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        if "scenario" in record and "store" in record:
            found.append(record)
    return sorted(found, key=lambda one: (_order(one["scenario"]), one["store"], one["form"]))


def _order(scenario: str) -> tuple[str, int]:
    letter, _, number = scenario.partition("-")
    return letter, int(number) if number.isdigit() else 0


def page(folder: Path = PROOF) -> str:
    """The whole page."""
    found = records(folder)
    parts = [_HEAD, _promises(found), _scenarios(found), _simulation(folder), _bugs(folder)]
    return "\n".join(part for part in parts if part)


def _promises(found: Iterable[Mapping[str, Any]]) -> str:
    verdicts: dict[str, list[str]] = {}
    for one in found:
        verdicts.setdefault(one["scenario"], []).append(one["verdict"])
    lines = ["## Promises", "", "| | what is promised | tests | scenarios |", "|---|---|---|---|"]
    for one in PROMISES:
        tests = "<br>".join(f"`{_short(test)}`" for test in one.tests) or "–"
        runs = "<br>".join(f"{name}: {_verdict(verdicts.get(name, []))}" for name in one.scenarios) or "–"
        says = f"{one.says}" + (f" ({one.open})" if one.open else "")
        lines.append(f"| {one.name} | {says} | {tests} | {runs} |")
    return "\n".join(lines) + "\n"


def _short(test: str) -> str:
    file, _, name = test.partition("::")
    return f"{file.rsplit('/', 1)[-1]}: {name.removeprefix('test_').replace('_', ' ')}" if name else file


def _verdict(verdicts: list[str]) -> str:
    if not verdicts:
        return "not run yet"
    bad = [one for one in verdicts if one == "violated"]
    if bad:
        return f"**violated** in {len(bad)} of {len(verdicts)} runs"
    skipped = verdicts.count("skipped")
    held = len(verdicts) - skipped
    return f"held in {held} of {held} runs" + (f", {skipped} skipped" if skipped else "")


def _scenarios(found: Iterable[Mapping[str, Any]]) -> str:
    lines = ["## Scenarios", "", "| | fault | store | form | verdict | what happened |", "|---|---|---|---|---|---|"]
    for one in found:
        what = one.get("skipped") or _figures(one)
        seconds = f"{one['form']}, {one['seconds']:.0f} s"
        lines.append(f"| {one['scenario']} | {one['title']} | {one['store']} | {seconds} | {one['verdict']} | {what} |")
    return "\n".join(lines) + "\n"


def _figures(record: Mapping[str, Any]) -> str:
    """What did not hold, the figures that were wished for, and how many checks held."""
    if "found" in record:
        return "; ".join(f"{what}: {text}" for what, text in record["found"].items()) or "–"
    said = [_check(one, "**not held** ") for one in record["checks"] if not one["holds"]]
    said += [
        f"{one['what']}: {one['reached']} ({'' if one['met'] else 'not met: '}wished {one['wished']})"
        for one in record.get("figures", ())
    ]
    held = sorted((one for one in record["checks"] if one["holds"]), key=lambda one: (one["rule"], -one["of"]))
    if held:
        more = ", …" if len(held) > CHECKS else ""
        said.append(f"held in {len(held)} checks: {', '.join(_check(one) for one in held[:CHECKS])}{more}")
    return "; ".join(said)


def _check(check: Mapping[str, Any], mark: str = "") -> str:
    return f"{mark}{check['what']}: {check['happened']:,}{_allowed(check)} of {check['of']:,}"


def _allowed(check: Mapping[str, Any]) -> str:
    if check["rule"] == "at most" and not check["allowed"]:
        return ""
    return f" ({check['rule']} {check['allowed']:,})"


def _simulation(folder: Path) -> str:
    """A row for each kind of worlds: those that every change lives, and the long forms so far."""
    short = _read(folder / "simulation.json")
    rows = []
    if short:
        replays = f"{short['replays identical']} of {short['replays']} identical"
        rows += [("every change, weeks", short, replays), ("every change, five years", short["years"], "–")]
    for kind, says in (("weeks", "weeks"), ("years", "five years")):
        long = _read(folder / f"simulation-long-{kind}.json")
        rows += [(f"long, {says}", long, "–")] if long else []
    if not rows:
        return ""
    lines = ["## Simulation", "", "| worlds of | worlds | simulated weeks | attempts | events | violations | replays |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, one, replays in rows:
        figures = " | ".join(f"{one[what]:,.0f}" for what in ("worlds", "weeks", "attempts", "events", "violations"))
        lines.append(f"| {name} | {figures} | {replays} |")
    return "\n".join(lines) + "\n"


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _bugs(folder: Path) -> str:
    record = _read(folder / "bugs.json")
    if not record:
        return ""
    lines = ["## Deliberate bugs", "", "| | bug | found by | took | |", "|---|---|---|---|---|"]
    columns = ("number", "says", "suite", "took", "verdict")
    lines.extend("| " + " | ".join(str(one.get(name, "–")) for name in columns) + " |" for one in record["bugs"])
    return "\n".join(lines) + "\n"
