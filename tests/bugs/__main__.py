"""`python -m tests.bugs [n …]`: put each deliberate bug in, run the suite that must find it, print what that took.

    python -m tests.bugs                 all of them, what `make bugs` runs
    python -m tests.bugs 8 25            these two
    python -m tests.bugs --every 8       with every suite that may find it, not only the first
    python -m tests.bugs --sound         the same suites without a bug: each must pass

Always true: a bug counts as found when a test failed or a world complained that is content without the bug; one that
keeps a suite from running at all has proved nothing. Exit code 1 when one was not found; the figures lie in
`.cache/proof/bugs.json`.

Not here: the bugs (table), how they get into a process (edits).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.bugs.edits import LAUNCHER
from tests.bugs.plugin import MARK
from tests.bugs.table import BUGS, WORLDS, Bug, Suite

ROOT = Path(__file__).resolve().parents[2]
PROOF = ROOT / ".cache" / "proof" / "bugs.json"
LONGEST_S = 240.0  # of one suite with one bug; the aim is two minutes on a machine of one's own
TOLD = 150  # characters of what a suite said
MOST_EXCUSED = 3  # tests or worlds that fail without a bug: with more, the suite is broken
SILENT = "nothing was noticed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One suite with one bug in it: `ran` are the worlds or tests until it was found."""

    number: int
    bug: str
    suite: str
    found: bool
    ran: int
    seconds: float
    said: str

    @property
    def needed(self) -> str:
        """What it took."""
        return f"{self.ran} {'seed' if self.suite == 'simulation' else 'test'}{'' if self.ran == 1 else 's'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what was asked for; 0 when every bug was found."""
    asked = _asked(arguments)
    bugs = [BUGS[number] for number in asked.numbers or BUGS]
    if asked.sound:
        return _sound(bugs)
    jobs = [(bug, suite) for bug in bugs for suite in (bug.suites if asked.every else bug.suites[:1])]
    began = time.monotonic()
    trials: list[Trial] = []
    print(line("bug", "", "suite", "found", "needed", "seconds", ""))
    for trial in tried(jobs, asked.jobs):
        trials.append(trial)
        print(told(trial), flush=True)
    for bug in bugs:
        if bug.not_yet:
            print(line(bug.number, bug.sentence, "–", "not yet", "–", "–", bug.not_yet))
    return _sums(bugs, trials, time.monotonic() - began, asked.out)


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bugs", description="Put deliberate bugs in and find them.")
    parser.add_argument("numbers", nargs="*", type=int, metavar="n", choices=[*BUGS, []], help="of reliability 6")
    parser.add_argument("--every", action="store_true", help="try every suite that may find it, not only the first")
    parser.add_argument("--sound", action="store_true", help="run the suites without any bug: each must pass")
    parser.add_argument("--jobs", type=int, default=2, help="suites at once")
    parser.add_argument("--out", type=Path, default=PROOF, help="where the figures go")
    return parser.parse_args(arguments)


def tried(jobs: Sequence[tuple[Bug, Suite]], at_once: int = 1) -> Iterator[Trial]:
    """Each bug with its suite, in order."""
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(lambda job: attempt(*job), jobs)


def attempt(bug: Bug, suite: Suite) -> Trial:
    """Run one suite with one bug in it; what fails without the bug as well proves nothing and is left out."""
    began, excused = time.monotonic(), 0
    came = _run(command(suite, bug.number))
    left_out: list[str] = []
    while came.found and excused < MOST_EXCUSED and _run(_control(suite, came)).found:
        excused += 1
        left_out.append(f"--deselect={came.said}")
        came = _run(command(suite, bug.number, seeds=(came.ran, WORLDS), left_out=left_out))
    return Trial(
        number=bug.number,
        bug=bug.sentence,
        suite=suite.name,
        found=came.found,
        ran=came.ran,
        seconds=round(time.monotonic() - began, 1),
        said=" ".join(came.said.split())[:TOLD],
    )


