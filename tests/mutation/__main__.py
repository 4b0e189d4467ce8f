"""`python -m tests.mutation [module …]`: change one small thing after the other, and see whether the tests notice.

    python -m tests.mutation --minutes 8        goes on where the last one stopped
    python -m tests.mutation gates policy       only these
    python -m tests.mutation --survivors        what no test noticed, with the line
    python -m tests.mutation --minutes 0 --write docs/mutation.md

Each mutant is a process of its own, forked from one in which everything but rota is imported.

Always true: a mutant is killed when a test fails, or when one does not end. Tests are given processor time and not time
of day, so that a machine that is busy with something else kills nobody. What survives is run again when its tests have
changed. The state lies in `.cache/mutate/`, the figures in `.cache/proof/mutation.json`. Exit code 1 when
less than `GOAL` of a module were killed, 3 when the minutes were over before all were tried.

Not here: what is changed (mutants), in which modules (targets), the page about it (page).
"""

import argparse
import contextlib
import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, configuration, settings

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.page import page
from tests.mutation.targets import EQUIVALENT, TARGETS, Target

ROOT = Path(__file__).resolve().parents[2]
STATE, PROOF = ROOT / ".cache" / "mutate", ROOT / ".cache" / "proof" / "mutation.json"
GOAL = 0.9  # of the mutants of each module that are not known to change nothing
PATIENCE = 4  # times the processor time that a test takes without a change, before it is taken for stuck
LEAST_S = 1.0  # of processor time, and at least so much: one test may have to work out what another did before
IMPORTS_S = 10.0  # of processor time, for reading the tests and the module
ASLEEP_S = 900  # of the time of day: tests that wait for nothing, and use no processor
LOOK_S = 0.05
EXAMPLES = 50  # of each property that does not say how many it wants
KILLED, SURVIVED, STUCK = "killed", "survived", "stuck"
OUT_OF_TIME = (signal.SIGPROF, signal.SIGALRM)
LEFT = 3  # the exit code when the minutes were over
PRELOADED = ("apsw", "asyncpg", "cronsim", "hypothesis.stateful", "msgspec", "pytest_asyncio", "redis", "zoneinfo")


class _Loader(importlib.abc.Loader):
    """Gives a module the code of a mutant."""

    def __init__(self, code: CodeType) -> None:
        self._code = code

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)  # noqa: S102 -- our own module, changed in one place


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the one module that is a mutant."""

    def __init__(self, module: str, code: CodeType) -> None:
        self._module, self._code = module, code

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname != self._module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None:
            spec.loader = _Loader(self._code)
        return spec


class _Patience:
    """Gives each test its processor time, and notes how much of it was used; a plugin of pytest."""

    def __init__(self, plain_s: Mapping[str, float]) -> None:
        self._plain_s = plain_s
        self.took_s: dict[str, float] = {}
        signal.setitimer(signal.ITIMER_PROF, IMPORTS_S)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        began_s = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, max(LEAST_S, PATIENCE * self._plain_s.get(item.nodeid, ASLEEP_S)))
        came = yield
        signal.setitimer(signal.ITIMER_PROF, IMPORTS_S)
        self.took_s[item.nodeid] = round(time.process_time() - began_s, 3)
        return came


@dataclass(slots=True)
class Run:
    """The tests of one mutant on their way."""

    mutant: Mutant
    pid: int


@dataclass(slots=True)
class Book:
    """What is known of one module's mutants; kept in a file."""

    target: Target
    results: dict[str, str] = field(default_factory=dict)
    plain_s: dict[str, float] = field(default_factory=dict)  # of each test, without a change
    tests: str = ""
    module: str = ""

    @property
    def _file(self) -> Path:
        return STATE / f"{self.target.module}.json"

    def load(self) -> None:
        """What the last time found; survivors are forgotten when their tests have changed, all when the module has."""
        tests, module = _digest(*self.target.tests), _digest(self.target.path)
        with contextlib.suppress(FileNotFoundError):
            known = json.loads(self._file.read_text())
            if known["module"] == module:
                kept = known["results"].items()
                self.results = {name: was for name, was in kept if was != SURVIVED or known["tests"] == tests}
                self.plain_s = known["plain_s"]
        self.tests, self.module = tests, module

    def save(self) -> None:
        """Keep it."""
        record = {"module": self.module, "tests": self.tests, "plain_s": self.plain_s}
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(record | {"results": self.results}, indent=1))
        new.replace(self._file)  # whoever is stopped meanwhile leaves the old one

    def _same(self, name: str) -> bool:
        """Whether it is known that this change cannot be noticed."""
        line, _, what = name.partition(": ")
        text = (ROOT / self.target.path).read_text().splitlines()[int(line) - 1].strip()
        known = EQUIVALENT.get(self.target.module, {})
        return any(text.startswith(begin) and change == what for begin, change in known)

    def figures(self) -> dict[str, Any]:
        """Sums, and what survived without a reason."""
        alive = [name for name, was in self.results.items() if was == SURVIVED]
        open_ = [name for name in alive if not self._same(name)]
        killed = len(self.results) - len(alive)
        share = killed / max(1, killed + len(open_))
        return {
            "mutants": len(self.results),
            "killed": killed,
            "equivalent": len(alive) - len(open_),
            "share": share,
        } | {"survived": open_}


def _digest(*paths: str) -> str:
    return hashlib.sha256(b"".join((ROOT / path).read_bytes() for path in paths)).hexdigest()[:16]


