"""A store as the floors above see it: a database, a clock, what the application declared, and who is told.

Always true: whoever sleeps until something is due is woken after a commit that made something due.

Not here: the operations (turns, members, operators, reads), which are handed to `read` and `write`.
"""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from rota.clock import Clock
from rota.define.catalog import Catalog
from rota.define.retain import Retain
from rota.errors import ConfigError
from rota.events import Events
from rota.store.port import Database, Gate, Op

T = TypeVar("T")

_SYNCHRONOUS = ("full", "normal")


class Store:
    """A database with its clock, its catalog and its events."""

    def __init__(self, db: Database, *, clock: Clock, catalog: Catalog, events: Events) -> None:
        self.db = db
        self.clock = clock
        self.catalog = catalog
        self.events = events
        self.retain = Retain()
        self._wakers: list[Callable[[], None]] = []

    async def read(self, make: Callable[[], Op[T]]) -> T:
        """Run an operation that only reads."""
        return await self.db.read(make)

    async def write(self, make: Callable[[], Op[T]], *, gate: Gate = None, wakes: bool = False) -> T:
        """Run an operation in one transaction; with `wakes`, rouse the workers of this and other processes after it."""
        answer = await self.db.write(make, gate=gate)
        if wakes:
            await self.wake()
        return answer

    async def wake(self) -> None:
        """Something may be due: rouse the workers of this process now, the others by a hint."""
        self.rouse()
        await self.db.notify()

    def rouse(self) -> None:
        """Rouse the workers of this process."""
        for waker in self._wakers:
            waker()

    def on_wake(self, waker: Callable[[], None]) -> Callable[[], None]:
        """Call `waker` whenever something may be due; what is returned takes it away again."""
        self._wakers.append(waker)
        return lambda: self._wakers.remove(waker)


def database(url: str, *, clock: Clock, schema: str = "rota") -> Database:
    """The database of a URL, not yet open.

    Raises ConfigError when the URL is of neither kind or carries an unknown option.
    """
    parts = urlsplit(url)
    if parts.scheme in {"postgresql", "postgres"}:
        try:
            from rota.store.postgres import Postgres
        except ModuleNotFoundError as error:
            message = f"a PostgreSQL store needs the package {error.name}: pip install 'rota[postgres]'"
            raise ConfigError(message) from error
        return Postgres(urlunsplit(parts._replace(scheme="postgresql")), clock=clock, schema_name=schema)
    if parts.scheme != "sqlite" or parts.netloc:
        message = (
            f"the store URL {url!r} cannot be read: expected sqlite:///file.db (relative), sqlite:////full/path.db, "
            "sqlite:///:memory: or postgresql://user:password@host:port/name"
        )
        raise ConfigError(message)
    options = dict(parse_qsl(parts.query))
    synchronous = options.pop("synchronous", "full").lower()
    driver = options.pop("driver", "apsw")
    if options or synchronous not in _SYNCHRONOUS or driver not in {"apsw", "sqlite3"}:
        message = (
            f"the store URL {url!r} has an unknown option: there are synchronous=full|normal and driver=apsw|sqlite3"
        )
        raise ConfigError(message)
    path = unquote(parts.path)[1:]
    if not path:
        message = f"the store URL {url!r} names no file: write sqlite:///shop.db, or sqlite:///:memory:"
        raise ConfigError(message)
    from rota.store.sqlite import Sqlite

    return Sqlite(path, clock=clock, synchronous=synchronous, driver=driver)
