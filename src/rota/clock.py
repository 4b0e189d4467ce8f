"""The only place that reads a clock, sleeps, or rolls dice.

`Clock` is the host's; a test holds a clock of its own (`rota.testing.ManualClock`), and a simulation runs
the whole engine on a virtual event loop with it.

Always true: `now_ms` is whole milliseconds UTC and never leaps forward by more than an hour against the
monotonic clock without having been suspect for a minute first (G-19); `monotonic` goes on while the
machine is suspended.

Not here: deciding whether something is due on PostgreSQL, which is the server's clock inside the statement.
"""

import asyncio
import os
import random
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

LEAP_MS = 3_600_000  # an hour: a larger leap against the monotonic clock is not believed at once (G-19)
BELIEVE_AFTER_S = 60.0  # a minute of agreement with itself, and a leapt clock is taken for right (G-19)

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


# Seconds on a clock that never steps and, where the system has one, counts suspended time.
elapsed: Callable[[], float] = time.monotonic if _BOOTTIME is None else partial(time.clock_gettime, _BOOTTIME)


async def give_way() -> None:
    """Let whatever is ready in this event loop go first."""
    await asyncio.sleep(0)


class Guard:
    """The host's wall clock, disbelieved while it disagrees with the monotonic one by more than `LEAP_MS`."""

    def __init__(self, wall_ms: Callable[[], int], steady_s: Callable[[], float]) -> None:
        self._wall_ms = wall_ms
        self._steady_s = steady_s
        self._offset_ms = wall_ms() - int(steady_s() * 1000)
        self._suspect_since: float | None = None
        self._suspect_offset_ms = 0

    @property
    def suspect(self) -> bool:
        """Whether the wall clock has leapt and is not yet believed."""
        return self._suspect_since is not None

    def confirm(self) -> None:
        """An operator says that the wall clock is right."""
        self._offset_ms = self._wall_ms() - int(self._steady_s() * 1000)
        self._suspect_since = None

    def now_ms(self) -> int:
        """The wall clock, or the time it would show had it not leapt."""
        steady = self._steady_s()
        wall = self._wall_ms()
        offset = wall - int(steady * 1000)
        if offset - self._offset_ms <= LEAP_MS:
            self._offset_ms = offset  # small drift and steps back are believed at once
            self._suspect_since = None
            return wall
        if self._suspect_since is None or abs(offset - self._suspect_offset_ms) > LEAP_MS:
            self._suspect_since, self._suspect_offset_ms = steady, offset
        elif steady - self._suspect_since >= BELIEVE_AFTER_S:
            self._offset_ms, self._suspect_since = offset, None
            return wall
        return self._offset_ms + int(steady * 1000)


class Clock:
    """The host's clock, sleeps and dice.

    `held` is True for a clock that somebody else moves: the store then takes its instants from this clock,
    also on PostgreSQL, and work that belongs in threads of its own runs in the event loop. One that `leaps` may be set
    while the monotonic one goes on.
    """

    held = False
    leaps = True

    def __init__(self) -> None:
        self._guard = Guard(lambda: time.time_ns() // 1_000_000, elapsed)
        self._random = random.SystemRandom()

    @property
    def suspect(self) -> bool:
        """Whether the host's clock has leapt and is not yet believed (G-19)."""
        return self._guard.suspect

    def now_ms(self) -> int:
        """Now, in milliseconds UTC."""
        return self._guard.now_ms()

    def monotonic(self) -> float:
        """Seconds on a clock that never steps."""
        return elapsed()

    def dice(self) -> float:
        """A number in [0, 1) for jitter."""
        return self._random.random()

    def token(self) -> str:
        """A random name that no other process has: the incarnation of a worker."""
        return secrets.token_hex(8)

    async def sleep(self, seconds: float) -> None:
        """Wait without holding up the event loop."""
        await asyncio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Wait in a thread."""
        time.sleep(seconds)

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking function beside the event loop."""
        return await asyncio.to_thread(function, *arguments)


def process_name() -> str:
    """Host and process id, for people; no identity (both repeat after a container restarts)."""
    return f"{os.uname().nodename}:{os.getpid()}"
