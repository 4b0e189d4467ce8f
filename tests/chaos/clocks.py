"""Clocks that are wrong and that step while a process runs: of workers, and of a PostgreSQL server.

libfaketime is loaded before the process and reads its offset from a file at every question, so that a step is a write.
Only the wall clock is changed: the monotonic one and the one that counts suspended time stay right, as on a machine
whose clock is set by hand.

Always true: without the library nothing here pretends: `missing()` says why, and a scenario reports itself as skipped;
the clock of the process that runs the tests is never touched.

Not here: clocks that a test holds (`rota.testing.ManualClock`), suspended machines (time namespaces).
"""

import ctypes.util
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.servers import PostgresServer

HOUR_S: Final = 3_600
DAY_S: Final = 86_400
TEN_YEARS_S: Final = 3_653 * DAY_S
_PLACES: Final = (
    *Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"),  # where Debian and its children put it
    *Path("/usr/lib64/faketime").glob("libfaketimeMT.so.1"),
    *Path("/usr/local/lib/faketime").glob("libfaketimeMT.so.1"),
)


def library() -> Path | None:
    """The library, or None where the machine has none."""
    if _PLACES:
        return _PLACES[0]
    name = ctypes.util.find_library("faketimeMT")
    return Path(name) if name else None


def missing() -> str | None:
    """Why no clock can be stepped here; None when it can."""
    return None if library() else "libfaketime is not installed (Debian: apt-get install libfaketime)"


class SteppingClock:
    """The wall clock of any number of processes: those that were started with its `environment`."""

    def __init__(self, folder: Path, *, name: str = "clock", offset_s: int = 0) -> None:
        self._file = folder / f"{name}.offset"
        self.offset_s = 0
        self.step_to(offset_s)

    @property
    def environment(self) -> dict[str, str]:
        """What a process must be started with to see this clock."""
        found = library()
        if found is None:
            message = f"no clock can be stepped here: {missing()}"
            raise RuntimeError(message)
        return {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",  # a step is seen by the next question: a microsecond for each of them
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # else waits and leases on the monotonic clock would leap as well
            "FAKETIME_DISABLE_SHM": "1",  # nothing is shared between processes but the file
            "NO_FAKE_STAT": "1",  # files keep their times
        }

    def step_to(self, offset_s: int) -> None:
        """From the next question on the clock is wrong by so many seconds."""
        scratch = self._file.with_suffix(".next")
        scratch.write_text(f"{offset_s:+d}\n")
        scratch.chmod(0o644)  # a server that may run as another user reads it
        scratch.replace(self._file)
        self.offset_s = offset_s

    def step(self, by_s: int) -> None:
        """Step by so many seconds, back when negative."""
        self.step_to(self.offset_s + by_s)

    def now_ms(self) -> int:
        """What this clock shows."""
        return time.time_ns() // 1_000_000 + self.offset_s * 1000

    def joined(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a process with this clock in it."""
        return {**(os.environ if environment is None else environment), **self.environment}


class SteppingPostgres(PostgresServer):
    """A PostgreSQL whose clock, and with it everything rota decides, can be stepped while it runs."""

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__(durable=durable)
        self.home.chmod(0o755)
        self.clock = SteppingClock(self.home)

    def _command(self) -> Sequence[str | Path]:
        words = [f"{name}={value}" for name, value in self.clock.environment.items()]
        return ["/usr/bin/env", *words, *super()._command()]
