"""`rota worker` and `rota up`: a worker in this process, its signals, and its exit code.

Always true: drained after SIGTERM is exit code 0 (G-18), after Ctrl-C 130, hurried after SIGTERM 143; a worker that
ends unasked exits with a fault.

Not here: hearing signals (ears.py), several processes (processes.py), what a worker does (engine/worker.py).
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from rota.cli import faults
from rota.cli.ears import Ears
from rota.cli.logs import log_to_stderr
from rota.cli.paper import Result
from rota.cli.processes import supervise
from rota.cli.root import command
from rota.cli.session import Session
from rota.cli.words import many
from rota.define.names import checked_name
from rota.define.units import duration_ms
from rota.engine.worker import Settings
from rota.errors import BadInput, BadSetting

Verb = TypeVar("Verb", bound=Callable[..., Any])

LEAST_LEASE_MS = 1_000  # a lease is extended every third of it: shorter ones end by a busy disk alone
LEAST_POLL_MS = 10


def _work_options(verb: Verb) -> Verb:
    for option in reversed(
        [
            click.option("--queues", metavar="NAME[:N],…", help="Queues to serve, each with N places of its own."),
            click.option("--concurrency", type=click.IntRange(1, 10_000), metavar="N", help="Runs at once (32)."),
            click.option("--poll", metavar="DURATION", help="Look for work at least this often (1s)."),
            click.option("--lease", metavar="DURATION", help="What a dead worker held is given back after this (15s)."),
            click.option("--drain-grace", metavar="DURATION", help="Time for what runs to end at a stop (25s)."),
        ]
    ):
        verb = option(verb)
    return verb


@command("worker", "rota worker -p 4", "rota worker --queues mail:4,default --concurrency 64")
@click.option("-p", "--processes", type=click.IntRange(1, 1_000), default=1, metavar="N", help="Worker processes.")
@click.option("--parent", type=int, hidden=True, help="The socket to the parent of several processes.")
@_work_options
def worker(session: Session, processes: int, parent: int | None, **options: str | int | None) -> Result:
    """Run what is due, as it becomes due, until told to stop.

    SIGTERM or Ctrl-C: nothing more is started, what runs ends within the grace, the rest is given back with no
    try used. A second signal ends the grace.
    """
    settings = worker_settings(session, options, kind="worker")
    log_to_stderr(session.settings, verbose=session.manner.verbose, plain_level="info")
    if processes == 1 or parent is not None:
        return _ended(asyncio.run(_work(session, settings, parent)))
    return _ended(asyncio.run(supervise(session, processes, _arguments(session, options))))


@command("up", "rota up", "rota up --db sqlite:///shop.db")
@_work_options
def up(session: Session, **options: str | int | None) -> Result:
    """Be a worker in one process, for small deployments."""
    settings = worker_settings(session, options, kind="up")
    log_to_stderr(session.settings, verbose=session.manner.verbose, plain_level="info")
    return _ended(asyncio.run(_work(session, settings, None)))


def worker_settings(session: Session, options: Mapping[str, str | int | None], *, kind: str) -> Settings:
    """How to work: an option goes before the environment, that before the default."""
    environment, plain = session.settings, Settings()
    queues = options["queues"] or environment.queues

    def ms(name: str, said: str | None, default: int, least: int = 0) -> int:
        text = options[name]
        if text is not None:
            return duration_ms(text, name=f"--{name.replace('_', '-')}", least=least)
        if said is not None:
            return duration_ms(said, name=f"ROTA_{name.upper()}", least=least, error=BadSetting)
        return default

    return Settings(
        queues=None if queues is None else queues_of(str(queues)),
        concurrency=int(options["concurrency"] or environment.concurrency or plain.concurrency),
        poll_ms=ms("poll", environment.poll, plain.poll_ms, LEAST_POLL_MS),
        lease_ms=ms("lease", environment.lease, plain.lease_ms, LEAST_LEASE_MS),
        grace_ms=ms("drain_grace", environment.drain_grace, plain.grace_ms),
        kind=kind,
    )


def queues_of(text: str) -> dict[str, int | None]:
    """The queues of "mail:4,default", with their places where said.

    >>> queues_of("mail:4,default")
    {'mail': 4, 'default': None}
    """
    found: dict[str, int | None] = {}
    for part in text.split(","):
        name, colon, places = part.strip().partition(":")
        checked_name(name, what="queue")
        if name in found:
            raise BadInput(f"--queues names {name!r} twice: name each queue once")
        if colon and not (places.isascii() and places.isdigit() and int(places)):
            raise BadInput(f"--queues must be names with places, such as mail:4,default, not {part!r}")
        found[name] = int(places) if colon else None
    return found


def _arguments(session: Session, options: Mapping[str, str | int | None]) -> list[str]:
    """The command line of a child that does the same in one process."""
    manner = session.manner
    shared = {"app": manner.app, "db": manner.db}
    found = ["worker"]
    for name, value in {**shared, **options}.items():
        if value is not None:
            found += [f"--{name.replace('_', '-')}", str(value)]
    return found + ["--verbose"] * manner.verbose + ["--quiet"] * manner.quiet


async def _work(session: Session, settings: Settings, parent: int | None) -> int:
    """Be a worker until told to stop; the exit code."""
    async with session.opened():
        worker = await session.rota.worker(settings)
        ears = Ears(worker)
        ears.listen()
        hearing: asyncio.Task[None] | None = None
        if parent is not None:
            reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=parent))
            writer.write(worker.incarnation.encode() + b"\n")
            await writer.drain()
            hearing = asyncio.create_task(ears.parent(reader))
        elif session.paper.terminal:
            _greet(session, settings)
        try:
            await worker.run()
        finally:
            ears.deafen()
            if hearing is not None:
                hearing.cancel()
    code = _code(ears, parent)
    if worker.stuck:
        faults.leave_at_once(code)  # a thread or a coroutine that will not end would keep the process for ever
    return code


def _code(ears: Ears, parent: int | None) -> int:
    if ears.signal is None:
        return faults.DONE if parent is not None else faults.SOFTWARE  # nobody asked it to stop: a loop of it died
    if ears.signal == signal.SIGINT:
        return faults.INTERRUPTED
    return faults.TERMINATED if ears.hurried else faults.DONE


def _greet(session: Session, settings: Settings) -> None:
    catalog = session.rota.catalog
    session.paper.aside(
        f"rota worker: {session.rota.name}, {many(len(catalog.rosters), 'roster')}, {many(len(catalog.jobs), 'job')}, "
        f"{many(settings.concurrency, 'run')} at once; Ctrl-C drains"
    )


def _ended(code: int) -> Result:
    return Result(fields={"exit": code}, text=lambda _fields, _words: (), exit=code)
