"""The command line: `python -m apps.panchangam …`.

Always true: a value that cannot be taken costs one sentence on stderr and exit code 2, an unknown city 3, a store that
is away 6, a pass or a check with failures 1; with `--json` stdout holds one JSON value and nothing else.

Not here: what is computed (almanac), how it looks (show), the engine's own command line (`rota`).
"""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import orjson

from apps.panchangam import asked, keys, show
from apps.panchangam.almanac import reference
from apps.panchangam.almanac.records import INDIAN_ZONE, Place, zone_of
from apps.panchangam.shelf import compute_day, compute_months
from apps.panchangam.watch import Progress
from rota import TickSummary
from rota.errors import BadInput, ConfigError, Conflict, NotFound, RotaError, StoreError

if TYPE_CHECKING:
    from apps.panchangam.app import Panchangam

T = TypeVar("T")

EXITS: Final = ((NotFound, 3), (StoreError, 6), (Conflict, 7), (BadInput, 2), (ConfigError, 2))
SHOWN_CITY: Final = "mumbai"  # whose day the demo shows: the first of the list, and of every tier
BY_HAND_TIME: Final = "30m"  # after that no more cities are started by hand

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value instead of text.")


def main() -> None:
    """Run a command and end the process with its exit code."""
    try:
        sys.exit(panchangam.main(prog_name="python -m apps.panchangam", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except RotaError as error:
        print(error, file=sys.stderr)
        sys.exit(next((code for kind, code in EXITS if isinstance(error, kind)), 1))


@click.group()
def panchangam() -> None:
    """Serve the Hindu almanac of 500 Indian cities, computed each night."""


@panchangam.command()
@click.argument("city")
@click.argument("day", metavar="DATE")
@_as_json
def day(city: str, day: str, *, as_json: bool) -> None:
    """Show a day in a city: DATE is 2026-01-31 or today."""
    place = asked.read_place(city)
    body = compute_day(place, asked.read_date(day, _today()))
    if as_json:
        print(body.decode())
    else:
        _show_day(place, orjson.loads(body))


@panchangam.command()
@click.argument("city")
@click.argument("year")
@_as_json
def festivals(city: str, year: str, *, as_json: bool) -> None:
    """List the festivals and observances of a year in a city."""
    place, number = asked.read_place(city), asked.read_year(year)
    months = [orjson.loads(body) for body in compute_months(place, [(number, month) for month in range(1, 13)])]
    found = [festival for month in months for festival in month["festivals"]]
    if as_json:
        head = {name: months[0][name] for name in ("v", "engine", "place", "conventions")}
        print(orjson.dumps(head | {"year": number, "festivals": found}).decode())
    else:
        show.table(f"Festivals of {number} in {place.name}", list(show.festival_rows(found)))


@panchangam.command()
@click.option("--city", help="Only this city.")
def precompute(city: str | None) -> None:
    """Compute the days ahead now, also while SCHED_ENABLED is false; slots stay where they are."""
    app = _app()
    slug = asked.read_place(city).slug if city else None
    summary = _run(_precompute(app, slug))
    _end(app, summary)


@panchangam.command()
@_as_json
def status(*, as_json: bool) -> None:
    """Show the schedule, the last pass, and what cache and tables hold."""
    from apps.panchangam.status import status as read_status

    app = _app()
    found = _run(_opened(app, read_status(app)))
    if as_json:
        print(orjson.dumps(found).decode())
    else:
        show.table("Panchangam", list(show.status_rows(found)))


@panchangam.command()
@click.option("--city", help="Only the documents of this city.")
@click.option("--prefix", help="Only the keys that begin so, such as festivals: or panchangam:mumbai.")
def clear(city: str | None, prefix: str | None) -> None:
    """Drop documents from the cache; without an option all of them. The tables stay."""
    if city and prefix is not None:
        raise BadInput("Expected --city or --prefix, found both; give one of them.")
    if city:
        prefixes = list(keys.prefixes_of(asked.read_place(city).slug))
    elif prefix is not None:
        prefixes = [_own_prefix(prefix)]
    else:
        prefixes = list(keys.PREFIXES)
    app = _app()
    print(f"{_run(_opened(app, _clear(app, prefixes)))} keys dropped.")


@panchangam.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65_535))
def serve(host: str, port: int) -> None:
    """Serve the read API and, unless SCHED_ENABLED is false, work in the same process."""
    from apps.panchangam.serve import serve as run_server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(run_server(_app(), host, port))


