"""A job as its user holds it: still the function, and the verbs on its runs.

Always true: calling the object calls the plain function; every verb goes through the application's store.

Not here: what a declaration may say (define/job.py), how runs are run (engine).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import update_wrapper
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

from rota import operate
from rota.app.host import Host
from rota.define.job import JobSpec
from rota.define.link import DEFAULT_CAUSES, Causes, chain_with
from rota.define.names import checked_run_key
from rota.define.options import checked_priority
from rota.define.units import duration_ms, instant, instant_ms
from rota.errors import BadInput, ConfigError, NotFound
from rota.store import foreign, turns, views
from rota.turn.records import Fresh

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Duration = timedelta | str

REMEMBER_LEAST_MS: Final = 86_400_000  # a key is remembered for a day after its run has ended, never less (G-2)
WAIT_FIRST_S: Final = 0.01  # Handle.wait looks again after this, then less and less often
WAIT_MOST_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnView:
    """A turn as it stands: instants are aware datetimes in UTC."""

    state: str
    due_at: datetime | None
    slot_at: datetime | None
    run: int
    tries: int
    last_success_at: datetime | None
    stale_at: datetime | None


class Handle:
    """One run that was asked for: `id` ("4711-1"), `created` (False: it was there already), its state, its end."""

    def __init__(self, rota: Host, turn: int, run: int, *, created: bool) -> None:
        self._rota = rota
        self._turn = turn
        self._run = run
        self.created = created

    def __repr__(self) -> str:
        return f"<Handle {self.id} created={self.created}>"

    @property
    def id(self) -> str:
        """Turn and number of the run."""
        return f"{self._turn}-{self._run}"

    async def state(self) -> str:
        """`waiting`, `running` or `held`, or the outcome of the run when it has ended.

        Raises NotFound when the run has ended and its journal row is no longer kept.
        """
        store = await self._rota.opened()
        state = await store.read(lambda: views.state_of(self._turn, self._run))
        if state is None:
            message = f"the run {self.id} has ended and is no longer in the journal"
            raise NotFound(message)
        return state

    async def wait(self, timeout: Duration | None = None) -> str:
        """Wait until the run has ended and say its outcome; TimeoutError when that takes longer than `timeout`."""
        seconds = None if timeout is None else duration_ms(timeout, name="timeout") / 1000
        async with asyncio.timeout(seconds):
            nap_s = WAIT_FIRST_S
            while (state := await self.state()) in {"waiting", "running", "held"}:
                await self._rota.clock.sleep(nap_s)
                nap_s = min(WAIT_MOST_S, nap_s * 1.5)
        return state


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a one-off is enqueued; see `Job.options`."""

    key: str | None = None
    at_ms: int | None = None
    delay_ms: int = 0
    priority: int | None = None
    remember_ms: int = REMEMBER_LEAST_MS


