"""A tick while it runs, on a terminal: a bar for each job, the rest of them in one.

Always true: drawn on stderr, so that what is piped stays clean; imported only where there is a terminal.

Not here: the summary (tick.py).
"""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from rota.cli.words import count, many
from rota.engine.summary import JobCount
from rota.engine.tick import Progress as Told

MOST_BARS = 8  # jobs with a bar of their own; a screen holds no more with a summary under it
BAD = {"retry": "retry", "lost": "lost", "dead": "dead"}


class _Rate(ProgressColumn):
    """Runs a second."""

    def render(self, task: Task) -> Text:
        """So many a second, once there is something to count."""
        elapsed = task.finished_time if task.finished else task.elapsed
        if not elapsed or not task.completed:
            return Text("")
        return Text(f"{count(round(task.completed / elapsed))}/s", style="dim")


class Bars(Told):
    """Draws what it is told."""

    def __init__(self) -> None:
        columns = (
            TextColumn(" {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._drawn = Progress(*columns, console=Console(stderr=True), refresh_per_second=8)
        self._bars: dict[str, object] = {}
        self._bad: dict[str, dict[str, int]] = {}
        self._rest: object | None = None
        self._others = 0
        self._drawn.start()

    def begins(self, job: str, due: int) -> None:
        """A bar for it, or a longer one for the others."""
        if due == 0:
            return
        if len(self._bars) < MOST_BARS:
            self._bars[job] = self._drawn.add_task(job, total=due, note="")
            return
        self._others += 1
        if self._rest is None:
            self._rest = self._drawn.add_task("", total=0, note="")
        task = self._drawn.tasks[int(str(self._rest))]
        description = f"{many(self._others, 'more job', 'more jobs')}"
        self._drawn.update(task.id, description=description, total=(task.total or 0) + due)

    def ended(self, job: str, outcome: str) -> None:
        """One further."""
        bar = self._bars.get(job, self._rest)
        if bar is None:
            return
        bad = self._bad.setdefault(job if job in self._bars else "", {})
        if outcome in BAD:
            bad[BAD[outcome]] = bad.get(BAD[outcome], 0) + 1
        note = "  ".join(f"{number} {word}" for word, number in bad.items())
        self._drawn.update(self._drawn.tasks[int(str(bar))].id, advance=1, note=note)

    def ends(self, count: JobCount) -> None:
        """It took what it took: a bar that ends early says so by its numbers."""
        bar = self._bars.get(count.job)
        if bar is not None:
            self._drawn.stop_task(self._drawn.tasks[int(str(bar))].id)

    def close(self) -> None:
        """The bars stay where they are."""
        self._drawn.stop()
