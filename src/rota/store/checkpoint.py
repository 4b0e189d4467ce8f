"""Checkpoints under a lock file, for a SQLite older than 3.51.3.

Such a library can corrupt a file when two checkpoints and a commit that resets the log meet. So automatic
checkpoints are off on every connection of ours, and the only ones are taken here, alone.

Always true: a writer holds the lock file shared for the length of its transaction, a checkpoint holds it alone; the
lock goes with the process that held it.

Not here: connections (sqlite.py).
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

with contextlib.suppress(ModuleNotFoundError):  # where it is missing, `Checkpoints` is never made
    import fcntl

LONG_BYTES = 4_120_000  # a thousand pages with their frames: SQLite's own measure for a checkpoint
TOO_LONG_BYTES = 16 * LONG_BYTES  # past this the checkpoint waits for the writers instead of passing


class Checkpoints:
    """The lock file beside a database, and the log that grows until somebody checkpoints."""

    def __init__(self, path: str) -> None:
        self._log = Path(f"{path}-wal")
        self._file = Path(f"{path}-checkpoint").open("ab")  # noqa: SIM115 -- held as long as the connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keep checkpoints out for the length of a transaction."""
        self._lock(alone=False, wait=True)
        try:
            yield
        finally:
            self._unlock()

    def take_if_long(self, execute: Callable[[str], Any]) -> bool:
        """Checkpoint when the log is long and nobody writes; whether it was tried."""
        length = self._length()
        if length < LONG_BYTES or not self._lock(alone=True, wait=length > TOO_LONG_BYTES):
            return False
        try:
            # Readers are not waited for: what they still need stays in the log until the next time.
            timeout = execute("PRAGMA busy_timeout").fetchall()[0][0]
            execute("PRAGMA busy_timeout = 0").fetchall()
            execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            execute(f"PRAGMA busy_timeout = {timeout}").fetchall()
        finally:
            self._unlock()
        return True

    def close(self) -> None:
        """Give the lock file back; it stays, another process may hold it."""
        self._file.close()

    def _length(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _lock(self, *, alone: bool, wait: bool) -> bool:
        try:
            fcntl.flock(self._file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _unlock(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