def _plain_file(target: Target) -> Path:
    """Where the child that runs the tests without a change leaves what each of them took."""
    return STATE / f"{target.module}.plain"


def _start(target: Target, code: CodeType, plain_s: Mapping[str, float]) -> int:
    """Fork; the child runs the tests on this code, and ends with 1 when one failed, by a signal when they are stuck."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setpgid(0, 0)
        signal.alarm(ASLEEP_S)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        sys.meta_path.insert(0, _Finder(target.module, code))
        words = [
            "-x",
            "-q",
            "--no-header",
            "--tb=no",
            "-W",
            "ignore::pytest.PytestAssertRewriteWarning",
            "--hypothesis-profile=mutation",
        ]
        words += [f"--rootdir={ROOT}", *(["-k", f"not ({target.without})"] if target.without else [])]
        patience = _Patience(plain_s)
        status = int(pytest.main([*words, *target.tests], plugins=[patience]))
        if not plain_s:
            _plain_file(target).write_text(json.dumps(patience.took_s))
    finally:
        os._exit(status)


def _prepare() -> None:
    """Import everything but rota, and let Hypothesis neither shrink nor remember, nor complain of a slow machine."""
    STATE.mkdir(parents=True, exist_ok=True)
    for name in PRELOADED:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    configuration.set_hypothesis_home_dir(STATE / "hypothesis")
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile(
        "mutation",
        max_examples=EXAMPLES,
        deadline=None,
        phases=phases,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


def _plainly(book: Book) -> None:
    """How much processor time each test takes without a change; they must pass."""
    path = ROOT / book.target.path
    _, status = os.waitpid(_start(book.target, compile(path.read_text(), path, "exec"), {}), 0)
    if status:
        message = f"the tests of {book.target.module} fail without any change: {' '.join(book.target.tests)}"
        raise SystemExit(message)
    book.plain_s = json.loads(_plain_file(book.target).read_text())


def _ended(runs: list[Run]) -> Iterator[tuple[Run, str]]:
    """Those of the runs that have come to something."""
    for run in list(runs):
        pid, status = os.waitpid(run.pid, os.WNOHANG)
        if pid:
            runs.remove(run)
            stuck = os.WIFSIGNALED(status) and os.WTERMSIG(status) in OUT_OF_TIME
            yield run, STUCK if stuck else KILLED if status else SURVIVED


def mutate(book: Book, *, at_once: int, until_s: float) -> bool:
    """Try what is not known yet; whether all of it was."""
    text = (ROOT / book.target.path).read_text()
    mutants = list(mutants_of(text, book.target.path, strings=book.target.strings))
    book.results = {one.name: book.results[one.name] for one in mutants if one.name in book.results}
    todo = [one for one in mutants if one.name not in book.results]
    if todo and time.monotonic() < until_s:
        _plainly(book)
    runs: list[Run] = []
    while runs or (todo and time.monotonic() < until_s):
        while todo and len(runs) < at_once and time.monotonic() < until_s:
            mutant = todo.pop(0)
            runs.append(Run(mutant, _start(book.target, mutant.code, book.plain_s)))
        for run, came in _ended(runs):
            book.results[run.mutant.name] = came
            book.save()
        time.sleep(LOOK_S)
    book.save()
    return not todo


def main(arguments: Sequence[str] | None = None) -> int:
    """Try mutants for some minutes."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="See whether the tests notice.")
    parser.add_argument("modules", nargs="*", help="the last word of a module's name; all without")
    parser.add_argument("--minutes", type=float, default=8.0, help="how long; what is left is tried the next time")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--survivors", action="store_true", help="tell what nobody noticed")
    parser.add_argument("--write", metavar="FILE", type=Path, help="write the page about all modules")
    asked = parser.parse_args(arguments)
    os.chdir(ROOT)
    _prepare()
    until_s = time.monotonic() + asked.minutes * 60
    print(f"{'module':24} {'mutants':>7} {'killed':>7} {'same':>5} {'alive':>6} {'share':>7}")
    figures: dict[str, Any] = {}
    tried: list[dict[str, Any]] = []
    for target in TARGETS:
        meant = not asked.modules or target.module.rsplit(".", 1)[1] in asked.modules
        book = Book(target)
        book.load()
        complete = mutate(book, at_once=asked.jobs, until_s=until_s if meant else 0.0)
        one = figures[target.module] = book.figures() | {"complete": complete}
        if meant:
            tried.append(one)
            _tell(target.module, one, survivors=asked.survivors)
    PROOF.parent.mkdir(parents=True, exist_ok=True)
    PROOF.write_text(json.dumps({"goal": GOAL, "modules": figures}, indent=1) + "\n")
    if asked.write:
        asked.write.write_text(page(figures), encoding="utf-8")
    if any(one["share"] < GOAL for one in tried if one["complete"]):
        return 1
    return 0 if all(one["complete"] for one in tried) else LEFT


def _tell(module: str, one: dict[str, Any], *, survivors: bool) -> None:
    """A line of the table, and the survivors below it."""
    cells = f"{one['mutants']:>7} {one['killed']:>7} {one['equivalent']:>5} {len(one['survived']):>6}"
    print(f"{module:24} {cells} {one['share']:>7.1%}{'' if one['complete'] else '  not all yet'}", flush=True)
    if survivors and one["survived"]:
        print(*(f"    {name}" for name in one["survived"]), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
