"""Where scenarios play: servers and folders that go with the run, and the sizes they are played in.

Always true: a server is started when first asked for and ended with the stage; processes are ended by their own ids.

Not here: what is played (a module for each scenario).
"""

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from rota import Rota
from rota.clock import Clock
from tests.e2e.fleet import Fleet
from tests.servers import PostgresServer
from tests.strain.report import Report

Size = Literal["short", "plain", "long"]


class Stage:
    """One run of any number of scenarios."""

    def __init__(self, size: Size) -> None:
        self.size: Size = size
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ends.close()

    @cached_property
    def folder(self) -> Path:
        """A folder that goes with the run."""
        return Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="rota-strain-")))

    def new_folder(self) -> Path:
        """An empty folder inside it."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def server(self) -> PostgresServer:
        """A PostgreSQL of its own, with fsync on, that the scenario may torment."""
        server = PostgresServer(durable=True)
        self._ends.callback(server.close)
        server.start()
        return server

    @cached_property
    def shared(self) -> PostgresServer:
        """A PostgreSQL for scenarios that leave it as they found it."""
        return self.server()


Scenario = Callable[[Stage], Report]


@asynccontextmanager
async def opened(rota: Rota, url: str) -> AsyncIterator[Rota]:
    """An application on another store, for the length of a block."""
    with rota.put_on(url, Clock()):
        async with rota:
            yield rota


@asynccontextmanager
async def fleet_on(rota: Rota, url: str, folder: Path) -> AsyncIterator[Fleet]:
    """A fleet without processes on a store; whatever it starts is killed after the block."""
    async with opened(rota, url):
        fleet = Fleet(url, rota, folder)
        try:
            yield fleet
        finally:
            fleet.end_all()
