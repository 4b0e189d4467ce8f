"""Fresh stores for contenders: databases of one durable PostgreSQL, files in one folder.

Always true: PostgreSQL keeps fsync, full_page_writes and synchronous_commit on; SQLite is on a disk, in WAL mode
and `synchronous=FULL`; nothing stays behind.

Not here: the server itself (tests/servers.py).
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw
import asyncpg

from tests.servers import PostgresServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One fresh store: its address for rota, for others (`plain`), and of which kind it is."""

    kind: str
    plain: str

    @property
    def url(self) -> str:
        """The address as rota takes it."""
        return self.plain if self.kind == "postgres" else f"sqlite:///{self.plain}"

    async def ask(self, text: str) -> int:
        """Run one statement that answers a number."""
        if self.kind == "sqlite":
            connection = apsw.Connection(self.plain)
            connection.set_busy_timeout(10_000)
            answer = connection.execute(text).fetchone()
            connection.close()
            return int(answer[0])
        connection = await asyncpg.connect(self.plain)
        answer = await connection.fetchval(text)
        await connection.close()
        return int(answer)

    async def run(self, text: str) -> None:
        """Run one statement."""
        if self.kind == "sqlite":
            connection = apsw.Connection(self.plain)
            connection.set_busy_timeout(10_000)
            connection.execute(text)
            connection.close()
            return
        connection = await asyncpg.connect(self.plain, timeout=60)
        await connection.execute(text, timeout=600)
        await connection.close()

    def table(self, name: str) -> str:
        """The name of one of rota's tables."""
        return f"rota_{name}" if self.kind == "sqlite" else f"rota.{name}"

    async def settle_down(self) -> None:
        """What time does by itself: statistics, and visibility for the planner."""
        if self.kind == "postgres":
            await self.run("VACUUM ANALYZE")
        else:
            await self.run("PRAGMA wal_checkpoint(TRUNCATE)")


@dataclass(slots=True)
class Stores:
    """Makes stores and takes them away; PostgreSQL is started when first asked for."""

    _folder: tempfile.TemporaryDirectory[str] | None = None
    _server: PostgresServer | None = None
    _made: list[Database] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="rota-bench-")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._server is not None:
            self._server.close()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def server(self) -> PostgresServer:
        """The PostgreSQL of this run."""
        if self._server is None:
            self._server = PostgresServer(durable=True)
            self._server.start()
        return self._server

    @property
    def folder(self) -> Path:
        """Where files go."""
        assert self._folder is not None
        return Path(self._folder.name)

    def fresh(self, kind: str) -> Database:
        """Make an empty store of a kind."""
        if kind == "postgres":
            made = Database(kind=kind, plain=self.server.url(self.server.fresh_database()))
        else:
            made = Database(kind=kind, plain=str(self.folder / f"{len(self._made)}.db"))
        self._made.append(made)
        return made

    def drop(self, database: Database) -> None:
        """Take a store away."""
        if database.kind == "postgres":
            self.server.drop_database(database.plain.rsplit("/", 1)[1])
            return
        for file in self.folder.glob(f"{Path(database.plain).name}*"):
            file.unlink()
