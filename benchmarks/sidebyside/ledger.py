"""What handlers write down outside their system: one line for each start and each end of a job.

Always true: only the standard library, as peers import this too; a line is appended with one write, so lines of
several processes never mix; instants are of the machine's monotonic clock.

Not here: what follows from the lines (verdict.py).
"""

import os
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

LEAST_MS = 50  # of a job
MOST_MS = 200  # of a job
STRIDE = 7919  # a prime, so that neighbours differ in length


class Line(NamedTuple):
    """A job began or ended in a process."""

    what: str
    number: int
    pid: int
    at_ns: int


@cache
def _opened() -> int:
    return os.open(os.environ["SIDE_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(what: str, number: int) -> None:
    """Append one line."""
    os.write(_opened(), f"{what} {number} {os.getpid()} {time.monotonic_ns()}\n".encode())


def lasts_ms(number: int) -> int:
    """How long a job takes: the same for every system."""
    return LEAST_MS + number * STRIDE % (MOST_MS - LEAST_MS + 1)


def work(number: int) -> None:
    """Be the job, for systems whose jobs are plain functions."""
    note("start", number)
    time.sleep(lasts_ms(number) / 1000)
    note("end", number)


def parsed(lines: Iterable[str]) -> list[Line]:
    """Read lines back."""
    rows = [line.split() for line in lines]
    return [Line(row[0], int(row[1]), int(row[2]), int(row[3])) for row in rows]


def read(path: Path) -> list[Line]:
    """All lines so far; none where no job has begun."""
    return parsed(path.read_text().splitlines()) if path.exists() else []
