"""What a `Run` can do through the engine: checkpoints, progress, completing inside the caller's transaction.

Always true: everything a run writes is fenced by turn, attempt and incarnation; a lease that is another's is
`LeaseLost`, and the handler is cancelled.

Not here: the `Run` itself (define/run.py).
"""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec

from rota.define.outcome import Snooze
from rota.define.policy import Limit
from rota.define.run import Run
from rota.define.stored import encode_result
from rota.define.units import rate_text
from rota.engine.lane import Running
from rota.engine.shared import key_of, names_of
from rota.errors import BadInput, IllegalTransition, LeaseLost
from rota.store import foreign, gates, reconcile, turns
from rota.store.port import Op
from rota.store.store import Store
from rota.turn.gates import bounds_of
from rota.turn.records import Ending

SPEND_WAIT_MS: Final = 1_000  # a place is worth keeping for a second, no longer
PAID: Final = "rota:paid"  # the step that keeps calls taken in advance, by bucket
SPEND_MOST: Final = 1_000_000  # as the greatest burst
STEPS_MOST: Final = 262_144  # bytes of all checkpoints of one run (G-25)
MOVED: Final = 2  # bit of `on_end`: the member's zone or data changed while the turn ran


class Behind(Protocol):
    """What the port needs of the pump behind it."""

    store: Store
    incarnation: str
    running: dict[int, Running]
    completed: dict[tuple[int, int], Ending]

    def end_of(self, one: Running, came: object) -> Ending:
        """The end of an attempt that came to this."""


class Port:
    """The port of one pump; it stands between a `Run` and the store."""

    def __init__(self, pump: Behind) -> None:
        self._pump = pump
        self._said: dict[str, tuple[str, int | None]] = {}  # rates said by handlers, by bucket

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
        stored = _steps(one)
        if name in stored:
            return stored[name]
        came = call()
        if inspect.isawaitable(came):
            came = await came
        stored = _steps(one)  # again: another step of the same run may have ended meanwhile
        stored[name] = msgspec.Raw(encode_result(came).encode())
        text = msgspec.json.encode(stored).decode()
        if len(text) > STEPS_MOST:
            message = (
                f"the steps of {run.id} take {len(text):,} bytes, at most {STEPS_MOST:,} are kept: store references"
            )
            raise BadInput(message)
        one.claim = one.claim._replace(steps=text)  # before the write, so that two steps at once are kept
        await self._write("put_steps", one, run, steps=text)
        return msgspec.json.decode(text)[name]

    async def spend(self, run: Run, limit: Limit, n: int, *, first: bool) -> None:
        """Take `n` of a limit; where room is further away than a second, the run comes again when there is some."""
        one, store = self._running(run), self._pump.store
        key = key_of(limit.name, one.claim)
        if first and self._was_paid(one, key):
            return
        n, within_ms = _counted(n), 0 if store.clock.held else SPEND_WAIT_MS
        if await self._from_store(one, run, key, n):
            return
        wait_ms = await store.write(lambda: self._spend(one, limit, key, n, within_ms))
        if wait_ms is None:
            raise _lost(run)
        if wait_ms > within_ms:
            raise Snooze(timedelta(milliseconds=wait_ms))
        if wait_ms:
            await store.clock.sleep(wait_ms / 1000)

    def _spend(self, one: Running, limit: Limit, key: str, n: int, within_ms: int) -> Op[int | None]:
        """Take it now, or in advance: the run keeps it for its return, or two that wait would starve each other."""
        wait_ms = yield from gates.spend(limit, key, n)
        if wait_ms > within_ms:
            steps = _steps(one)
            kept = dict(steps.get(PAID, {}))
            kept[key] = kept.get(key, 0) + n
            text = msgspec.json.encode({**steps, PAID: kept}).decode()
            if not (yield from turns.fenced_write("put_steps", one.claim, self._pump.incarnation, steps=text)):
                return None
        return wait_ms

    async def _from_store(self, one: Running, run: Run, key: str, n: int) -> bool:
        """Use what an earlier attempt of this run took in advance."""
        steps = _steps(one)
        kept = dict(steps.get(PAID, {}))
        if kept.get(key, 0) < n:
            return False
        kept[key] -= n
        text = msgspec.json.encode({**steps, PAID: kept}).decode()
        one.claim = one.claim._replace(steps=text)
        await self._write("put_steps", one, run, steps=text)
        return True

    def _was_paid(self, one: Running, key: str) -> bool:
        """Whether the claim took this call already: the first of each limit that the job declares."""
        if one.paid is None:
            one.paid = set(names_of(bounds_of(one.spec), one.claim).limits)
        there = key in one.paid
        one.paid.discard(key)
        return there

    async def adjust(self, run: Run, limit: Limit, rate: str | float, burst: int | None) -> None:
        """Say a limit's rate for everyone, if it differs from what was said here last."""
        one = self._running(run)
        key, text = key_of(limit.name, one.claim), rate_text(rate)
        if self._said.get(key) == (text, burst):
            return
        await self._pump.store.write(lambda: gates.adjust(gates.Said(key, text, burst, None, "rota"), limit))
        self._said[key] = (text, burst)

    async def progress(self, run: Run, done: int, total: int | None) -> None:
        """Note how far the run is."""
        await self._write("put_progress", self._running(run), run, progress=f"{done}/{total}" if total else str(done))

    async def _write(self, name: str, one: Running, run: Run, **values: str) -> None:
        pump = self._pump
        if not await pump.store.write(lambda: turns.fenced_write(name, one.claim, pump.incarnation, **values)):
            raise _lost(run)

    async def complete(self, run: Run, result: object, connection: object) -> None:
        """Settle the run inside the transaction of somebody else's connection (G-6)."""
        one = self._running(run)
        pump = self._pump
        kept = encode_result(result) if one.spec.keep == "latest" and result is not None else None
        end = pump.end_of(one, kept)
        fence = (one.claim.id, one.claim.attempt)
        before = pump.completed.get(fence)
        came = await foreign.run_on(connection, lambda: self._completed(end, before), pump.store)
        if came == "again":
            message = f"the run {run.id} of {run.job} is completed already: roll this transaction back"
            raise IllegalTransition(message)
        if came == "lost":
            message = f"the run {run.id} of {run.job} was given to another worker: roll back"
            raise LeaseLost(message)
        pump.completed[fence] = end

    def _completed(self, end: Ending, before: Ending | None) -> Op[str]:
        """Settle, and look where that was refused: a transaction that was rolled back may be tried again."""
        pump = self._pump
        settled = yield from turns.settle([end], pump.incarnation)
        if not settled.took(end):
            again = before is not None and (not before.journal or (yield from turns.already_settled([before])))
            return "again" if again else "lost"
        moved = sorted(turn for turn, bits in settled.tend.items() if bits & MOVED)
        if moved:
            yield from reconcile.tend(pump.store.catalog, moved)
        return "completed"

    @asynccontextmanager
    async def transaction(self, run: Run) -> AsyncIterator[Any]:
        """A transaction on rota's own connection that settles the run when it commits."""
        self._running(run)
        async with self._pump.store.db.borrowed() as connection:
            yield connection
            await self.complete(run, None, connection)


def _steps(one: Running) -> dict[str, Any]:
    return msgspec.json.decode(one.claim.steps) if one.claim.steps else {}


def _counted(n: object) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= SPEND_MOST:
        message = f"spend() takes a whole number from 1 to {SPEND_MOST:,}, not {n!r}"
        raise BadInput(message)
    return n


def _lost(run: Run) -> LeaseLost:
    return LeaseLost(f"the run {run.id} of {run.job} was given to another worker: drop what was done")
