"""Child processes of a benchmark: they say when they are ready, begin when told to, and are ended by us.

Always true: a child's first line is `ready`; it begins at the line `go`; no child outlives the benchmark.

Not here: what a child does (worker.py, latency.py, idle.py, peers/).
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READY_S = 60.0  # to import, connect and make a schema on two busy cores
STAT_TICKS = os.sysconf("SC_CLK_TCK")  # of processor time a second


class Child:
    """One process, spoken to by lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, module: str, *args: object, python: str | Path = sys.executable, db: str = "") -> "Child":
        """Start a module of this package and wait until it is ready."""
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "ROTA_DB": db}
        process = await asyncio.create_subprocess_exec(
            python,
            "-m",
            f"benchmarks.{module}",
            *(str(arg) for arg in args),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=environment,
            limit=2**22,  # a line may hold thousands of measurements
        )
        child = cls(process)
        try:
            said = await asyncio.wait_for(child.line(), READY_S)
        except BaseException:
            await child.end()
            raise
        if said != "ready":
            await child.end()
            message = f"{module} should have said 'ready' and said {said!r}: run it by hand to see why"
            raise RuntimeError(message)
        return child

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """Whether it has ended, by itself or otherwise."""
        return self._process.returncode is not None

    def say(self, line: str = "go") -> None:
        """Write one line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def line(self) -> str:
        """Wait for its next line; empty when it has ended."""
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

    @property
    def cpu_s(self) -> float:
        """Processor time it has used, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / STAT_TICKS

    @property
    def megabytes(self) -> float:
        """Memory it holds."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    async def end(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def together(starts: Sequence) -> list[Child]:
    """Start several at once."""
    return list(await asyncio.gather(*starts))


def ready() -> None:
    """Say, in a child, that it is ready, and wait until it may begin."""
    print("ready", flush=True)
    if not sys.stdin.readline():
        sys.exit(1)
