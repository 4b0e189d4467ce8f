"""What every test may ask for: a store of its own on either database, and real servers.

Always true: a test that asks for `store_url` runs once on SQLite and once on PostgreSQL, on an empty store; servers
start when the first test needs them and end with the session; nothing of the caller's environment reaches a test.

Not here: how the servers run (servers), a clock to hold and an isolated application (`rota.testing`).
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.servers import PostgresServer, RedisServer

STORES = ("sqlite", "postgres")
_SERVER_FIXTURES = frozenset({"postgres", "durable_postgres"})

# Two busy cores make single examples slow at times; a slow suite is seen by its budget, not by one example.
settings.register_profile("rota", deadline=None, print_blob=True)
settings.load_profile("rota")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store",
        choices=(*STORES, "both"),
        default="both",
        help="sqlite: the tests that need no PostgreSQL; postgres: those that need it; both (default): all",
    )
    parser.addoption("--seed", type=int, default=None, help="the one world that the simulation repeats")


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("ROTA_") or name in {"DATABASE_URL", "REDIS_URL"}]:
        del os.environ[name]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store_kind" in metafunc.fixturenames:
        metafunc.parametrize("store_kind", STORES)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what `--store` asks for; the rest is deselected, because nothing about it was tried."""
    wanted = config.getoption("--store")
    if wanted == "both":
        return
    kept = [item for item in items if _needs_postgres(item) == (wanted == "postgres")]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def _needs_postgres(item: pytest.Item) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    asked_for = getattr(item, "fixturenames", ())  # a doctest asks for nothing
    return parameters.get("store_kind") == "postgres" or not _SERVER_FIXTURES.isdisjoint(asked_for)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL for the whole session, quick and without fsync."""
    server = PostgresServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def durable_postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL for one test, with fsync on: the test may stop, crash and restart it."""
    server = PostgresServer(durable=True)
    server.start()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of an empty PostgreSQL database."""
    name = postgres.fresh_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'rota.db'}"


@pytest.fixture
def store_url(store_kind: str, request: pytest.FixtureRequest) -> str:
    """The address of an empty store: the test runs once on each database."""
    return str(request.getfixturevalue(f"{store_kind}_url"))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A running Redis for the whole session; a test that stops it starts it again."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis."""
    redis_server.command("flushall")
    return redis_server.url


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int | None:
    """What `--seed` says: the one world to repeat, or none."""
    return request.config.getoption("--seed")
