"""The simulation from the command line: many worlds, one world again, or the long form in slices.

    python -m tests.sim --worlds 600 --jobs 2        what `make proof` runs
    python -m tests.sim --seed 4711                  one world again; when it fails, shrunk
    python -m tests.sim --seed 4711 --cut '{"length": 0.25, "without": ["blow kill"]}'
    python -m tests.sim --long years --minutes 9     a slice of the long form; again: goes on where it stopped

Always true: the exit code is 0 only if no world failed, all replays were identical and everything that must be met
sometimes was met; the figures are in `.cache/proof/simulation.json`, those of the long form so far in
`simulation-long-weeks.json` and `-years.json` beside it.

Not here: what is lived and judged (world, checks).
"""

import argparse
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.sim.many import CORES, KINDS, SOMETIMES, SOMETIMES_IN_YEARS, Sums, all_of, table
from tests.sim.shrink import Cut, shrink, trimmed
from tests.sim.world import Report, live_plan

ROOT = Path(__file__).resolve().parent.parent.parent
PROOF = ROOT / ".cache" / "proof" / "simulation.json"
STATE = ROOT / ".cache" / "sim"
WORLDS, YEARS, TWICE = 600, 12, 50
LONG_FROM = 100_000  # seeds of the long form: none that every change has lived already
SLICE = 40  # worlds between two looks at the clock
SHOWN = 200
SPOKEN = 100  # worlds between two lines of progress
SUMMED = ("worlds", "weeks", "events", "attempts")  # of all slices of a long form


def main(arguments: Sequence[str] | None = None) -> int:
    """Live what was asked for; 0 when all was well."""
    asked = _asked(arguments)
    if asked.seed is not None:
        return _one(asked)
    if asked.long is not None:
        return _slice(asked)
    return _many(asked)


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Live simulated worlds of the engine.")
    parser.add_argument("--worlds", type=int, default=WORLDS, help="worlds of some weeks, from seed 0 on")
    parser.add_argument("--years", type=int, default=YEARS, help="worlds of five years")
    parser.add_argument("--twice", type=int, default=TWICE, help="worlds lived twice, whose traces must be equal")
    parser.add_argument("--jobs", type=int, default=CORES, help="processes")
    parser.add_argument("--seed", type=int, help="one world only, with its last events")
    parser.add_argument("--kind", choices=KINDS, default="weeks", help="what kind of world --seed means")
    parser.add_argument("--cut", default="{}", help="what to leave out of it, as a failure prints it")
    parser.add_argument("--long", choices=KINDS, help="a slice of the long form")
    parser.add_argument("--minutes", type=float, default=9.0, help="how long the slice is")
    parser.add_argument("--out", type=Path, default=PROOF, help="where the figures go")
    return parser.parse_args(arguments)


def _one(asked: argparse.Namespace) -> int:
    plan = trimmed(KINDS[asked.kind](asked.seed), Cut(**json.loads(asked.cut)))
    report = live_plan(plan)
    print(told(report, asked.kind))
    return 0 if report.violation is None else 1


