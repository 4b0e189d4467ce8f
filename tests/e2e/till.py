"""The application that the workers of test_transactions run: a till whose sales stand in the store's own database.

Always true: a sale and the success of its run are written in one transaction on the till's own connection; the ledger
says how far each attempt came, so that a test can kill the worker between any two steps.

Not here: what is checked (test_transactions).
"""

import asyncio
import os
from contextlib import closing
from typing import Any

import django
import django.conf
from django import db
from django.db import transaction

from rota import Rota, Run
from tests.e2e.shop import note

rota = Rota(name="till")
AFTER, BEFORE = 1, 2  # the sale whose first attempt hangs after its commit, and the one that hangs before
LONG_S = 60.0  # until it is killed
SALE = "INSERT INTO sale VALUES ('{}')"


@rota.job(timeout="2m")
async def sell(number: int, way: str, run: Run) -> None:
    """Sell on a connection of the event loop's."""
    note("start", run, number)
    await _WAYS[way](number, run)
    note("end", run, number)


@rota.job(timeout="2m")
def sell_plainly(number: int, way: str, run: Run) -> None:
    """Sell on a connection of a thread's own."""
    note("start", run, number)
    _WAYS[way](number, run)
    note("end", run, number)


def _hang(moment: int, number: int, run: Run) -> None:
    """Note that so much is done, and on the first attempt stay there."""
    note("written" if moment == BEFORE else "committed", run, number)
    if number == moment and run.attempt == 1:
        rota.wait(asyncio.sleep(LONG_S))


async def _hang_in_loop(moment: int, number: int, run: Run) -> None:
    note("written" if moment == BEFORE else "committed", run, number)
    if number == moment and run.attempt == 1:
        await asyncio.sleep(LONG_S)


async def _with_apsw(number: int, run: Run) -> None:
    import apsw

    with closing(apsw.Connection(_file())) as connection:
        connection.set_busy_timeout(5_000)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(SALE.format(run.id))
        await run.complete(on=connection)
        await _hang_in_loop(BEFORE, number, run)
        connection.execute("COMMIT")
        await _hang_in_loop(AFTER, number, run)


async def _with_asyncpg(number: int, run: Run) -> None:
    import asyncpg

    connection = await asyncpg.connect(_url())
    async with connection.transaction():
        await connection.execute(SALE.format(run.id))
        await run.complete(on=connection)
        await _hang_in_loop(BEFORE, number, run)
    await _hang_in_loop(AFTER, number, run)
    await connection.close()


async def _with_psycopg(number: int, run: Run) -> None:
    import psycopg

    async with await psycopg.AsyncConnection.connect(_url()) as connection:
        async with connection.transaction():
            await connection.execute(SALE.format(run.id))
            await run.complete(on=connection)
            await _hang_in_loop(BEFORE, number, run)
        await _hang_in_loop(AFTER, number, run)


async def _in_short(number: int, run: Run) -> None:
    async with run.transaction() as connection:
        came: Any = connection.execute(SALE.format(run.id))
        if asyncio.iscoroutine(came):
            await came
        await _hang_in_loop(BEFORE, number, run)
    await _hang_in_loop(AFTER, number, run)


def _with_django(number: int, run: Run) -> None:
    if not django.conf.settings.configured:
        django.conf.settings.configure(DATABASES={"default": _django_database()})
        django.setup()
    with transaction.atomic():
        with db.connection.cursor() as cursor:
            cursor.execute(SALE.format(run.id))
        rota.wait(run.complete(on=db.connection))
        _hang(BEFORE, number, run)
    _hang(AFTER, number, run)
    db.connection.close()


def _django_database() -> dict[str, Any]:
    if _url().startswith("sqlite"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": _file()}
    import psycopg

    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    place = psycopg.conninfo.conninfo_to_dict(_url())
    return {"ENGINE": "django.db.backends.postgresql", **{names[key]: value for key, value in place.items()}}


def _url() -> str:
    return os.environ["TILL_URL"]


def _file() -> str:
    return _url().removeprefix("sqlite:///").partition("?")[0]


_WAYS: dict[str, Any] = {
    "apsw": _with_apsw,
    "asyncpg": _with_asyncpg,
    "psycopg": _with_psycopg,
    "the short form": _in_short,
    "django": _with_django,
}