def command(
    suite: Suite, number: int, *, seeds: tuple[int, int] = (0, WORLDS), left_out: Sequence[str] = ()
) -> list[str]:
    """What runs a suite with a bug in it; 0: without."""
    if suite.tests:
        words = ["pytest", "-p", "tests.bugs.plugin", "--bug", str(number), "-x", "-q"]
        return [sys.executable, "-m", *words, "--tb=line", "--hypothesis-seed=0", *left_out, *suite.tests]
    words = ["tests.bugs.worlds", *map(str, seeds)]
    return [sys.executable, "-m", *([LAUNCHER, str(number)] if number else []), *words]


def _control(suite: Suite, came: "_Came") -> list[str]:
    """The one test or world that complained, without the bug."""
    if suite.tests:
        return command(Suite(name=suite.name, tests=(came.said,)), 0)
    return command(suite, 0, seeds=(came.ran - 1, came.ran))


class _Came(NamedTuple):
    """What came of a suite: whether something was found, after how many worlds or tests, and what was said."""

    found: bool
    ran: int
    said: str


def _run(words: Sequence[str]) -> _Came:
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired as late:
        worlds = (late.stdout or b"").decode(errors="replace").count(MARK)
        return _Came(found=False, ran=worlds, said=f"it did not end within {LONGEST_S:.0f} s")
    lines = [each for each in done.stdout.splitlines() if each.startswith(MARK)]
    if not lines or done.returncode not in (0, 1):
        return _Came(found=False, ran=0, said=(done.stderr or done.stdout).strip()[-TOLD:])
    came = json.loads(lines[-1].removeprefix(MARK))
    said = [*came["failed"], *(f"broken: {each}" for each in came["broken"])]
    return _Came(found=bool(came["failed"]), ran=came["ran"], said=said[0] if said else SILENT)


def _sound(bugs: Sequence[Bug]) -> int:
    """The suites without a bug."""
    wrong = 0
    for suite in dict.fromkeys(suite for bug in bugs for suite in bug.suites):
        came = _run(command(suite, 0))
        fails = came.found or came.said != SILENT
        wrong += fails
        print(f"{suite.name:24} {came.ran:4} ran  {'FAILS: ' + came.said if fails else 'passes'}", flush=True)
    return int(wrong > 0)


# -- telling ---------------------------------------------------------------------------------------


def line(*cells: object) -> str:
    """One line of the table."""
    number, bug, suite, found, needed, seconds, said = (str(cell) for cell in cells)
    return f"{number:>3}  {bug:46}  {suite:22}  {found:7}  {needed:>9}  {seconds:>7}  {said}".rstrip()


def told(trial: Trial) -> str:
    """The line of one trial."""
    found = "found" if trial.found else "NOT"
    return line(trial.number, trial.bug, trial.suite, found, trial.needed, trial.seconds, trial.said)


def _row(trial: Trial) -> dict[str, Any]:
    """A trial as it is kept; the page of guarantees shows the first five."""
    row = {
        "number": trial.number,
        "says": trial.bug,
        "suite": trial.suite,
        "took": f"{trial.needed}, {trial.seconds:g} s",
    }
    return row | {"verdict": "found" if trial.found else "not found", "ran": trial.ran, "saw": trial.said}


def _later(bug: Bug) -> dict[str, Any]:
    return {"number": bug.number, "says": bug.sentence, "verdict": f"not yet: {bug.not_yet}"}


def _sums(bugs: Sequence[Bug], trials: Sequence[Trial], seconds: float, out: Path) -> int:
    can = [bug.number for bug in bugs if not bug.not_yet]
    found = sorted({trial.number for trial in trials if trial.found})
    seeds = [trial.ran for trial in trials if trial.found and trial.suite == "simulation"]
    median = f", seeds: median {statistics.median(seeds):g}, most {max(seeds)}" if seeds else ""
    print(f"{len(found)} of {len(can)} found ({len(bugs) - len(can)} not yet), {seconds:.0f} s{median}")
    out.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "bugs": [_row(trial) for trial in trials] + [_later(bug) for bug in bugs if bug.not_yet],
        "found": found,
        "not found": sorted(set(can) - set(found)),
        "seeds": {"median": statistics.median(seeds), "most": max(seeds)} if seeds else {},
        "seconds": round(seconds, 1),
    }
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(found != sorted(can))


if __name__ == "__main__":
    sys.exit(main())
