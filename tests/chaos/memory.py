"""A group of processes that may use so much memory and no more: the kernel kills the fattest when it is full.

Always true: where no group can be made `missing()` says why, and nothing is pretended; a group is removed with its
block.

Not here: what eats the memory (harms).
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CONTROL = Path("/sys/fs/cgroup")
REMOVED_S = 5.0  # until the kernel has buried the last process of a group


class _Form(NamedTuple):
    """Where a group lies, and how its limit is called, in the first and the second form of the kernel's interface."""

    folder: Path
    limit: str


def _form() -> _Form:
    if (CONTROL / "cgroup.controllers").exists():
        return _Form(CONTROL, "memory.max")
    return _Form(CONTROL / "memory", "memory.limit_in_bytes")


def missing() -> str | None:
    """Why no group with a memory limit can be made here; None when it can."""
    if sys.platform != "linux":
        return "memory control groups are Linux's"
    try:
        with group(64 * 1024 * 1024):
            return None
    except OSError as error:
        return f"no memory control group can be made ({error.strerror or error})"


@contextmanager
def group(limit: int) -> Iterator["Group"]:
    """A group with a limit in bytes, gone after the block; whoever is in it then must have ended."""
    form = _form()
    folder = form.folder / f"rota-chaos-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    try:
        (folder / form.limit).write_text(f"{limit}\n")
        yield Group(folder)
    finally:
        deadline = time.monotonic() + REMOVED_S
        while True:
            with contextlib.suppress(OSError):
                folder.rmdir()
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)


class Group:
    """A control group; `under` is what a command line begins with to be run in it, with everything that it starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def under(self) -> Sequence[str]:
        """A shell that enters the group and becomes the program."""
        return ["/bin/sh", "-c", f'echo $$ > {self._folder}/cgroup.procs; exec "$@"', "sh"]

    @property
    def killed(self) -> int:
        """How many of it the kernel has killed."""
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                words = (self._folder / name).read_text().split()
                return int(words[words.index("oom_kill") + 1])
        return 0
