"""`python -m tests.chaos`: the short forms, the long ones in slices that resume, or one scenario.

Each play is a process of its own, two at a time; its report lies in `.cache/proof/`, and what a long form has done so
far in `.cache/chaos/`.

Always true: the seed is printed first; the exit code is 1 on any violation, 0 when everything held or was skipped with
its reason, 3 when long forms are left for the next slice.

Not here: the scenarios.
"""

import argparse
import asyncio
import json
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.report import Tally
from tests.chaos.scenario import STORES, Scenario, Stage, scenario, written

STATE = Path(__file__).resolve().parents[2] / ".cache" / "chaos"
SHORT = ("C-1", "C-2", "C-3", "C-4", "C-9", "C-12", "C-15", "C-19")
LEFT = 3  # the exit code of a slice that has not done everything
AT_ONCE = 2  # plays of the short forms
SLICE_S = 480.0  # eight minutes: a foreground command has ten
LEAST_S = 30.0  # a piece of a long form is not shorter
HEALING_S = 40.0  # what a play takes beside its faults: servers, healing, judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One play that a process of its own makes."""

    scenario: str
    store: str
    form: str
    seconds: float
    seed: int

    def words(self) -> list[str]:
        """The command line."""
        words = ["one", self.scenario, "--store", self.store, "--form", self.form]
        return [*words, "--seconds", str(self.seconds), "--seed", str(self.seed)]


def play_here(one: Scenario, play: Play) -> int:
    """Play in this process, and report; the exit code."""
    why = one.lacks(play.store)
    if why is not None:
        report = one.skipped(play.store, play.form, why)
        report.save()
        print(report.table(), flush=True)
        return 0
    folder = Path(tempfile.mkdtemp(prefix=f"rota-{one.name.lower()}-"))
    stage = Stage(store=play.store, seconds=play.seconds, seed=play.seed, folder=folder, form=play.form)
    began_s = time.monotonic()
    try:
        tally = asyncio.run(one.play(stage))
    except Exception:  # noqa: BLE001 -- the one place: whatever a play ends in is told with where its traces are
        traceback.print_exc()
        print(f"{one.name} on {play.store} with seed {play.seed} broke off; its traces: {folder}", flush=True)
        return 1
    tally.seconds, tally.seeds = time.monotonic() - began_s, [play.seed]
    whole = _with_earlier(play, tally) if play.form == "long" else tally
    report = one.report(play.store, play.form, whole)
    report.save()
    print(report.table(), flush=True)
    if not whole.broken:
        shutil.rmtree(folder)
        return 0
    print(f"  traces: {folder}", flush=True)
    return 1


def _with_earlier(play: Play, tally: Tally) -> Tally:
    """The slices of a long form so far, with this one."""
    path = _state(play.scenario, play.store)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = Tally.of_json(json.loads(path.read_text())) if path.exists() else Tally()
    whole.add(tally)
    whole.counts["seconds of faults"] += int(play.seconds)
    path.write_text(json.dumps(whole.as_json()))
    return whole


def _state(name: str, store: str) -> Path:
    return STATE / f"{name.lower()}-{store}.json"


async def _process(play: Play) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos",
        *play.words(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode(errors="replace")


async def short(seed: int, names: Sequence[str], stores: Sequence[str] | None) -> int:
    """The short forms, two at a time."""
    began_s = time.monotonic()
    for name in names:
        if name not in written():
            print(f"{name} skipped: it is not written yet", flush=True)
    known = [scenario(name) for name in names if name in written()]
    plays = [
        Play(scenario=one.name, store=store, form="short", seconds=one.short_s, seed=seed)
        for one in known
        for store in stores or one.ci_stores
        if store in one.stores
    ]
    gate = asyncio.Semaphore(AT_ONCE)

    async def behind_the_gate(play: Play) -> int:
        async with gate:
            code, out = await _process(play)
        print(out, end="", flush=True)
        return code

    codes = await asyncio.gather(*(behind_the_gate(play) for play in plays))
    print(
        f"{len(plays)} short forms in {time.monotonic() - began_s:.0f} s, {sum(map(bool, codes))} not held", flush=True
    )
    return int(any(codes))


async def long(seed: int, names: Sequence[str], stores: Sequence[str], slice_s: float) -> int:
    """The long forms, one at a time, until the slice is used up; call again to go on."""
    began_s = time.monotonic()
    worst = 0
    for one in [scenario(name) for name in names or written()]:
        for store in [store for store in stores if store in one.stores]:
            while (left_s := one.long_s - _done_s(one.name, store)) > 0:
                room_s = slice_s - (time.monotonic() - began_s) - HEALING_S
                piece_s = min(left_s, one.piece_s, max(room_s, LEAST_S))
                if one.lacks(store) is None and room_s < min(piece_s, LEAST_S):
                    if worst == 0:
                        print("the slice is used up: run the same again to go on", flush=True)
                    return worst or LEFT
                seed += 1
                play = Play(scenario=one.name, store=store, form="long", seconds=piece_s, seed=seed)
                code, out = await _process(play)
                print(out, end="", flush=True)
                worst = max(worst, code)
                if code or one.lacks(store) is not None:
                    break
    return worst


def _done_s(name: str, store: str) -> float:
    path = _state(name, store)
    return float(json.loads(path.read_text())["counts"].get("seconds of faults", 0)) if path.exists() else 0.0


def _seconds(text: str) -> float:
    """`8m`, `90s` or plain seconds."""
    units = {"m": 60.0, "s": 1.0}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Chaos on real processes.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (("short", "the forms of CI"), ("long", "the long forms, in slices"), ("one", "one scenario")):
        command = commands.add_parser(name, help=words)
        command.add_argument("names", nargs="*" if name != "one" else 1, metavar="C-n")
        command.add_argument("--store", choices=STORES)
        command.add_argument("--seed", type=int, default=None)
        if name == "long":
            command.add_argument("--slice", type=_seconds, default=SLICE_S, metavar="8m")
            command.add_argument("--afresh", action="store_true", help="forget earlier slices")
        if name == "one":
            command.add_argument("--seconds", type=_seconds, default=None)
            command.add_argument("--form", choices=("short", "long"), default="short")
    return parser


def main() -> int:
    """Do what the command line says; the exit code."""
    asked = _parser().parse_args()
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    print(f"seed {seed}", flush=True)
    for name in asked.names:
        if name not in written():
            print(f"there is no scenario {name}: there are {', '.join(written())}", file=sys.stderr)
            return 2
    if asked.command == "short":
        return asyncio.run(short(seed, asked.names or SHORT, [asked.store] if asked.store else None))
    stores = [asked.store] if asked.store else STORES
    if asked.command == "long":
        if asked.afresh:
            for name in asked.names or written():
                for store in stores:
                    _state(name, store).unlink(missing_ok=True)
        return asyncio.run(long(seed, asked.names, stores, asked.slice))
    one = scenario(asked.names[0])
    seconds = asked.seconds or (one.short_s if asked.form == "short" else one.piece_s)
    worst = 0
    for store in [store for store in stores if store in one.stores]:
        worst |= play_here(one, Play(scenario=one.name, store=store, form=asked.form, seconds=seconds, seed=seed))
    return worst


if __name__ == "__main__":
    sys.exit(main())