class Job(Generic[P, T]):
    """A declared job. Call it and the plain function is called; the verbs below go to the store."""

    def __init__(self, rota: Host, spec: JobSpec, options: Options | None = None) -> None:
        self._rota = rota
        self._options = options or Options()
        self.spec = spec
        update_wrapper(self, spec.handler)

    def __repr__(self) -> str:
        return f"<Job {self.name}: {self.spec.describe()}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the plain function."""
        result: T = self.spec.handler(*args, **kwargs)
        return result

    @property
    def name(self) -> str:
        """The job's name, which is for ever."""
        return self.spec.name

    # -- declaring ---------------------------------------------------------------------------------

    @overload
    def fallback(self, function: F, /) -> F: ...
    @overload
    def fallback(
        self, function: None = None, /, *, on: Causes = ..., scope: str | None = None, timeout: Duration | None = None
    ) -> Callable[[F], F]: ...
    def fallback(
        self,
        function: Any = None,
        /,
        *,
        on: Causes = DEFAULT_CAUSES,
        scope: str | None = None,
        timeout: Duration | None = None,
    ) -> Any:
        """Declare what answers when the handler, or the fallback before, comes to one of `on`, within one attempt.

        It takes what the handler takes, or less, and stays a plain function. Links are called in the order of
        declaration, each once at most; one whose `scope` (a name with holes as a Limit's; the handler's is the
        job's `scope=`) cools is passed over; the journal says which link answered and why the earlier ones did
        not. What is not in `on` ends the attempt. After `timeout` a link is cancelled (a plain function is left
        behind) and counts as a TimeoutError; the job's timeout is the deadline of the whole chain. When all cool,
        the run waits for the first of them without using a try. Raises ConfigError for what cannot be called.

        >>> from rota import Member, RateLimited, Rota, every
        >>> rota = Rota("sqlite:///:memory:")
        >>> users = rota.roster("users")
        >>> @rota.job(each=users, schedule=every("24h"), scope="llm:big")
        ... async def letter(user: Member) -> None:
        ...     raise RateLimited("llm:big", after="1h")
        >>> @letter.fallback(scope="llm:small", timeout="30s")
        ... async def small_model(user: Member) -> None: ...
        >>> @letter.fallback(on=Exception)
        ... def rules(user: Member) -> None: ...
        >>> [link.name for link in letter.spec.links]
        ['letter', 'small_model', 'rules']
        """
        if function is None:
            return lambda function: self._declare_link(function, on, scope, timeout)
        return self._declare_link(function, on, scope, timeout)

    def _declare_link(self, function: F, on: Causes, scope: str | None, timeout: Duration | None) -> F:
        links = chain_with(self._rota.catalog.jobs[self.name], function, on=on, scope=scope, timeout=timeout)
        host: Host | None = self._rota
        while host is not None:  # an application that has taken this one in holds the job too
            host.catalog.jobs[self.name] = replace(host.catalog.jobs[self.name], links=links)
            host.catalog.__dict__.pop("followers", None)  # worked out from the jobs as they were
            host = host._host
        self.spec = self._rota.catalog.jobs[self.name]
        return function

    # -- one-offs ----------------------------------------------------------------------------------

    def options(
        self,
        *,
        key: str | None = None,
        at: datetime | None = None,
        delay: Duration | None = None,
        priority: int | None = None,
        remember: Duration = "24h",
    ) -> "Job[P, T]":
        """The same job with other options for what is enqueued through it.

        `key`: enqueuing again with it gives the first run, until `remember` (a day at least) after that has
        ended. `at` (aware) or `delay`: not before then. `priority`: −100…100, the smaller first.
        Raises BadInput for a value that cannot be taken.
        """
        if at is not None and delay is not None:
            message = "at= and delay= were both given: choose one"
            raise BadInput(message)
        chosen = replace(
            self._options,
            key=None if key is None else checked_run_key(key),
            at_ms=None if at is None else instant_ms(at),
            delay_ms=0 if delay is None else duration_ms(delay, name="delay"),
            priority=None if priority is None else checked_priority(priority),
            remember_ms=max(REMEMBER_LEAST_MS, duration_ms(remember, name="remember")),
        )
        return Job(self._rota, self.spec, chosen)

    async def enqueue(self, *args: Any, on: object = None, **kwargs: Any) -> Handle:
        """Add a run of this one-off job; when this returns, it is in the store.

        With `on=` (a connection of sqlite3, apsw, asyncpg, psycopg 3, SQLAlchemy or, from plain functions, Django) it
        is added in the caller's transaction, which rota never commits. Raises BadInput for arguments that cannot be
        stored; StoreUnavailable when the store is away: then it may or may not have been added, and repeating with a
        `key` is safe.
        """
        item = self._fresh(self.spec.arguments.bind(args, kwargs))
        if on is not None:
            (answer,) = await self._on(on, [item])
        else:
            await self._rota.opened()
            answer = await self._rota.enqueuer.one(item)
        return Handle(self._rota, answer[0], 1, created=answer[1])

    async def enqueue_many(self, items: Sequence[Any], on: object = None) -> list[Handle]:
        """Add many runs: a tuple is positional arguments, a dict arguments by name, anything else the one argument.

        In transactions of a thousand, or all in the caller's with `on=`. All arguments are checked before the
        first is stored.
        """
        bind = self.spec.arguments.bind
        fresh = [self._fresh(bind(*_call_of(item))) for item in items]
        if on is not None:
            answers = await self._on(on, fresh)
        else:
            await self._rota.opened()
            answers = await self._rota.enqueuer.many(fresh)
        return [Handle(self._rota, turn, 1, created=created) for turn, created in answers]

    def _fresh(self, args: str) -> Fresh:
        if not self.spec.one_off:
            message = f"{self.name} is not a one-off job, so it cannot be enqueued: use run_now()"
            raise ConfigError(message)
        chosen = self._options
        priority = self.spec.priority if chosen.priority is None else chosen.priority
        return Fresh(self.name, args, chosen.key, chosen.at_ms, chosen.delay_ms, priority, chosen.remember_ms)

    async def _on(self, connection: object, items: Sequence[Fresh]) -> list[tuple[int, bool]]:
        store = await self._rota.opened()
        return await foreign.run_on(connection, lambda: turns.enqueue(items), store)

    # -- members' runs -----------------------------------------------------------------------------

    async def run_now(self, member: str | None = None, *, reason: str | None = None, by: str = "local") -> Handle:
        """Run it now for a member (or for a job without a roster); slots stay.

        A run that is on its way or asked for already is returned with `created` False. Raises NotFound for an
        unknown member, Conflict inside the job's `min_gap`, with the time left.
        """
        store = await self._rota.opened()
        asked = await operate.run_now(store, self.name, member, reason=reason, by=by)
        return Handle(self._rota, asked.turn, asked.run, created=asked.created)

    async def turn(self, member: str | None = None) -> TurnView:
        """The turn of a member as it stands; NotFound when there is none."""
        row = await self._turn_row(member)
        moments = {
            name: None if row[name] is None else instant(row[name])
            for name in ("due_at", "slot_at", "last_success_at", "stale_at")
        }
        return TurnView(state=row["state"], run=row["run"], tries=row["tries"], **moments)

    async def latest(self, member: str | None = None, *, within: Duration | None = None) -> Any:
        """The result of the last success (`keep="latest"`); None when there is none, or none younger than `within`."""
        if self.spec.keep != "latest":
            message = f'{self.name} keeps no results: declare it with keep="latest"'
            raise ConfigError(message)
        row = await self._turn_row(member)
        if row["result"] is None or row["last_success_at"] is None:
            return None
        if within is not None and row["now"] - row["last_success_at"] > duration_ms(within, name="within"):
            return None
        return self._rota.decode(row["result"])

    async def _turn_row(self, member: str | None) -> Mapping[str, Any]:
        store = await self._rota.opened()
        row = await store.read(lambda: views.turn_of(self.name, self.spec.each, member))
        if row is None:
            who = f" for the member {member!r}" if member is not None else ""
            message = f"the job {self.name} has no turn{who}"
            raise NotFound(message)
        return row


def _call_of(item: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    if isinstance(item, tuple):
        return item, {}
    if isinstance(item, dict):
        return (), item
    return (item,), {}


Decorated = Callable[[Callable[P, T]], Job[P, T]]
