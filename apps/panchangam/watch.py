"""Progress of a pass, drawn while it runs.

Always true: it only listens to the engine's events, so it can change nothing; on a terminal one line is redrawn, into
a file a line is written for each quarter.

Not here: running the pass (commands).
"""

import sys
from typing import Final

from rota import Event

ENDED: Final = frozenset({"run.succeeded", "run.retry", "run.dead", "run.held", "run.skipped"})
FAILED: Final = frozenset({"run.retry", "run.dead"})
BAR: Final = 30  # letters
QUARTERS: Final = 4


class Progress:
    """Counts the cities of a pass whose run has ended."""

    def __init__(self, jobs: frozenset[str], expected: int) -> None:
        self._jobs = jobs
        self._expected = max(expected, 1)
        self._done = 0
        self._failed = 0
        self._drawn = 0  # quarters, or per cents on a terminal

    def heard(self, event: Event) -> None:
        """Take an event."""
        if event.fields.get("job") not in self._jobs or event.name not in ENDED:
            return
        self._done += 1
        if event.name in FAILED:
            self._failed += 1
            print(f"  {event.fields.get('member')}: {event.fields.get('reason')}", file=sys.stderr)
        self._draw()

    def _draw(self) -> None:
        steps = 100 if sys.stdout.isatty() else QUARTERS
        reached = min(self._done, self._expected) * steps // self._expected
        if reached == self._drawn:
            return
        self._drawn = reached
        failed = f", {self._failed} failed" if self._failed else ""
        line = f"  {self._done:>4} of {self._expected} cities{failed}"
        if not sys.stdout.isatty():
            print(line, flush=True)
            return
        full = BAR * self._done // self._expected
        print(f"\r  {'━' * full}{' ' * (BAR - full)}{line}", end="", flush=True)
        if self._done >= self._expected:
            print()
