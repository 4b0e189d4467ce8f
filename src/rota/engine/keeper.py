"""Keeps a worker's lease from a thread of its own, and watches the loop that runs the handlers.

A handler that blocks the event loop therefore loses no lease and is named in an event; but a thread that
extended for ever would keep a dead handler alive, so it stops when the loop has not turned for `MAX_BLOCK_S`.

Always true: a beat every third of the lease; what the store says the worker holds is handed to the loop with
the instant before the question, so that later claims are not taken for lost.

Not here: what the worker does about it (worker.py).
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from rota.errors import StoreError
from rota.store import turns
from rota.store.port import Op, query
from rota.store.store import Store
from rota.store.turns import Held

WATCH_S: Final = 0.25  # how often the loop is asked whether it turns
BLOCKED_S: Final = 0.75  # a loop that has not answered for this long is blocked: with a watch, named within a second
AGAIN_S: Final = 1.0  # a beat that failed is tried again after this: several outages must not add up to a lost lease
PARTING_S: Final = 0.3  # a beat that hangs is left behind: its thread goes with the process (G-18 leaves two seconds)
MAX_BLOCK_S: Final = 300.0  # five minutes: then the lease is let go (reliability 4, rule 4)


class Beat(NamedTuple):
    """One beat as the loop gets it: when the question was asked (monotonic), and the answer (None: store away)."""

    asked_at: float
    held: Held | None


class Identity(NamedTuple):
    """What a worker says of itself in the store."""

    incarnation: str
    name: str
    kind: str
    version: str
    lease_ms: int
    concurrency: int
    queues: str


def introduce(identity: Identity) -> Op[None]:
    """Write the worker's row; a fresh lease begins."""
    yield from query(
        "add_worker",
        worker=identity.incarnation,
        name=identity.name,
        kind=identity.kind,
        version=identity.version,
        lease_ms=identity.lease_ms,
        concurrency=identity.concurrency,
        queues=identity.queues,
    )
    yield from mark_pass()


def extend(identity: Identity, running: int, note: str | None, small: tuple[str, ...]) -> Op[Held]:
    """Extend the worker's lease and its small ones."""
    held = yield from turns.beat(identity.incarnation, identity.lease_ms, running, note)
    if held is None:
        yield from introduce(identity)
        held = yield from turns.held(identity.incarnation)
    for name in small:
        yield from query("take_lease", name=name, holder=identity.incarnation, lease_ms=identity.lease_ms)
    return held


AWAY_MS: Final = 120_000  # no pass for two minutes: the engine was away, and what it missed is caught up with care


def mark_pass() -> Op[int]:
    """Note that the engine is alive; after a gap, note the gap. What the store's clock shows."""
    now, last = (yield from query("last_pass"))[0]
    if last and now - int(last) > AWAY_MS:
        yield from query("put_meta", name="gone_at", value=last)
        yield from query("put_meta", name="back_at", value=str(now))
    yield from query("put_meta", name="pass_at", value=str(now))
    return int(now)


class Keeper:
    """The thread; with a held clock, a task in the loop instead."""

    def __init__(
        self, store: Store, identity: Identity, *, running: Callable[[], int], told: Callable[[Beat], None]
    ) -> None:
        """`told` is called in the loop with each beat; `running` may be called from the thread."""
        self._store = store
        self._identity = identity
        self._running = running
        self._told = told
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answered_at = 0.0
        self._reported = False
        self.small: tuple[str, ...] = ()
        self.note: Callable[[], str | None] = lambda: None
        self.blocked: Callable[[float, asyncio.Task[object] | None], None] = lambda _seconds, _task: None

    def start(self) -> None:
        """Begin to beat."""
        self._loop = asyncio.get_running_loop()
        self._answered_at = self._store.clock.monotonic()
        if self._store.clock.held:
            self._task = self._loop.create_task(self._beat_in_loop(), name="rota-keeper")
            return
        self._thread = threading.Thread(target=self._serve, name="rota-keeper", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Beat no more."""
        self._over.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, PARTING_S)

    @property
    def begun(self) -> bool:
        """Whether it beats, or has."""
        return self._loop is not None

    @property
    def _third_s(self) -> float:
        return self._identity.lease_ms / 3000

    @property
    def _soon_s(self) -> float:
        return min(AGAIN_S, self._third_s)

    async def _beat_in_loop(self) -> None:
        clock = self._store.clock
        wait_s = self._third_s
        while True:
            await clock.sleep(wait_s)
            asked = clock.monotonic()
            try:
                held = await self._store.write(lambda: extend(self._identity, self._running(), self.note(), self.small))
            except StoreError:
                wait_s = self._soon_s
                self._told(Beat(asked, None))
            else:
                wait_s = self._third_s
                self._told(Beat(asked, held))

    def _serve(self) -> None:
        clock = self._store.clock
        beat_at = clock.monotonic() + self._third_s
        while not self._over.wait(min(WATCH_S, self._third_s)):
            now = clock.monotonic()
            silent = self._watch(now)
            if now < beat_at or silent > MAX_BLOCK_S:
                continue
            beat = self._beat(now, silent)
            beat_at = now + (self._third_s if beat.held is not None else self._soon_s)
            self._tell(beat)

    def _watch(self, now: float) -> float:
        """Ask the loop to answer; how long it has not."""
        silent = now - self._answered_at
        self._tell(None)
        if silent < BLOCKED_S:
            self._reported = False
        elif not self._reported and self._loop is not None:
            self._reported = True
            self.blocked(silent, asyncio.current_task(self._loop))
        return silent

    def _beat(self, now: float, silent: float) -> Beat:
        note = f"loop blocked for {silent:.0f} s" if silent >= BLOCKED_S else self.note()
        try:
            held = self._extended(note)
        except Exception:  # noqa: BLE001 -- the one place: whatever it was, the next beat tries again
            return Beat(now, None)
        return Beat(now, held)

    def _extended(self, note: str | None) -> Held:
        db, who = self._store.db, self._identity
        if db.dialect == "postgres" and not self.small:
            at_once = partial(turns.beat_at_once, who.incarnation, who.lease_ms, self._running(), note)
            held = db.write_from_thread(at_once, single=True)
            if held is not None:
                return held
        return db.write_from_thread(lambda: extend(who, self._running(), note, self.small))

    def _tell(self, beat: Beat | None) -> None:
        if self._loop is None or self._loop.is_closed():
            self._over.set()
            return
        self._loop.call_soon_threadsafe(self._answer, beat)

    def _answer(self, beat: Beat | None) -> None:
        self._answered_at = self._store.clock.monotonic()
        if beat is not None:
            self._told(beat)