@panchangam.command()
@click.argument("file", type=click.Path())
@_as_json
def check(file: str, *, as_json: bool) -> None:
    """Compare the almanac with a file of the columns of panchangam_reference.csv; exit code 1 on any miss."""
    try:
        report = reference.check(file)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"Expected a readable reference file, found {file!r} with {error}; correct it.") from error
    print(orjson.dumps(report.as_dict()).decode() if as_json else "\n".join(show.check_lines(report)))
    if not report.ok:
        raise click.exceptions.Exit(1)


@panchangam.command()
def demo() -> None:
    """Run what is due, with progress, and show a day: what `make demo` does."""
    app = _app()
    settings = app.settings
    print(f"Panchangam: tier {settings.city_precompute}, {settings.precompute_days} days ahead of today.")
    summary = _run(_demo(app))
    place = asked.read_place(SHOWN_CITY)
    print()
    _show_day(place, orjson.loads(compute_day(place, _today())))
    print()
    show.table("What next", show.NEXT_STEPS)
    if not summary.ok:
        raise click.exceptions.Exit(1)


# -- what the commands do -------------------------------------------------------------------------


def _app() -> "Panchangam":
    """Import the application when a command needs it: it reads the environment then."""
    from apps.panchangam.app import panchangam as app

    return app


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def _opened(app: "Panchangam", work: Coroutine[Any, Any, T]) -> T:
    """Await something with the store open."""
    async with app.rota:
        return await work


async def _demo(app: "Panchangam") -> TickSummary:
    from apps.panchangam.app import NIGHTLY, pause_of

    async with app.rota:
        await app.cities.sync()
        _watch(app, NIGHTLY, (await app.rota.tick(dry_run=True)).due)
        summary = await app.rota.tick()
        held = await pause_of(app.rota)
        for line in show.tick_lines(summary.as_json(), held, app.rota.clock.now_ms()):
            print(line)
        return summary


async def _precompute(app: "Panchangam", slug: str | None) -> TickSummary:
    """Run the nightly job now; while it is paused, or for one city, as one-offs, which pauses of it do not hold."""
    from apps.panchangam.app import BY_HAND, NIGHTLY, pause_of

    async with app.rota:
        await app.cities.sync()
        if slug is None and await pause_of(app.rota) is None:
            _watch(app, NIGHTLY, await app.cities.count())
            return await app.rota.tick(jobs=[NIGHTLY], now=True, time=BY_HAND_TIME)
        members = [slug] if slug else [member.key for member in await app.cities.members()]
        await app.by_hand.enqueue_many(members)
        _watch(app, BY_HAND, len(members))
        return await app.rota.tick(jobs=[BY_HAND], time=BY_HAND_TIME)


def _watch(app: "Panchangam", job: str, expected: int) -> None:
    app.rota.listen(Progress(frozenset({job}), expected).heard)


def _end(app: "Panchangam", summary: TickSummary) -> None:
    """Say what a pass by hand came to, and end with its exit code."""
    for line in show.tick_lines(summary.as_json(), None, app.rota.clock.now_ms()):
        print(line)
    if not summary.ok:
        raise click.exceptions.Exit(1)


async def _clear(app: "Panchangam", prefixes: list[str]) -> int:
    return sum([await app.rota.cache.delete_prefix(prefix) for prefix in prefixes])


def _own_prefix(prefix: str) -> str:
    """Take a prefix of our own keys: the cache may hold others."""
    if not prefix.startswith(tuple(own.removesuffix(":") for own in keys.PREFIXES)):
        raise BadInput(f"Expected a prefix that begins with one of {', '.join(keys.PREFIXES)}, found {prefix!r}.")
    return prefix


def _show_day(place: Place, document: dict[str, Any]) -> None:
    at = date.fromisoformat(document["date"])
    show.table(f"Panchangam of {place.name}, {at:%d %B %Y}", list(show.day_rows(document)))


def _today() -> date:
    return datetime.now(UTC).astimezone(zone_of(INDIAN_ZONE)).date()
