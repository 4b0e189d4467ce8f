"""Two processes that read and then write one SQLite file: the second waits, and neither is told that it is locked.

Always true: the order is built and not hoped for; the second is given a moment to do what it must not, and the moment
is no part of what is asserted.

Not here: many processes, kills and a full disk (tests/strain), PostgreSQL (test_races).
"""

import asyncio
import threading

import pytest

from rota.clock import Clock
from rota.store.port import query
from rota.store.sqlite import Sqlite

MOMENT_S = 0.3  # in which a second writer that does not wait would be through
PATIENCE_S = 20.0


def _add_one(there: threading.Event | None = None, go: threading.Event | None = None):
    """Read a number, and write the one after it."""
    rows = yield from query("meta", name="number")
    if there is not None and go is not None:
        there.set()
        go.wait(PATIENCE_S)
    yield from query("put_meta", name="number", value=str(int(rows[0][0]) + 1))


@pytest.mark.parametrize("driver", ["apsw", "sqlite3"])
async def test_an_operation_that_reads_before_it_writes_has_the_file_from_its_beginning(tmp_path, driver):
    first, second = (Sqlite(str(tmp_path / "rota.db"), clock=Clock(), driver=driver) for _ in range(2))
    await first.open()
    await second.open()
    await first.write(lambda: query("put_meta", name="number", value="0"))
    there, go = threading.Event(), threading.Event()
    try:
        one = asyncio.create_task(first.write(lambda: _add_one(there, go)))
        assert await asyncio.to_thread(there.wait, PATIENCE_S)
        other = asyncio.create_task(second.write(_add_one))
        await asyncio.wait({other}, timeout=MOMENT_S)
        go.set()
        await asyncio.gather(one, other)
        assert await first.read(lambda: query("meta", name="number")) == [("2",)]
    finally:
        go.set()
        await first.close()
        await second.close()