def _many(asked: argparse.Namespace) -> int:
    began = time.monotonic()
    weeks, years = Sums(), Sums()
    traces: list[str] = []
    for report in all_of("weeks", range(asked.worlds), jobs=asked.jobs):
        weeks.add(report)
        traces.append(report.trace)
        if weeks.worlds % SPOKEN == 0:
            print(f"  {weeks.worlds} worlds in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    for report in all_of("years", range(asked.years), jobs=asked.jobs) if asked.years else ():
        years.add(report)
    twice = min(asked.twice, asked.worlds)
    again = (
        [report.trace for report in all_of("weeks", range(twice), jobs=asked.jobs, hash_seed=1)] if twice > 1 else []
    )
    same = sum(first == second for first, second in zip(traces, again, strict=False))
    seconds = time.monotonic() - began
    missed = weeks.never_met(SOMETIMES) if asked.worlds >= WORLDS else []
    missed += years.never_met(SOMETIMES_IN_YEARS) if asked.years >= YEARS else []
    print(table(f"simulation · seeds 0–{asked.worlds - 1}", weeks))
    print(table(f"five years · seeds 0–{asked.years - 1}", years) if asked.years else "")
    print(f"  replays     {same} of {len(again)} identical, with another hash seed")
    print(f"  time        {seconds:.0f} s, of one core {weeks.cpu_s:.0f} s for weeks, {years.cpu_s:.0f} s for years")
    _write(
        asked.out,
        weeks,
        years,
        {"replays": len(again), "replays identical": same},
        {"seconds": round(seconds, 1), "never met": missed},
    )
    if missed:
        print("the simulation has stopped meeting these:", ", ".join(missed))
    for kind, sums in (("weeks", weeks), ("years", years)):
        if sums.failed:
            print(shrunk(sums.failed[0], kind))
            print("all that failed:", [report.seed for report in sums.failed])
    return 0 if not (missed or weeks.failed or years.failed or same < len(again)) else 1


def _write(path: Path, weeks: Sums, years: Sums, replays: dict[str, int], more: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"scenario": "simulation", **weeks.record(), **replays, **more, "years": years.record()}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


# -- failures --------------------------------------------------------------------------------------


def told(report: Report, kind: str, cut: Cut | None = None) -> str:
    """What a person needs to find the fault."""
    options = "" if cut is None else f" --cut '{json.dumps({k: v for k, v in _options(cut).items() if v})}'"
    kinds = "" if kind == "weeks" else f" --kind {kind}"
    events = "\n".join(report.last[-SHOWN:])
    return (
        f"{events}\nworld {report.seed}: {report.violation or 'all was well'}\n"
        f"repeat it with: python -m tests.sim --seed {report.seed}{kinds}{options}"
    )


def _options(cut: Cut) -> dict[str, Any]:
    return {"without": list(cut.without), "length": cut.length, "members": cut.members, "workers": cut.workers}


def shrunk(report: Report, kind: str) -> str:
    """The same, of the smallest world that fails alike."""
    plan = KINDS[kind](report.seed)
    cut, smaller = shrink(plan, report)
    return f"{told(smaller, kind, cut)}\nleft of its plan: {trimmed(plan, cut)}"


# -- the long form ---------------------------------------------------------------------------------


def _slice(asked: argparse.Namespace) -> int:
    """Go on where the last slice stopped, for some minutes."""
    STATE.mkdir(parents=True, exist_ok=True)
    path = STATE / f"{asked.long}.json"
    state = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"next": LONG_FROM, "slices": []}
    end = time.monotonic() + asked.minutes * 60
    while time.monotonic() < end:
        began, sums = time.monotonic(), Sums()
        seeds = range(state["next"], state["next"] + SLICE)
        for report in all_of(asked.long, seeds, jobs=asked.jobs):
            sums.add(report)
        state["next"] += SLICE
        state["slices"].append({"code": code(), "seconds": round(time.monotonic() - began, 1), **sums.record()})
        path.write_text(json.dumps(state) + "\n", encoding="utf-8")
        _print_state(asked.long, state)
        if sums.failed:
            print(shrunk(sums.failed[0], asked.long))
            return 1
    return 0


def _print_state(kind: str, state: dict[str, Any]) -> None:
    slices = state["slices"]
    met: Counter[str] = Counter()
    for one in slices:
        met.update(one["sometimes"])
    sums = {name: sum(one[name] for one in slices) for name in (*SUMMED, "violations", "seconds")}
    versions = len({one["code"] for one in slices})
    rare = sorted((met[name], name) for name in (SOMETIMES if kind == "weeks" else SOMETIMES_IN_YEARS))
    record = {"scenario": "simulation", "form": "long", "kind": kind, **sums, "versions of the code": versions}
    PROOF.parent.mkdir(parents=True, exist_ok=True)
    (PROOF.parent / f"simulation-long-{kind}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(
        f"long form, {kind}: {sums['worlds']:,} worlds, {sums['weeks']:,.0f} simulated weeks, {sums['attempts']:,}"
        f" attempts, {sums['events']:,} events, {sums['violations']} violations, {sums['seconds'] / 60:.0f} min,"
        f" {versions} versions of the code\nrarest: {', '.join(f'{name} {count}' for count, name in rare[:5])}"
    )


def code() -> str:
    """A name for the code that is being tested: the engine and this simulation."""
    files = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.sql"), *Path(__file__).parent.glob("*.py")])
    digest = hashlib.blake2b(digest_size=6)
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
