"""A fleet of real processes on each store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rota import Rota
from tests.e2e import shop_next
from tests.e2e.fleet import Fleet
from tests.servers import PostgresServer


@asynccontextmanager
async def fleet_on(url: str, folder: Path, application: Rota = shop_next.rota) -> AsyncIterator[Fleet]:
    """A fleet without processes on this store; what the test starts is killed after it."""
    with application.put_on(url, application.clock):
        fleet = Fleet(url, application, folder)
        try:
            await application.opened()
            yield fleet
        finally:
            fleet.end_all()
            await application.close()


@pytest.fixture
async def fleet(store_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet on each store."""
    async with fleet_on(store_url, tmp_path) as one:
        yield one


@pytest.fixture
async def durable_fleet(durable_postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet on a PostgreSQL of its own that may be stopped and restarted."""
    async with fleet_on(durable_postgres.url(durable_postgres.fresh_database()), tmp_path) as one:
        yield one
