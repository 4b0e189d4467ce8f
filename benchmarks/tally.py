"""Counts finished jobs of several processes for the one that measures, through a small shared file.

Always true: only the standard library, as peers' environments import this too; a mark costs a tenth of a microsecond.

Not here: starting processes (children.py).
"""

import mmap
import time
from pathlib import Path

SLOTS = 8  # processes that may count at once; more than any benchmark starts
FIELDS = 3  # of each slot: count, first and last mark (nanoseconds of the machine's monotonic clock)
WIDTH = 8  # bytes of a field


def blank(path: Path) -> None:
    """Make the shared file, all zero."""
    path.write_bytes(bytes(SLOTS * FIELDS * WIDTH))


class Tally:
    """One process's view of the shared file."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._view = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")

    def marker(self, slot: int):
        """Return the function a handler calls: one more job was run by the process of this slot."""
        view, base, clock, count = self._view, slot * FIELDS, time.monotonic_ns, 0
        last = base + 2

        def mark() -> None:
            nonlocal count
            count += 1
            if count == 1:
                view[base + 1] = clock()
            view[base] = count
            view[last] = clock()

        return mark

    @property
    def count(self) -> int:
        """Jobs run by all processes."""
        return sum(self._view[0::FIELDS])

    @property
    def first_ns(self) -> int:
        """When the first job ran."""
        return min(at for at in self._view[1::FIELDS] if at)
