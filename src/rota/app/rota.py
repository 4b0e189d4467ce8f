"""`Rota`: the one place where things are wired, and the public verbs.

Always true: declaring touches no store; the first awaited call opens it; a configuration error appears at
import, not in a run.

Not here: the operators' verbs (verbs.py), what the verbs do (operate.py, engine, insight, rosters.py).
"""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ParamSpec, Self, TypeVar, overload

import msgspec

from rota import rosters
from rota.app.job import Job
from rota.app.kept import AppCache
from rota.app.roster import Roster
from rota.app.verbs import Verbs
from rota.cache import Cache, cache_of
from rota.clock import Clock
from rota.define.catalog import Catalog
from rota.define.job import JobSpec, job_spec
from rota.define.policy import CatchUp
from rota.define.retain import retention
from rota.define.roster import roster_spec
from rota.define.units import duration_ms
from rota.engine.chores import Duty
from rota.engine.enqueue import Enqueuer
from rota.engine.summary import TickSummary
from rota.engine.tick import Progress, Tick, Wish
from rota.engine.worker import Settings as WorkerSettings
from rota.engine.worker import Worker
from rota.errors import ConfigError
from rota.events import Events, Listener
from rota.insight import tallies
from rota.insight.freshness import recount
from rota.settings import Settings
from rota.store.foreign.places import wait_here
from rota.store.port import Database
from rota.store.store import Store, database

P = ParamSpec("P")
T = TypeVar("T")
Duration = timedelta | str

DEFAULT_URL = "sqlite:///.rota/rota.db"


