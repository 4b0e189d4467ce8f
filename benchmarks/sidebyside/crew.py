"""The worker of one contender as processes: started, killed as a whole, started again.

Always true: a kill takes every process that descends from those started here, each stopped before it could make
another, as the end of a container or of its machine does; nothing else is ever signalled; none outlives the run.

Not here: when to kill (kills.py).
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.sidebyside.verdict import Kill

LOOK_S = 0.002  # between two looks whether a killed process has gone


class Crew:
    """What works for one contender, in one or more processes of the same commands."""

    def __init__(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str], log: Path) -> None:
        self._commands = commands
        self._environment = environment
        self._log = log
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start all of it."""
        with self._log.open("ab") as log:
            self._processes = [
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    cwd=self._log.parent,
                    start_new_session=True,  # Ctrl-C is for us, who then end it
                )
                for command in self._commands
            ]

    def kill(self) -> Kill:
        """End all of it at one instant, without a word."""
        pids = frozen([process.pid for process in self._processes])
        at_ns = time.monotonic_ns()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait()
        while not all(map(gone, pids)):  # children of theirs are not ours to wait for
            time.sleep(LOOK_S)
        self._processes = []
        return Kill(at_ns=at_ns, pids=frozenset(pids))

    def is_alive(self) -> bool:
        """Whether every process that was started still runs."""
        return all(process.poll() is None for process in self._processes)


def frozen(roots: Sequence[int]) -> set[int]:
    """Stop these processes and all that descend from them, until no new one appears; return who they are."""
    stopped: set[int] = set()
    while fresh := descendants(roots) - stopped:
        for pid in fresh:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        stopped |= fresh
    return stopped


def gone(pid: int) -> bool:
    """Whether a process has ended, waited for by its parent or not."""
    state = _stat(pid)
    return not state or state[0] == "Z"


def descendants(roots: Sequence[int]) -> set[int]:
    """These processes, their children, and so on."""
    parents = dict(_parents())
    found = set(roots) & parents.keys()
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def _parents() -> list[tuple[int, int]]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [(pid, int(state[1])) for pid in pids if (state := _stat(pid))]


def _stat(pid: int) -> list[str]:
    """What the system says of a process, from its state on; nothing when it has ended."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
