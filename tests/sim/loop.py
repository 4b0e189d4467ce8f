"""An event loop in which time passes only by being waited for, and processes that can be frozen and killed.

The loop's selector never waits: a wait of t seconds moves the clock by t. Every step of a task belongs to the
process it was begun in (a context variable), so a whole process can stand still for an hour, or vanish between
two of its steps as after `kill -9`, while the others go on.

Always true: the same steps are taken in the same order for the same seed; a loop that waits for nothing, or
turns for ever without time passing, ends with an error that says so.

Not here: what the processes do (world), what is checked (checks).
"""

import asyncio
import contextvars
import heapq
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from rota.clock import Clock

rest = asyncio.sleep  # on this loop a rest moves the clock and takes no time
MOST_TURNS = 100_000  # turns of the loop without time passing: busy worlds stay below a thousand
RESOLUTION_S = 1e-6  # timers closer than this fire together, as far below a millisecond as needed

PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("PROCESS", default=None)


class Stuck(Exception):
    """The world can never go on: nobody waits for anything, or everybody spins."""


class Process:
    """Something that can be frozen and killed: all steps of all tasks begun inside it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.dead = False
        self.thawed_at = 0.0
        self._waiting: list[asyncio.Handle] = []

    def __repr__(self) -> str:
        return self.name

    def lets(self, handle: asyncio.Handle) -> bool:
        """Whether a step may be taken now; one that may not is kept until the thaw, or dropped."""
        if self.dead:
            return False
        if self.frozen:
            self._waiting.append(handle)
            return False
        return True

    def freeze(self) -> None:
        """Stand still: as SIGSTOP, a suspended machine or a long collection of garbage would make it."""
        self.frozen = True

    def thaw(self, loop: "VirtualLoop") -> None:
        """Go on where it stood; everything that would have happened meanwhile happens now."""
        waiting, self._waiting = self._waiting, []
        self.frozen = False
        self.thawed_at = loop.time()
        loop.take(waiting)

    def kill(self) -> None:
        """Vanish between two steps."""
        self.dead = True
        self._waiting = []

    def start(self, loop: "VirtualLoop", work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task inside this process."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return loop.create_task(work, context=context, name=self.name)


class _Step(asyncio.Handle):
    __slots__ = ()

    def _run(self) -> None:
        process = self._context.get(PROCESS)
        if process is None or process.lets(self):
            super()._run()


class _Timer(asyncio.TimerHandle):
    __slots__ = ()

    def _run(self) -> None:
        process = self._context.get(PROCESS)
        if process is None or process.lets(self):
            super()._run()


class _Selector:
    """Stands where the loop asks the system to wake it: answers at once, and it is later."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            message = "nobody waits for anything: no timer is set and no step is ready"
            raise Stuck(message)
        if timeout > 0:
            self.seconds += timeout
            self._turns = 0
        else:
            self._turns += 1
            if self._turns > MOST_TURNS:
                message = f"the loop turned {MOST_TURNS:,} times without time passing: something spins"
                raise Stuck(message)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio loop without a system below it."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Selector()
        self._clock_resolution = RESOLUTION_S
        self.errors: list[str] = []
        self.set_exception_handler(lambda _loop, what: self._note(what))

    def time(self) -> float:
        return self._selector.seconds

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = _Step(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def take(self, handles: list[asyncio.Handle]) -> None:
        """Take steps that a frozen process could not."""
        self._ready.extend(handle for handle in handles if not handle.cancelled())

    def _note(self, what: dict[str, Any]) -> None:
        if "was destroyed but it is pending" not in what["message"]:  # tasks of killed processes
            self.errors.append(f"{what['message']}: {what.get('exception')!r}")

    def _process_events(self, event_list: list[Any]) -> None:
        """No file can be ready here."""

    def _write_to_self(self) -> None:
        """No other thread has to wake this loop."""


class SimClock(Clock):
    """A clock of one process: the loop's time, wrong by `skew_ms` as clocks of machines are; dice from the seed."""

    held = True

    def __init__(self, loop: VirtualLoop, start_ms: int, dice: Random, name: str) -> None:
        super().__init__()
        self._loop = loop
        self._start_ms = start_ms
        self._rolls = dice
        self._name = name
        self._tokens = 0
        self.skew_ms = 0

    @property
    def suspect(self) -> bool:
        return False

    def now_ms(self) -> int:
        return self._start_ms + int(self._loop.time() * 1000 + RESOLUTION_S) + self.skew_ms

    def monotonic(self) -> float:
        return self._loop.time()

    def dice(self) -> float:
        return self._rolls.random()

    def token(self) -> str:
        self._tokens += 1
        return f"{self._name}.{self._tokens}"
