"""The optional tables PanchangDay and FestivalDay, in the database that DATABASE_URL names.

Always true: writing the same days again changes nothing but `computed_at`; one city's rows go in one transaction; the
statements are the same on SQLite and PostgreSQL, only the driver differs.

Not here: what is written (precompute), their sizes and plans (table_facts), reading for the public (shelf).
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any, Final, TypeAlias, TypeVar

import orjson
from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    Engine,
    Executable,
    Index,
    Numeric,
    String,
    create_engine,
    delete,
    event,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from apps.panchangam.almanac.festivals import Festival
from apps.panchangam.almanac.records import Place

T = TypeVar("T")
Row: TypeAlias = dict[str, Any]

BUSY_S: Final = 30  # how long SQLite waits for another writer
DECIMALS: Final = 4  # of degrees: 11 metres
_Degrees: Final = Numeric(8, DECIMALS, asdecimal=False)


class Base(DeclarativeBase):
    """The tables of this system."""


class PanchangDay(Base):
    """A day at a place; `payload` is the whole document, the other columns are for questions in SQL."""

    __tablename__ = "panchang_day"
    __table_args__ = (Index("panchang_day_date_lat_lon", "date", "lat", "lon", unique=True),)

    id: Mapped[int] = mapped_column(primary_key=True)
    date: Mapped[date]
    lat: Mapped[float] = mapped_column(_Degrees)
    lon: Mapped[float] = mapped_column(_Degrees)
    city: Mapped[str] = mapped_column(String(64))
    tithi: Mapped[str] = mapped_column(String(64))
    nakshatra: Mapped[str] = mapped_column(String(64))
    sunrise: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    sunset: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    payload: Mapped[Any] = mapped_column(JSON)
    computed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class FestivalDay(Base):
    """A festival in the calendar of a region, which is that of its main city."""

    __tablename__ = "festival_day"
    __table_args__ = (
        Index("festival_day_date_type_region_festival", "date", "type", "region", "festival", unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    date: Mapped[date]
    type: Mapped[str] = mapped_column(String(32))
    region: Mapped[str] = mapped_column(String(32))
    festival: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(128))
    begins_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    payload: Mapped[Any] = mapped_column(JSON)
    computed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


UNIQUE: Final = {PanchangDay: ("date", "lat", "lon"), FestivalDay: ("date", "type", "region", "festival")}


class Tables:
    """The two tables in one database; they are made when they are first used."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sync: Engine | None = None
        self._async: AsyncEngine | None = None
        self._turnstile: asyncio.Lock | None = None

    async def store_days(self, place: Place, days: Sequence[tuple[date, bytes]], computed_at: datetime) -> None:
        """Write the days of one place; what is there for them is replaced."""
        rows = [_day_row(place, day, body, computed_at) for day, body in days]
        await self._run(lambda connection: _upsert(connection, PanchangDay, rows))

    async def store_festivals(
        self, region: str, span: tuple[date, date], festivals: Iterable[Festival], computed_at: datetime
    ) -> None:
        """Make the calendar of a region between two dates, both included, be these festivals."""
        rows = [_festival_row(region, festival, computed_at) for festival in festivals]

        def replace(connection: Connection) -> None:
            inside = FestivalDay.date.between(*span)
            connection.execute(delete(FestivalDay).where(FestivalDay.region == region, inside))
            _upsert(connection, FestivalDay, rows)

        await self._run(replace)

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """Ask something of the database, in a transaction of its own."""
        return await self._run(question)

    async def close(self) -> None:
        """Give the connections back."""
        if self._sync is not None:
            self._sync.dispose()
        if self._async is not None:
            await self._async.dispose()
        self._sync = self._async = self._turnstile = None

    async def _run(self, work: Callable[[Connection], T]) -> T:
        """Run some statements in one transaction."""
        if self._turnstile is None:
            self._turnstile = asyncio.Lock()
        async with self._turnstile:
            if self._sync is None and self._async is None:
                await self._open()
            if self._async is None:  # SQLite lets one write at a time: queueing here is quicker than its busy waits
                return await self._transact(work)
        return await self._transact(work)

    async def _transact(self, work: Callable[[Connection], T]) -> T:
        if self._async is not None:
            async with self._async.begin() as connection:
                return await connection.run_sync(work)
        return await asyncio.to_thread(self._transact_sync, work)

    def _transact_sync(self, work: Callable[[Connection], T]) -> T:
        if self._sync is None:
            raise RuntimeError("The tables were closed while they were written; open the application again.")
        with self._sync.begin() as connection:
            return work(connection)

    async def _open(self) -> None:
        given: Row = {"json_serializer": _as_text}
        if self._url.startswith("sqlite"):
            self._sync = create_engine(self._url, connect_args={"timeout": BUSY_S}, **given)
            event.listen(self._sync, "connect", _prepare_sqlite)
        else:
            url = self._url.replace("postgresql://", "postgresql+asyncpg://", 1)
            self._async = create_async_engine(url, pool_pre_ping=True, **given)
        await self._transact(_make_tables)


def _as_text(value: object) -> str:
    """Pass on what is JSON already."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _prepare_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 -- the driver's own connection, without types
    """Let readers go on while a city is written."""
    connection.execute("PRAGMA journal_mode=WAL")


def _make_tables(connection: Connection) -> None:
    """Make the tables, one process at a time: two that start together must not both make them."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('panchangam tables'))"))
    Base.metadata.create_all(connection)


def _upsert(connection: Connection, table: type[PanchangDay | FestivalDay], rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(_upsert_statement(connection.dialect.name, table), rows)


@cache
def _upsert_statement(dialect: str, table: type[PanchangDay | FestivalDay]) -> Executable:
    """Give the statement for one row; made once, the driver repeats it for many."""
    unique = UNIQUE[table]
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    fresh = {column.name: insert.excluded[column.name] for column in table.__table__.columns}
    for name in ("id", *unique):
        del fresh[name]
    statement: Executable = insert.on_conflict_do_update(index_elements=unique, set_=fresh)
    return statement


def _day_row(place: Place, day: date, body: bytes, computed_at: datetime) -> Row:
    document = orjson.loads(body)
    return {
        "date": day,
        "lat": round(place.lat, DECIMALS),
        "lon": round(place.lon, DECIMALS),
        "city": place.slug,
        "tithi": document["tithis"][0]["name"],
        "nakshatra": document["nakshatras"][0]["name"],
        "sunrise": _instant(document["sunrise"]),
        "sunset": _instant(document["sunset"]),
        "payload": body.decode(),
        "computed_at": computed_at,
    }


def _instant(text_: str | None) -> datetime | None:
    return datetime.fromisoformat(text_) if text_ else None


def _festival_row(region: str, festival: Festival, computed_at: datetime) -> Row:
    return {
        "date": festival.date,
        "type": festival.kind,
        "region": region,
        "festival": festival.id,
        "name": festival.name,
        "begins_at": festival.begins_at,
        "ends_at": festival.ends_at,
        "payload": orjson.dumps(_festival_payload(festival)).decode(),
        "computed_at": computed_at,
    }


def _festival_payload(festival: Festival) -> Row:
    return {
        "rule": festival.rule,
        "limb": festival.limb,
        "window": festival.window,
        "windowStart": festival.window_begins_at,
        "windowEnd": festival.window_ends_at,
        "paranaStart": festival.parana_begins_at,
        "paranaEnd": festival.parana_ends_at,
        "why": festival.why,
        "candidates": festival.candidates,
        "notes": festival.notes,
        "official": festival.official,
    }
