"""`rota tick`: one pass, with its progress on a terminal, one line elsewhere, and an exit code that means something.

Always true: without a terminal a tick prints exactly one line on stdout (with `--summary` one more for each job); the
first Ctrl-C or SIGTERM ends it in order, a second one at once; a monitor that cannot be reached fails nothing.

Not here: what a tick does (engine/tick.py), how its progress looks (tick_view.py).
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import click

from rota.cli import faults
from rota.cli.paper import Block, Fields, Result
from rota.cli.root import command
from rota.cli.session import Session
from rota.cli.words import Words, count, duration, many
from rota.engine.summary import TickSummary
from rota.engine.tick import Progress
from rota.errors import BadInput

NOTED_S = 0.5  # a wait of less is not worth a word
PING_S = 3.0  # a monitor answers within this or is left alone: the tick must not wait for it


@dataclass(slots=True)
class _Signals:
    """Which signal has come, if one has."""

    came: int | None = None


@command("tick", "rota tick --time 50s", "rota tick --job send_digest --limit send_digest=100", "rota tick --dry-run")
@click.option("--time", default="10m", metavar="DURATION", help="Start no run after this.")
@click.option("--max", "most", type=click.IntRange(min=0), metavar="N", help="At most so many runs in all.")
@click.option("--limit", "limits", multiple=True, metavar="JOB=N", help="At most so many runs of a job; repeatable.")
@click.option("--job", "jobs", multiple=True, metavar="JOB", help="Only this job; repeatable.")
@click.option("--roster", "rosters", multiple=True, metavar="ROSTER", help="Only jobs of this roster; repeatable.")
@click.option("--now", is_flag=True, help="What is scheduled in this selection is due now; slots stay.")
@click.option("--catch-up", metavar="KIND", help="Treat missed slots so: latest, all or none.")
@click.option("--concurrency", type=click.IntRange(1, 10_000), metavar="N", help="Runs at once.")
@click.option("--dry-run", is_flag=True, help="Only say what is due.")
@click.option("--fail-if-busy", is_flag=True, help="Exit 75 when another tick is at work.")
@click.option("--summary", is_flag=True, help="One line for each job, with its time.")
@click.option("--ping", metavar="URL", help="Call URL/start, then URL or URL/fail; failures are only told.")
def tick(session: Session, **options: Any) -> Result:
    """Run what is due now, job after job, then exit: 0 when no run failed, else 1."""
    signals = _Signals()
    summary = _run(_ticked(session, signals, **options))
    return Result(
        fields=summary.as_json(),
        text=lambda fields, words: _text(fields, words, by_job=options["summary"] or session.paper.terminal),
        exit=_exit(summary, signals, fail_if_busy=options["fail_if_busy"]),
        at_once=summary.stuck > 0,
    )


def _run(ticked: Coroutine[Any, Any, TickSummary]) -> TickSummary:
    """Run a tick in a loop of its own; one with handlers that will not end is left as it is, or it would never end."""
    runner = asyncio.Runner()
    summary = None
    try:
        summary = runner.run(ticked)
        return summary
    finally:
        if summary is None or not summary.stuck:
            runner.close()


async def _ticked(session: Session, signals: _Signals, **options: Any) -> TickSummary:
    limits = dict(_limit(text) for text in options["limits"])
    ping = _Ping(session, options["ping"])
    drawn = ExitStack()
    progress = _progress(session, drawn, dry_run=options["dry_run"])
    restore = _heed(signals, progress)
    ping.say("/start")
    try:
        async with session.opened():
            summary = await session.rota.tick(
                jobs=options["jobs"] or None,
                rosters=options["rosters"] or None,
                limits=limits,
                max=options["most"],
                time=options["time"],
                now=options["now"],
                catch_up=options["catch_up"],
                concurrency=options["concurrency"] or session.settings.concurrency or 32,
                dry_run=options["dry_run"],
                progress=progress,
            )
    except BaseException:
        ping.say("/fail")
        raise
    else:
        ping.say("" if summary.ok else "/fail")
        return summary
    finally:
        drawn.close()
        restore()
        await ping.ended()


def _limit(text: str) -> tuple[str, int]:
    job, sign, number = text.partition("=")
    if not sign or not job or not (number.isascii() and number.isdigit()):
        raise BadInput(f"--limit must be JOB=N such as send_digest=100, not {text!r}")
    return job, int(number)


def _exit(summary: TickSummary, signals: _Signals, *, fail_if_busy: bool) -> int:
    if signals.came is not None:
        return faults.TERMINATED if signals.came == signal.SIGTERM else faults.INTERRUPTED
    if summary.busy:
        return faults.AGAIN if fail_if_busy else faults.DONE
    return faults.DONE if summary.ok else faults.BAD


def _heed(signals: _Signals, progress: Progress) -> Callable[[], None]:
    """The first signal: no more runs are started. The second: what runs is cancelled."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def came(number: int) -> None:
        if signals.came is not None and task is not None:
            task.cancel()
        signals.came = number
        progress.enough = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, came, number)

    def restore() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    return restore


