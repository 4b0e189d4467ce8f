"""An event loop in which time passes only by being waited for, and processes that can be frozen, blocked and killed.

A wait of t seconds moves the clock by t and takes no time. Every step of a task belongs to the process it was begun in
(a context variable), so a whole process can stand still for an hour, or vanish between two of its steps as after
`kill -9`, while the others go on. A handler that blocks its loop stops all of it but the thread that keeps the lease.

Always true: the same steps are taken in the same order for the same seed; a loop that waits for nothing, or
turns for ever without time passing, ends with an error that says so.

Not here: what the processes do (world), what is checked (checks).
"""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from random import Random
from typing import Any

from rota.clock import Clock

rest = asyncio.sleep  # on this loop a rest moves the clock and takes no time
MOST_STEPS = 1_000_000  # steps without time passing: busy worlds stay below ten thousand
RESOLUTION_S = 1e-6  # timers closer than this fire together, as far below a millisecond as needed
KEEPER = "rota-keeper"  # the task that stands for the thread a lease is kept from

PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("PROCESS", default=None)


class Stuck(Exception):
    """The world can never go on: nobody waits for anything, or everybody spins."""


class Step:
    """Something to be called, now or at an instant; all that tasks and futures ask of a handle."""

    __slots__ = ("args", "callback", "context", "gone", "when_s")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Any, when_s: float) -> None:
        self.callback = callback
        self.args = args
        self.context = contextvars.copy_context() if context is None else context
        self.when_s = when_s
        self.gone = False

    def cancel(self) -> None:
        self.gone = True

    def cancelled(self) -> bool:
        return self.gone

    def when(self) -> float:
        return self.when_s


class Process:
    """Something that can be frozen, blocked and killed: all steps of all tasks begun inside it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.blocked = False
        self.dead = False
        self.thawed_at = 0.0
        self._waiting: list[Step] = []

    def __repr__(self) -> str:
        return self.name

    def lets(self, step: Step) -> bool:
        """Whether a step may be taken now; one that may not is kept until the thaw, or dropped."""
        if self.dead:
            return False
        if self.frozen or (self.blocked and not _keeps_the_lease(step)):
            self._waiting.append(step)
            return False
        return True

    def freeze(self) -> None:
        """Stand still: as SIGSTOP, a suspended machine or a long collection of garbage would make it."""
        self.frozen = True

    def block(self) -> None:
        """Stand still but for the thread that keeps the lease: a handler does not let go of the loop."""
        self.blocked = True

    def thaw(self, loop: "VirtualLoop") -> None:
        """Go on where it stood; everything that would have happened meanwhile happens now."""
        waiting, self._waiting = self._waiting, []
        self.frozen = self.blocked = False
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


def _keeps_the_lease(step: Step) -> bool:
    """Whether a step belongs to the keeper: its own, or a timer that wakes it."""
    task = getattr(step.callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        waiters = [one for one in step.args if isinstance(one, asyncio.Future)]
        tasks = [getattr(call, "__self__", None) for one in waiters for call, _ in one._callbacks or ()]
        task = next((one for one in tasks if isinstance(one, asyncio.Task)), None)
    return task is not None and task.get_name() == KEEPER


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio loop without a system below it."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._steps = 0
        self._order = count()
        self._timers: list[tuple[float, int, Step]] = []
        self._ready: deque[Step] = deque()
        self.errors: list[str] = []
        self.set_exception_handler(lambda _loop, what: self._note(what))

    def time(self) -> float:
        return self._now_s

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        step = Step(callback, args, context, self._now_s)
        self._ready.append(step)
        return step

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        step = Step(callback, args, context, when)
        heapq.heappush(self._timers, (when, next(self._order), step))
        return step

    def take(self, steps: list[Step]) -> None:
        """Take steps that a frozen process could not."""
        self._ready.extend(step for step in steps if not step.gone)

    def _run_once(self) -> None:
        """Everything that is ready now; when nothing is, it is as late as the next timer says."""
        ready = self._ready
        self._wait()
        self._steps += len(ready)
        if self._steps > MOST_STEPS:
            message = f"{MOST_STEPS:,} steps were taken without time passing: something spins"
            raise Stuck(message)
        for _ in range(len(ready)):
            step = ready.popleft()
            if step.gone:
                continue
            process = step.context.get(PROCESS)
            if process is None or process.lets(step):
                self._take(step)

    def _wait(self) -> None:
        timers, ready = self._timers, self._ready
        while timers and timers[0][2].gone:
            heapq.heappop(timers)
        if not ready:
            if not timers:
                if self._stopping:
                    return
                message = "nobody waits for anything: no timer is set and no step is ready"
                raise Stuck(message)
            if timers[0][0] > self._now_s:
                self._now_s = timers[0][0]
                self._steps = 0
        end_s = self._now_s + RESOLUTION_S
        while timers and timers[0][0] < end_s:
            step = heapq.heappop(timers)[2]
            if not step.gone:
                ready.append(step)

    def _take(self, step: Step) -> None:
        try:
            step.context.run(step.callback, *step.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 -- as every event loop: a callback's error is the loop's to tell
            self._note({"message": f"{step.callback!r} failed", "exception": error})

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
        return self._start_ms + int(self._loop._now_s * 1000 + RESOLUTION_S) + self.skew_ms

    def monotonic(self) -> float:
        return self._loop._now_s

    def dice(self) -> float:
        return self._rolls.random()

    def token(self) -> str:
        self._tokens += 1
        return f"{self._name}.{self._tokens}"