class Rota(Verbs):
    """An application: its jobs, its rosters, and the store they live in.

    `url` is the store ("sqlite:///shop.db", "postgresql://…"); without one it is `ROTA_DB`, else a file in
    `.rota`. `name` is shown to people, `schema` is where the tables live on PostgreSQL, `cache` a Redis URL
    (else `ROTA_REDIS_URL`, else a table), `clock` is for tests, `retain` says how long things are kept
    ("journal:30d,dead:90d").

    >>> from rota import Member, Rota, every
    >>> rota = Rota("sqlite:///:memory:")
    >>> sellers = rota.roster("sellers")
    >>> @rota.job(each=sellers, schedule=every("24h"))
    ... async def refresh(seller: Member) -> None: ...
    >>> async def main() -> str:
    ...     async with rota:
    ...         await sellers.join("s1")
    ...         return (await refresh.turn("s1")).state
    >>> import asyncio
    >>> asyncio.run(main())
    'waiting'
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str = "rota",
        schema: str = "rota",
        cache: str | None = None,
        clock: Clock | None = None,
        retain: str | None = None,
    ) -> None:
        self.name = name
        self.clock = clock or Clock()
        self.catalog = Catalog()
        self._url, self._schema, self._retain, self._cache_url = url, schema, retain, cache
        self._events = Events()
        self._store: Store | None = None
        self._opening: asyncio.Lock | None = None
        self._enqueuer: Enqueuer | None = None
        self._cache: Cache | None = None
        self._host: Rota | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beside: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<Rota {self.name}: {len(self.catalog.rosters)} rosters, {len(self.catalog.jobs)} jobs>"

    # -- declaring ---------------------------------------------------------------------------------

    def roster(
        self, name: str, *, source: Callable[[], Any] | None = None, facets: Sequence[str] = (), max_shrink: float = 0.2
    ) -> Roster:
        """Declare a roster.

        `source` yields its members (keys, dicts or Members; it may be async), `facets` are fields of the
        members' data shown as columns, `max_shrink` is the largest share a sync may remove unasked.
        """
        spec = roster_spec(name, source=source, facets=facets, max_shrink=max_shrink)
        self.catalog.add_roster(spec)
        return Roster(self, spec)

    @overload
    def job(self, function: Callable[P, T], /) -> Job[P, T]: ...
    @overload
    def job(self, name: str | None = None, /, **options: Any) -> Callable[[Callable[P, T]], Job[P, T]]: ...
    def job(self, name: Any = None, /, **options: Any) -> Any:
        """Declare a job: `@rota.job` or `@rota.job("name", each=…, schedule=…, …)`.

        Every option is described in the reference; a wrong one is a ConfigError here, with the nearest valid
        word. What comes back can be called like the plain function.
        """
        if callable(name):
            return self._declare(name, {})
        if name is not None:
            options["name"] = name
        return lambda function: self._declare(function, options)

    def _declare(self, function: Callable[..., Any], options: dict[str, Any]) -> Job[Any, Any]:
        spec = job_spec(function, **options)
        _refuse_unkept(spec)
        if spec.each is not None and spec.each not in self.catalog.rosters:
            message = f"the job {spec.name!r} is for each of {spec.each!r}, no roster of this application"
            raise ConfigError(message)
        self.catalog.add_job(spec)
        return Job(self, self.catalog.jobs[spec.name])

    def include(self, other: "Rota") -> None:
        """Take the jobs and rosters of another application into this one, which then serves both from its store."""
        if other._store is not None:
            message = f"{other.name} is open already: include it before the first call"
            raise ConfigError(message)
        for roster in other.catalog.rosters.values():
            self.catalog.add_roster(roster)
        for job in other.catalog.jobs.values():
            self.catalog.add_job(job)
        other._host = self

    def listen(self, listener: Listener) -> None:
        """Tell `listener(event)` each event after it happened; it can change nothing."""
        self._top._events.listen(listener)

    # -- opening and closing -----------------------------------------------------------------------

    @property
    def _top(self) -> "Rota":
        return self if self._host is None else self._host._top

    async def __aenter__(self) -> Self:
        await self.opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def opened(self) -> Store:
        """The store, opened by whoever comes first; an empty database gets its schema."""
        if self._host is not None:
            return await self._top.opened()
        if self._store is not None:
            return self._store
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._store is None:
                self._store = await self._open()
        return self._store

    async def _open(self) -> Store:
        settings = Settings.read()
        db = self.database()
        made = await db.open()
        if made and not db.name.endswith(":memory:"):
            where = getattr(db, "place", db.name)
            print(f"rota: made a new store, {where}", file=sys.stderr)  # noqa: T201 -- design 17: announced in one line
        store = Store(db, clock=self.clock, catalog=self.catalog, events=self._events)
        store.retain = retention(self._retain or settings.retain)
        self._cache = cache_of(store, (settings.redis_url if self._cache_url is None else self._cache_url) or None)
        self._enqueuer = Enqueuer(store)
        self._loop = asyncio.get_running_loop()
        return store

    def database(self) -> Database:
        """The database that the first call will open, not yet open: `rota db migrate` brings it to this release."""
        return database(self._url or Settings.read().db or DEFAULT_URL, clock=self.clock, schema=self._schema)

    async def close(self) -> None:
        """Give the store back; the next call opens it again."""
        if self._host is not None:
            await self._top.close()
            return
        store, self._store = self._store, None
        if self._cache is not None:
            await self._cache.close()
        if store is not None:
            await store.db.close()
        self._opening = self._loop = None

    @property
    def included(self) -> bool:
        """Whether another application has taken this one in and serves it from its store."""
        return self._host is not None

    def use(self, url: str) -> None:
        """Another store than the one in the code, for good: what `--db` says."""
        if self._store is not None:
            message = f"{self.name} is open: close it before it is put on another store"
            raise ConfigError(message)
        self._url = url

    @contextmanager
    def put_on(self, url: str, clock: Clock) -> Iterator[None]:
        """Another store and clock for the length of a block; `rota.testing` uses it."""
        if self._store is not None:
            message = f"{self.name} is open: close it before it is put on another store"
            raise ConfigError(message)
        before = (self._url, self.clock, self._cache_url)
        self._url, self.clock, self._cache_url = url, clock, ""
        try:
            yield
        finally:
            self._url, self.clock, self._cache_url = before

    def wait(self, awaitable: Awaitable[T]) -> T:
        """Run one call to its end from a thread without a loop: the blocking façade for synchronous programs.

        In a plain handler it uses the worker's loop. What is done with `on=` is done in the calling thread, where its
        connection may be used. Raises ConfigError inside a running loop: await there.

        >>> from rota import Rota
        >>> rota = Rota("sqlite:///:memory:")
        >>> cities = rota.roster("cities")
        >>> rota.wait(cities.join("pune")).key
        'pune'
        >>> rota.wait(rota.close())
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            if asyncio.iscoroutine(awaitable):
                awaitable.close()  # or Python warns that it was never awaited, beside our sentence
            message = "rota.wait() was called where an event loop runs: write `await` there"
            raise ConfigError(message)
        top = self._top
        loop = top._loop if top._loop is not None and top._loop.is_running() else top._loop_beside()
        return wait_here(awaitable, loop)

    def _loop_beside(self) -> asyncio.AbstractEventLoop:
        if self._beside is None:
            self._beside = asyncio.new_event_loop()
            threading.Thread(target=self._beside.run_forever, name="rota-loop", daemon=True).start()
        return self._beside

    # -- the parts ---------------------------------------------------------------------------------

    @property
    def enqueuer(self) -> Enqueuer:
        """Collects what is enqueued; there once the store is open."""
        top = self._top
        if top._enqueuer is None:
            message = f"{top.name} is not open: await something of it, or use `async with`"
            raise ConfigError(message)
        return top._enqueuer

    @property
    def cache(self) -> AppCache:
        """Keys and bytes with a time to live: a table, or Redis."""
        return AppCache(self._top)

    async def opened_cache(self) -> Cache:
        """The cache behind `rota.cache`."""
        await self.opened()
        cache = self._top._cache
        assert cache is not None  # noqa: S101 -- opened above
        return cache

    def decode(self, text: str) -> Any:
        """Stored JSON as a value."""
        return msgspec.json.decode(text)

    # -- running -----------------------------------------------------------------------------------

    async def tick(
        self,
        *,
        jobs: Sequence[str] | None = None,
        rosters: Sequence[str] | None = None,
        limits: Mapping[str, int] | None = None,
        max: int | None = None,
        time: Duration = "10m",
        now: bool = False,
        catch_up: CatchUp | str | None = None,
        concurrency: int = 32,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> TickSummary:
        """One pass: run what is due, job after job in the order of declaration, and say what came of it.

        `limits` is the most runs by job, `max` in all, `time` when no more are started, `now` makes what is
        scheduled due now (slots stay), `dry_run` only counts. Another tick at work: `busy`.
        """
        store = await self.opened()
        for name in [*(jobs or ()), *(limits or {})]:
            store.catalog.job(name)
        for name in rosters or ():
            store.catalog.roster(name)
        wish = Wish(
            jobs=None if jobs is None else frozenset(jobs),
            rosters=None if rosters is None else frozenset(rosters),
            limits=dict(limits or {}),
            most=max,
            time_ms=duration_ms(time, name="time"),
            now=now,
            catch_up=CatchUp(catch_up) if isinstance(catch_up, str) else catch_up,
            concurrency=concurrency,
            dry_run=dry_run,
        )
        return await Tick(store, wish, self._duties(store), progress).run()

    async def work(self, *, queues: Sequence[str] | None = None, concurrency: int = 32) -> None:
        """Be a worker in this loop until cancelled; then drain."""
        worker = await self.worker(
            WorkerSettings(queues=dict.fromkeys(queues) if queues else None, concurrency=concurrency)
        )
        await worker.run()

    async def worker(self, settings: WorkerSettings) -> Worker:
        """A worker that is yet to run."""
        store = await self.opened()
        return Worker(store, settings, self._duties(store))

    def _duties(self, store: Store) -> list[Duty]:
        """The chores that belong to the floors above the engine."""
        first = True

        async def reconcile() -> None:
            nonlocal first
            declare, first = first, False
            await rosters.reconcile(store, declare=declare)

        return [
            Duty("reconcile", 30.0, reconcile, leading=True),
            Duty("sync", 60.0, lambda: rosters.sync_due(store), leading=True),
            Duty("recount", 30.0, lambda: _recount(store)),
        ]


def _refuse_unkept(spec: JobSpec) -> None:
    """A policy that this release would not keep is refused: production must not lean on it."""
    if spec.secret:
        message = f"the job {spec.name!r} declares secret, which this release does not keep yet: leave it out"
        raise ConfigError(message)


async def _recount(store: Store) -> None:
    """Count the members of every roster by state, and what every job has, for `status` and the pages."""
    for name in store.catalog.rosters:
        await recount(store, name)
    await tallies.recount(store)