def _progress(session: Session, drawn: ExitStack, *, dry_run: bool) -> Progress:
    """Bars on a terminal, until `drawn` ends; nothing elsewhere."""
    if not session.paper.terminal or session.paper.as_json or session.paper.quiet or dry_run:
        return Progress()
    from rota.cli.tick_view import Bars

    bars = Bars()
    drawn.callback(bars.close)
    return bars


class _Ping:
    """Calls a monitoring address beside the tick."""

    def __init__(self, session: Session, address: str | None) -> None:
        if address is not None and not address.startswith(("http://", "https://")):
            raise BadInput(f"--ping must be an http:// or https:// address, not {address!r}")
        self._address = address
        self._session = session
        self._calls: list[asyncio.Future[None]] = []

    def say(self, what: str) -> None:
        """Call the address in a thread; the calls of one tick keep their order."""
        if self._address is not None:
            before = self._calls[-1] if self._calls else None
            self._calls.append(asyncio.ensure_future(self._called(self._address.rstrip("/") + what, before)))

    async def _called(self, address: str, before: "asyncio.Future[None] | None") -> None:
        if before is not None:
            await before
        fault = await asyncio.to_thread(_fetch, address)
        if fault is not None:
            self._session.paper.aside(f"rota: {address} did not answer ({fault}); the tick goes on")

    async def ended(self) -> None:
        """Wait for the calls, which end by themselves."""
        await asyncio.gather(*self._calls, return_exceptions=True)


def _fetch(address: str) -> str | None:
    from urllib.request import urlopen

    try:
        with urlopen(address, timeout=PING_S):  # noqa: S310 -- only http and https come here
            return None
    except (OSError, ValueError) as error:
        return str(error)


# -- text ------------------------------------------------------------------------------------------


def _text(fields: Fields, words: Words, *, by_job: bool) -> Iterable[Block]:
    yield _line(fields, words)
    for job in fields["jobs"]:
        if by_job and job["due"]:
            yield f" {job['job']}: {', '.join(_counts(job))}, {duration(job['duration'])}{_error(job)}"


def _line(fields: Fields, words: Words) -> str:
    """The one line of a tick."""
    stop = fields["stopped"]
    if stop is not None:
        since = words.at(stop["since"])
        return f"Everything is stopped since {since} by {stop['by']}: '{stop['reason']}'. Nothing was started."
    if fields["busy"]:
        return "Another tick is at work, so this one did nothing."
    following = "nothing is scheduled" if fields["nextDueAt"] is None else f"next {words.at(fields['nextDueAt'])}"
    took = duration(fields["duration"])
    if fields["waited"] >= NOTED_S:
        took += f", {duration(fields['waited'])} of it to see whether a silent worker lives"
    if not fields["due"]:
        return f"Nothing is due · {following} · {took}"
    if fields["dryRun"]:
        return f"{many(fields['due'], 'run is', 'runs are')} due · nothing was started (dry run)"
    failed = next((f" · first error: {job['job']}{_error(job)}" for job in fields["jobs"] if job["error"]), "")
    counts = " · ".join(_counts(fields))
    return f"{count(fields['due'])} due · {counts} · {took} · {following}{failed}"


_WORDS = (
    ("succeeded", "ok"),
    ("retrying", "to be retried"),
    ("dead", "dead"),
    ("snoozed", "snoozed"),
    ("skipped", "skipped"),
    ("held", "on hold"),
    ("cancelled", "cancelled"),
    ("postponed", "postponed"),
    ("left", "left"),
)


def _counts(counts: Fields) -> Sequence[str]:
    """The counts that are not nothing."""
    return [f"{count(counts[name])} {word}" for name, word in _WORDS if counts[name] or name == "succeeded"]


def _error(job: Fields) -> str:
    if not job["error"]:
        return ""
    first = str(job["error"]).strip().splitlines()
    return f": {first[0]}" if first else ""
