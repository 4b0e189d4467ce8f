"""The test of killed workers: jobs are taken in, the worker is killed again and again, and the rest is waited for.

Always true: the same jobs, places and kills for everybody; each kill comes after so many new starts and a random
moment; the wait ends when the system lists nothing more, or a fixed time after the last kill.

Not here: who takes part (contenders.py), and what follows from the ledger (verdict.py).
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sidebyside import ledger
from benchmarks.sidebyside.contenders import PLACES, Contender, environment_of
from benchmarks.sidebyside.crew import Crew
from benchmarks.sidebyside.verdict import Kill, Left, Verdict, judge
from benchmarks.stores import Stores
from tests.servers import RedisServer

LOOK_S = 0.02  # between two looks at the ledger
QUIET_S = 3.0  # without a new line before the system itself is asked; asking starts a process
PATIENCE_S = 60.0  # for a worker to come back and start so many jobs on two busy cores
MOMENT_S = 0.3  # of which a random part passes before a kill, so that it hits jobs at any point
SEED = 20261122  # of those moments


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordeal:
    """How many jobs, how many kills, how many new starts before each, and how long the rest may take."""

    jobs: int = 300
    kills: int = 5
    starts: int = 25
    settle_s: float = 150.0

    @property
    def ideal_s(self) -> float:
        """What the jobs take in all places at once when nothing happens."""
        return sum(map(ledger.lasts_ms, range(self.jobs))) / 1000 / PLACES


FULL = Ordeal()
QUICK = Ordeal(jobs=100, kills=2, starts=20, settle_s=30.0)


class Trial:
    """One contender under the ordeal."""

    def __init__(self, who: Contender, store: str, folder: Path) -> None:
        self._who = who
        self._ledger = folder / "ledger"
        self._log = folder / "log"
        self._environment = os.environ | environment_of(who, store, self._ledger)
        self._environment.pop("ROTA_DB", None)
        self._crew = Crew(who.worker(store), self._environment, self._log)
        self._kills: list[Kill] = []

    def run(self, ordeal: Ordeal) -> Verdict:
        """Fill, work, kill, wait, judge."""
        dice = random.Random(SEED)
        taken = self._ask("fill", str(ordeal.jobs))["acknowledged"]
        try:
            self._crew.start()
            for _ in range(ordeal.kills):
                self._until_started(ordeal.starts)
                time.sleep(dice.random() * MOMENT_S)
                self._kills.append(self._crew.kill())
                self._crew.start()
            left = self._settle(ordeal.settle_s)
        finally:
            self._crew.kill()
        return judge(taken, ledger.read(self._ledger), self._kills, left)

    def _until_started(self, more: int) -> None:
        """Wait until that many jobs were started, from now on."""
        enough = self._lines("start") + more
        deadline = time.monotonic() + PATIENCE_S
        while self._lines("start") < enough:
            if time.monotonic() > deadline or not self._crew.is_alive():
                message = f"{self._who.name} did not get to work. Its log ends:\n{self._log.read_text()[-2000:]}"
                raise RuntimeError(message)
            time.sleep(LOOK_S)

    def _settle(self, seconds: float) -> Left:
        """Wait until the system lists nothing that waits or runs, or for so long."""
        deadline = time.monotonic() + seconds
        while True:
            left = self._left()
            if not (left.waiting or left.reserved) or time.monotonic() > deadline:
                return left
            seen, quiet = self._lines(), time.monotonic() + QUIET_S
            while time.monotonic() < min(quiet, deadline):
                time.sleep(LOOK_S)
                if (now := self._lines()) != seen:
                    seen, quiet = now, time.monotonic() + QUIET_S

    def _left(self) -> Left:
        return Left(**{name: frozenset(numbers) for name, numbers in self._ask("left").items()})

    def _lines(self, what: str = "") -> int:
        return sum(1 for line in ledger.read(self._ledger) if not what or line.what == what)

    def _ask(self, *words: str) -> dict[str, list[int]]:
        """Run the contender's script and read its answer."""
        command = self._who.script(*words)
        done = subprocess.run(
            command, env=self._environment, cwd=self._log.parent, capture_output=True, text=True, check=False
        )
        if done.returncode:
            message = f"{self._who.name}: {words[0]} failed:\n{done.stderr[-2000:]}"
            raise RuntimeError(message)
        return json.loads(done.stdout)


@contextmanager
def fresh_store(who: Contender, stores: Stores) -> Iterator[str]:
    """An empty store of the contender's kind, by its address."""
    if who.kind == "redis":
        server = RedisServer()
        server.start()
        try:
            yield server.url
        finally:
            server.close()
        return
    database = stores.fresh(who.kind)
    try:
        yield database.plain if who.peer else database.url
    finally:
        stores.drop(database)


def tried(who: Contender, stores: Stores, ordeal: Ordeal) -> Verdict:
    """Put one contender through the ordeal on a store of its own."""
    folder = stores.folder / f"{who.side}-{who.variant or 'plain'}-{who.kind}"
    folder.mkdir()
    began = time.monotonic()
    with fresh_store(who, stores) as store:
        verdict = Trial(who, store, folder).run(ordeal)
    took = time.monotonic() - began
    print(f"{who.name}, {who.settings}: {took:.0f} s", file=sys.stderr, flush=True)
    return verdict
