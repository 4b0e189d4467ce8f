"""P-3: sixty-four callers enqueue with notifications on and off; the bell costs at most a tenth of the commits.

Eight processes of eight callers each, each awaiting its own commit, and four listeners as workers have them. Rounds
with and without take turns, so that what else the machine does meets both.

Always true: only a ratio of rounds of the same run is judged.

Not here: how fast enqueuing is (benchmarks).
"""

import asyncio
import subprocess
import sys
import time
from statistics import median
from typing import Any

from rota import Rota
from rota.clock import Clock
from rota.store.postgres import Postgres
from tests.e2e.fleet import REPOSITORY
from tests.strain.report import Report
from tests.strain.stage import Size, Stage, opened

ROUNDS: dict[Size, int] = {"short": 3, "plain": 9, "long": 25}
SECONDS = 2.0  # one round
PROCESSES = 8
CALLERS = 8  # in each
LISTENERS = 4
LEAST = 0.9  # of the commits without notifications

rota = Rota(name="strain")


@rota.job(journal="failures")
async def nothing(number: int) -> None:
    """Nobody runs it here."""


async def _silence() -> None:
    """Tells nobody."""


async def _round(seconds: float) -> int:
    ends_at = time.monotonic() + seconds
    made = 0

    async def call() -> None:
        nonlocal made
        while time.monotonic() < ends_at:
            await nothing.enqueue(made)
            made += 1

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return made


async def _serve(url: str) -> None:
    """A process of callers: each line on stdin is a round, its answer how many were enqueued."""
    async with opened(rota, url):
        store = await rota.opened()
        loud = store.db.notify
        print("ready", flush=True)
        while (line := await asyncio.to_thread(sys.stdin.readline)).strip():
            store.db.notify = loud if line.strip() == "on" else _silence  # type: ignore[method-assign]
            print(await _round(SECONDS), flush=True)


class Callers:
    """The processes."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", "tests.strain.bells", url]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": REPOSITORY}
        self._all = [subprocess.Popen(command, **pipes) for _ in range(PROCESSES)]
        for one in self._all:
            assert one.stdout is not None
            assert one.stdout.readline().strip() == "ready"

    def round(self, how: str) -> int:
        """Let all of them enqueue for a while."""
        for one in self._all:
            assert one.stdin is not None
            one.stdin.write(f"{how}\n")
            one.stdin.flush()
        return sum(int(one.stdout.readline()) for one in self._all if one.stdout is not None)

    def close(self) -> None:
        """End them."""
        for one in self._all:
            one.communicate("\n", timeout=30)


async def _play(url: str, rounds: int) -> tuple[dict[str, list[int]], int]:
    heard = 0

    def hear() -> None:
        nonlocal heard
        heard += 1

    stores = [Postgres(url, clock=Clock()) for _ in range(LISTENERS)]
    for db in stores:
        await db.open()
        db.listen(hear)
    callers = await asyncio.to_thread(Callers, url)
    made: dict[str, list[int]] = {"on": [], "off": []}
    try:
        await asyncio.to_thread(callers.round, "on")  # warm
        for number in range(rounds):
            for how in ("on", "off") if number % 2 else ("off", "on"):
                made[how].append(await asyncio.to_thread(callers.round, how))
    finally:
        await asyncio.to_thread(callers.close)
        for db in stores:
            await db.close()
    return made, heard


def run(stage: Stage) -> Report:
    """Let them enqueue."""
    report = Report(scenario="P-3", title="notifications", store="postgresql", form=stage.size)
    server = stage.shared
    made, heard = asyncio.run(_play(server.url(server.fresh_database()), ROUNDS[stage.size]))
    on, off = (median(made[how]) / SECONDS for how in ("on", "off"))
    ratio = median(loud / quiet for loud, quiet in zip(made["on"], made["off"], strict=True))
    report.say(
        "enqueued",
        f"{on:,.0f}/s with notifications, {off:,.0f}/s without, {ratio:.0%} in the middle pair (at least {LEAST:.0%})",
        on=[count / SECONDS for count in made["on"]],
        off=[count / SECONDS for count in made["off"]],
        ratio=ratio,
    )
    seconds = SECONDS * (len(made["on"]) + 1)
    report.say("callers", f"{PROCESSES * CALLERS} in {PROCESSES} processes, {ROUNDS[stage.size]} rounds of each")
    report.say("heard", f"{heard} by {LISTENERS} listeners in {seconds:.0f} s of notifying", heard=heard)
    report.hold(ratio >= LEAST, f"with notifications {ratio:.0%} of the commits without")
    report.hold(heard > 0, "nobody heard a notification: the scenario has stopped trying something")
    return report


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
