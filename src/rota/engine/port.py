"""What a `Run` can do through the engine: checkpoints, progress, completing inside the caller's transaction.

Always true: everything a run writes is fenced by turn, attempt and incarnation; a lease that is another's is
`LeaseLost`, and the handler is cancelled.

Not here: the `Run` itself (define/run.py).
"""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import msgspec

from rota.define.run import Run
from rota.define.stored import encode_result
from rota.engine.admit import Admission
from rota.engine.lane import Running
from rota.engine.settle import Ended, end_of
from rota.errors import BadInput, LeaseLost
from rota.store import foreign, turns
from rota.store.store import Store

STEPS_MOST: Final = 262_144  # bytes of all checkpoints of one run (G-25)


class Behind(Protocol):
    """What the port needs of the pump behind it."""

    store: Store
    incarnation: str
    admission: Admission
    running: dict[int, Running]
    completed: set[tuple[int, int]]


class Port:
    """The port of one pump; it stands between a `Run` and the store."""

    def __init__(self, pump: Behind) -> None:
        self._pump = pump

    def _running(self, run: Run) -> Running:
        one = self._pump.running.get(run.turn)
        if one is None or one.claim.attempt != run.attempt:
            message = f"the run {run.id} of {run.job} is not this attempt's any more: drop what was done"
            raise LeaseLost(message)
        return one

    def cancelled(self, run: Run) -> bool:
        """Whether the attempt shall end."""
        one = self._pump.running.get(run.turn)
        return one is None or one.claim.attempt != run.attempt or one.why is not None

    async def step(self, run: Run, name: str, call: Callable[[], object]) -> Any:
        """The stored result of this step, or call, store and give it."""
        one = self._running(run)
        stored: dict[str, Any] = msgspec.json.decode(one.claim.steps) if one.claim.steps else {}
        if name in stored:
            return stored[name]
        came = call()
        if inspect.isawaitable(came):
            came = await came
        stored[name] = msgspec.Raw(encode_result(came).encode())
        text = msgspec.json.encode(stored).decode()
        if len(text) > STEPS_MOST:
            message = (
                f"the steps of {run.id} take {len(text):,} bytes, at most {STEPS_MOST:,} are kept: store references"
            )
            raise BadInput(message)
        await self._write("put_steps", one, run, steps=text)
        one.claim = one.claim._replace(steps=text)
        return msgspec.json.decode(text)[name]

    async def progress(self, run: Run, done: int, total: int | None) -> None:
        """Note how far the run is."""
        await self._write("put_progress", self._running(run), run, progress=f"{done}/{total}" if total else str(done))

    async def _write(self, name: str, one: Running, run: Run, **values: str) -> None:
        pump = self._pump
        if not await pump.store.write(lambda: turns.fenced_write(name, one.claim, pump.incarnation, **values)):
            message = f"the run {run.id} of {run.job} was given to another worker: drop what was done"
            raise LeaseLost(message)

    async def complete(self, run: Run, result: object, connection: object) -> None:
        """Settle the run inside the transaction of somebody else's connection (G-6)."""
        one = self._running(run)
        pump = self._pump
        kept = encode_result(result) if one.spec.keep == "latest" and result is not None else None
        busy_ms = int((pump.store.clock.monotonic() - one.started_s) * 1000)
        end = end_of(
            pump.admission.catalog, one.spec, one.claim, kept, Ended(pump.incarnation, one.started_at, busy_ms, 0.0)
        )
        settled = await foreign.run_on(connection, lambda: turns.settle([end], pump.incarnation), pump.store)
        if one.claim.id not in settled.accepted:
            message = f"the run {run.id} of {run.job} was given to another worker: roll back"
            raise LeaseLost(message)
        pump.completed.add((one.claim.id, one.claim.attempt))

    @asynccontextmanager
    async def transaction(self, run: Run) -> AsyncIterator[Any]:
        """A transaction on rota's own connection that settles the run when it commits."""
        self._running(run)
        async with self._pump.store.db.borrowed() as connection:
            yield connection
            await self.complete(run, None, connection)
