"""The ledger: what handlers and clients write down outside the system under test.

Handlers append a line for each start and end, clients one for each answer they got. Each line is one write to a file
opened for appending, so lines of several processes never mix and a killed process leaves no half of one.

Always true: a line is never changed; its instants are those of the machine (monotonic, and the one that counts
suspended time), in ns, and no clock that a scenario bends.

Not here: what the lines prove (judge).
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rota import Run

FILE = "CHAOS_LEDGER"  # the environment variable that tells a worker's process where the ledger is
SECOND_NS = 1_000_000_000


class Line(NamedTuple):
    """What a handler did: `start`, `end`, or `cut` when it was cancelled or raised."""

    what: str
    run: str
    attempt: int
    pid: int
    at_ns: int
    boot_ns: int
    job: str
    argument: str


class Answer(NamedTuple):
    """What a client was told: acknowledged, refused or unknown; a repeated unknown is then found, or made anew."""

    outcome: str
    key: str
    run: str
    at_ns: int


@cache
def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(what: str, run: Run, argument: object = "-") -> None:
    """Append a handler's line; outside a scenario there is no ledger, and nothing happens."""
    path = os.environ.get(FILE)
    if path is None:
        return
    now, boot = time.monotonic_ns(), time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
    line = f"{what} {run.id} {run.attempt} {os.getpid()} {now} {boot} {run.job} {argument}\n"
    os.write(_opened(path), line.encode())


@contextmanager
def noted(run: Run, argument: object = "-") -> Iterator[None]:
    """The start of a handler and its end; an exception, or a cancellation, is an end of its own kind: `cut`."""
    note("start", run, argument)
    try:
        yield
    except BaseException:
        note("cut", run, argument)
        raise
    note("end", run, argument)


class Ledger:
    """The two files of a scenario, as the harness writes and reads them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger"
        self._answers_path = folder / "answers"
        self._read: list[Line] = []
        self._offset = 0
        self.answers: list[Answer] = []

    def answer(self, outcome: str, key: str, run: str = "-") -> None:
        """Append what a client was told."""
        one = Answer(outcome, key, run, time.monotonic_ns())
        self.answers.append(one)
        os.write(_opened(str(self._answers_path)), (" ".join(str(part) for part in one) + "\n").encode())

    def lines(self) -> Sequence[Line]:
        """All lines so far; only what is new is read."""
        if not self.path.exists():
            return self._read
        with self.path.open("rb") as file:
            file.seek(self._offset)
            fresh = file.read()
        whole = fresh.rfind(b"\n") + 1
        self._offset += whole
        self._read.extend(_line(text) for text in fresh[:whole].decode().splitlines())
        return self._read

    def of(self, what: str, *, job: str | None = None, since: int = 0) -> Iterator[Line]:
        """The lines that say `start`, `end` or `cut`; of one job; from a place in the ledger on."""
        return (line for line in self.lines()[since:] if line.what == what and job in {None, line.job})

    def starts_by_run(self) -> dict[str, list[Line]]:
        """Every start of every run, oldest first."""
        found: dict[str, list[Line]] = defaultdict(list)
        for line in self.of("start"):
            found[line.run].append(line)
        return found


def _line(text: str) -> Line:
    what, run, attempt, pid, at_ns, boot_ns, job, argument = text.split(" ", 7)
    return Line(what, run, int(attempt), int(pid), int(at_ns), int(boot_ns), job, argument)
