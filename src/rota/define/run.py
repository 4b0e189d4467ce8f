"""`Run`: what a handler is given to learn about its run and to act inside it.

Always true: making one costs next to nothing, since instants are converted when they are asked for; whatever acts is
passed on to the engine through one port.

Not here: what the port does (engine): checkpoints, fencing, transactions, progress.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol, TypeVar, cast

from rota.define.current import CURRENT
from rota.define.policy import Limit
from rota.define.units import instant

T = TypeVar("T")


class RunPort(Protocol):
    """What the engine does for a run."""

    def cancelled(self, run: "Run") -> bool:
        """Whether somebody wishes this run to end, or its lease is gone."""

    async def step(self, run: "Run", name: str, call: Callable[[], object]) -> Any:  # noqa: ANN401 - JSON comes back
        """Give the stored result of this step, or call, store and give it."""

    def transaction(self, run: "Run") -> AbstractAsyncContextManager[Any]:
        """Give a transaction on rota's own connection that settles the run when it commits."""

    async def complete(self, run: "Run", result: object, connection: object) -> None:
        """Settle the run inside the transaction of somebody else's connection."""

    async def progress(self, run: "Run", done: int, total: int | None) -> None:
        """Note how far the run is."""

    async def spend(self, run: "Run", limit: Limit, n: int, *, first: bool) -> None:
        """Take `n` of a limit; `first`: one of them may be the one that the claim took already."""

    async def adjust(self, run: "Run", limit: Limit, rate: str | float, burst: int | None) -> None:
        """Give a limit another rate from now on, for everyone."""


class Run:
    """The run a handler works on: who, when, which try; and what can be done inside it.

    Annotate a parameter of the handler with `Run` and rota gives it. `id` ("4711-3") and `idempotency_key` are the same
    for all tries of a run; `attempt` is not. Instants are aware datetimes in UTC.

    >>> from rota import Run
    >>> sorted(name for name in ("id", "step", "slot_at") if hasattr(Run, name))
    ['id', 'slot_at', 'step']
    """

    __slots__ = (
        "_due_at_ms",
        "_port",
        "_slot_at_ms",
        "_store_key",
        "attempt",
        "deadline_at_ms",
        "job",
        "member",
        "number",
        "roster",
        "tries",
        "turn",
    )

    def __init__(  # noqa: PLR0917 - made for every run: positions are faster than names
        self,
        turn: int,
        number: int,
        attempt: int,
        tries: int,
        job: str,
        roster: str | None,
        member: str | None,
        slot_at_ms: int | None,
        due_at_ms: int,
        deadline_at_ms: int,
        store_key: str,
        port: RunPort,
    ) -> None:
        self.turn = turn
        self.number = number
        self.attempt = attempt
        self.tries = tries
        self.job = job
        self.roster = roster
        self.member = member
        self._slot_at_ms = slot_at_ms
        self._due_at_ms = due_at_ms
        self.deadline_at_ms = deadline_at_ms
        self._store_key = store_key
        self._port = port

    def __repr__(self) -> str:
        who = f" of {self.roster}/{self.member}" if self.member is not None else ""
        return f"<Run {self.id} of {self.job}{who}, try {self.tries}>"

    @property
    def id(self) -> str:
        """Turn and number of the run, "4711-3": the same for all its tries."""
        return f"{self.turn}-{self.number}"

    @property
    def idempotency_key(self) -> str:
        """A text for services that drop repeats: the same for all tries, unlike that of any other run of any store."""
        return f"{self._store_key}-{self.turn}-{self.number}"

    @property
    def slot_at(self) -> datetime | None:
        """The nominal instant of this run; None for a one-off."""
        return None if self._slot_at_ms is None else instant(self._slot_at_ms)

    @property
    def due_at(self) -> datetime:
        """The instant from which this attempt was due."""
        return instant(self._due_at_ms)

    @property
    def deadline(self) -> datetime:
        """The instant at which the time limit of this attempt ends."""
        return instant(self.deadline_at_ms)

    @property
    def cancelled(self) -> bool:
        """Whether the run shall end: ask it in long loops of plain functions."""
        return self._port.cancelled(self)

    async def step(self, name: str, f: Callable[..., T | Awaitable[T]], *args: object) -> T:
        """Call `f(*args)` once for this run: a later try gets the stored result instead of paying for it again.

        The result must be JSON. An error of `f` is the caller's; nothing is stored then. `LeaseLost` when another
        attempt owns the run.

        >>> async def handler(run: Run) -> None:
        ...     report = await run.step("report", fetch_report, "eu")
        """
        result: T = await self._port.step(self, name, lambda: f(*args))
        return result

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A transaction in rota's database that commits your data and this run's success together, or neither.

        Gives the driver's connection; on SQLite nobody else writes until it ends, so be quick. `LeaseLost` when another
        attempt owns the run; then nothing is written. A store in memory has no second connection: `BadInput`.

        >>> async def handler(run: Run) -> None:
        ...     async with run.transaction() as db:
        ...         db.execute("update stock set counted = 1")
        """
        return self._port.transaction(self)

    async def complete(self, result: object = None, *, on: object) -> None:
        """End this run well inside your own transaction on `on`; rota never commits it.

        `LeaseLost` when another attempt owns the run: roll back then.

        >>> async def handler(run: Run) -> None:
        ...     await run.complete({"rows": 7}, on=connection)
        """
        await self._port.complete(self, result, on)

    async def spend(self, limit: Limit, n: int = 1) -> None:
        """Take `n` calls of a limit, for calls beyond the first, which the claim has taken for the run.

        Waits where there is room within a second; else the run comes again when there is, without using a try
        (`Snooze`), and `step` keeps what was done so far.

        >>> from rota import Limit
        >>> amazon = Limit("amazon:{region}", "20/s")
        >>> async def handler(run: Run) -> None:
        ...     await run.spend(amazon, 3)
        """
        await self._port.spend(self, limit, n, first=False)

    async def charge(self, limit: Limit) -> None:
        """Take one call of a limit; the first of a run whose job declares the limit was taken by the claim."""
        await self._port.spend(self, limit, 1, first=True)

    async def adjust(self, limit: Limit, *, rate: str | float, burst: int | None = None) -> None:
        """Give a limit another rate from now on, for everyone: what a service says in a header of its answer.

        `rate` is "20/s" or a number of calls a second, such as 0.0167. `BadInput` for what cannot be read.

        >>> from rota import Limit
        >>> async def handler(run: Run) -> None:
        ...     await run.adjust(Limit("orders", "1/s"), rate="2/s")
        """
        await self._port.adjust(self, limit, rate, burst)

    async def progress(self, done: int, total: int | None = None) -> None:
        """Tell operators how far the run is, as often as you like.

        >>> async def handler(run: Run) -> None:
        ...     await run.progress(3, 10)
        """
        await self._port.progress(self, done, total)


def current() -> Run | None:
    """The run of the handler that is calling; None outside of one."""
    return cast("Run | None", CURRENT.get())
