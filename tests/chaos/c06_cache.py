"""C-6: the cache is absent at first, killed, restarted empty, frozen, flushed, full, or holds other things at our keys.

Always true: workers and clients ask the same Redis all the time; every answer is compared with what it must be; a
client's request is one reading and, where nothing is found, one writing.

Not here: the cache in the store's own table, which fails only with the store.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from math import ceil

from rota.cache import ANSWER_S, OPEN_S
from tests.chaos.fleet import Fleet, fleet_of, until
from tests.chaos.harms import TARGET, answer, answer_key, asked, look_up, on
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import Scenario, Stage
from tests.servers import RedisServer

KEYS = 50
CLIENTS = 8  # requests at once, as of a small web process
PAUSE_S = 0.02  # between two requests of a client
WORKERS = 2
RUNS, RUNS_S = 4, 0.1  # so many are enqueued so often
SLACK_S = 0.1  # what two busy cores may add to the cache's own time-out: a guess
SLOW_S = 0.15  # a request that took longer has waited for the cache: a guess
BACK_S = OPEN_S + 1.0  # after the cache is well again, until it must be used again
FAULTS = ("absent", "killed", "frozen", "flushed", "wrong types", "full")


class Clients:
    """Requests of a web process, and the load of the workers; how long each request took in which phase."""

    def __init__(self, tally: Tally) -> None:
        self.phase = "absent"
        self.runs: list[str] = []
        self._tally = tally
        self._numbers = count()

    async def ask(self) -> None:
        """One client, for ever."""
        while True:
            number, phase = next(self._numbers) % KEYS, self.phase
            began_s = time.monotonic()
            found = await asked(number)
            self._tally.sample(f"request {phase}", [time.monotonic() - began_s])
            self._tally.counts["wrong answers"] += found != answer(number)
            await asyncio.sleep(PAUSE_S)

    async def enqueue(self) -> None:
        """Runs that ask the cache, for ever."""
        while True:
            handles = await look_up.enqueue_many([(next(self._numbers) % KEYS,) for _ in range(RUNS)])
            self.runs += [handle.id for handle in handles]
            await asyncio.sleep(RUNS_S)

    @contextlib.asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """All of them, for the length of a block; one that fails fails the scenario."""
        tasks = [asyncio.create_task(self.ask()) for _ in range(CLIENTS)]
        tasks.append(asyncio.create_task(self.enqueue()))
        try:
            yield
        finally:
            early = [task for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in early:
            task.result()


async def play(stage: Stage) -> Tally:
    """Every fault in turn, again until the time is over."""
    tally = Tally()
    redis = RedisServer()
    try:
        async with fleet_of(stage) as fleet, on(fleet.front, cache=redis.url):
            fleet.environment["ROTA_REDIS_URL"] = redis.url
            for _ in range(WORKERS):
                fleet.start("worker", "--poll", "200ms", "--lease", "2s", target=TARGET)
            clients = Clients(tally)
            async with clients.busy():
                deadline = time.monotonic() + stage.seconds
                await asyncio.sleep(2 * PAUSE_S + ANSWER_S + 0.5)
                while not tally.counts["rounds"] or time.monotonic() < deadline:
                    await _round(redis, clients, tally)
                    tally.counts["rounds"] += 1
            await until(lambda: _nothing_left(fleet))
            await _judge(fleet, clients, tally)
    finally:
        redis.close()
    return tally


async def _round(redis: RedisServer, clients: Clients, tally: Tally) -> None:
    """From absent to absent, through every fault; after each it must be used again."""
    await asyncio.to_thread(redis.start)
    await _well(redis, clients, tally)
    await _fault("killed", 1.5, redis.stop, clients)
    await asyncio.to_thread(redis.start)
    await _well(redis, clients, tally)
    pid = redis.pid
    await _fault("frozen", 2.0, lambda: _signal(pid, signal.SIGSTOP), clients)
    _signal(pid, signal.SIGCONT)
    await _well(redis, clients, tally)
    await _fault("flushed", 0.5, lambda: redis.command("flushall"), clients)
    await _fault("wrong types", 0.7, lambda: _other_things(redis), clients)
    redis.command("flushall")
    await _fault("full", 0.7, lambda: redis.command("config", "set", "maxmemory", "1"), clients)
    redis.command("config", "set", "maxmemory", "0")
    await _well(redis, clients, tally)
    await _fault("absent", 0.5, redis.stop, clients)


async def _fault(name: str, seconds: float, make: Callable[[], object], clients: Clients) -> None:
    clients.phase = name
    await asyncio.to_thread(make)
    await asyncio.sleep(seconds)


async def _well(redis: RedisServer, clients: Clients, tally: Tally) -> None:
    """Nothing is wrong with the cache: it is used again within the time of an open circuit."""
    clients.phase = "healing"
    before = _hits(redis)

    async def used() -> bool:
        """The cache answers again."""
        return await asyncio.to_thread(_hits, redis) > before + CLIENTS

    tally.sample("used again", [await until(used)])
    clients.phase = "well"
    await asyncio.sleep(0.4)


def _hits(redis: RedisServer) -> int:
    said = dict(line.split(":", 1) for line in redis.command("info", "stats").splitlines() if ":" in line)
    return int(said["keyspace_hits"])


def _signal(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)


def _other_things(redis: RedisServer) -> None:
    """Lists and sets where bytes are expected."""
    redis.command("flushall")
    for number in range(KEYS):
        redis.command("rpush" if number % 2 else "sadd", answer_key(number), "not", "ours")


async def _nothing_left(fleet: Fleet) -> bool:
    """Every run has ended."""
    return not (await fleet.look("SELECT count(*) FROM rota.turn WHERE standing = 0"))[0][0]


async def _judge(fleet: Fleet, clients: Clients, tally: Tally) -> None:
    rows = await fleet.look("SELECT turn, run, outcome FROM rota.journal")
    well = {f"{turn}-{run}" for turn, run, outcome in rows if outcome == "succeeded"}
    asked_for = set(clients.runs)
    extra = sum(len(lines) - 1 for lines in fleet.ledger.starts_by_run().values())
    requests = {name: tally.samples.get(f"request {name}", []) for name in (*FAULTS, "healing", "well")}
    total = sum(map(len, requests.values()))
    late = sum(took > ANSWER_S + SLACK_S for values in requests.values() for took in values)
    frozen, rounds = requests["frozen"], tally.counts["rounds"]
    slow = sum(took > SLOW_S for took in frozen)
    tally.counts.update({"requests": total, "runs": len(asked_for)})
    tally.check(
        Check(name="G-23", what="wrong answers", happened=tally.counts["wrong answers"], of=total),
        Check(name="G-23", what="runs that did not succeed", happened=len(asked_for - well), of=len(asked_for)),
        Check(name="G-4", what="runs started a second time", happened=extra, of=len(asked_for)),
        Check(
            name="G-23",
            what=f"requests that took longer than {ANSWER_S * 1000:.0f} ms and {SLACK_S * 1000:.0f} ms of slack",
            happened=late,
            of=total,
        ),
        Check(
            name="G-23",
            what="requests that waited for a frozen cache, beside clients and probes",
            happened=slow,
            of=len(frozen),
            allowed=rounds * (CLIENTS + ceil(2.0 / OPEN_S) + 1),
        ),
        Check(
            name="G-23",
            what=f"times that a cache that is well was not used within {BACK_S:g} s",
            happened=sum(took > BACK_S for took in tally.samples["used again"]),
            of=len(tally.samples["used again"]),
        ),
    )


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    phases = [(name, spread(tally.samples.get(f"request {name}", []))) for name in ("well", *FAULTS)]
    return [
        ("requests", f"{counts['requests']:,}   wrong answers {counts['wrong answers']}   runs {counts['runs']:,}"),
        *(
            (f"  {name}", f"p50 {of.p50 * 1000:.1f} ms   max {of.max * 1000:.0f} ms   of {of.count:,}")
            for name, of in phases
        ),
        ("used again", f"{spread(tally.samples.get('used again', [])).words()}   (circuit open {OPEN_S:g} s)"),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    plain = spread(tally.samples.get("request well", [])).p50
    worst = max(spread(tally.samples.get(f"request {name}", [])).max for name in FAULTS) - plain
    wished = ANSWER_S + 0.05  # of what a busy machine adds
    return [Figure("added latency", f"≤ {ANSWER_S * 1000:.0f} ms", f"{worst * 1000:.0f} ms", worst <= wished)]


SCENARIO = Scenario(
    name="C-6", title="a cache that fails", short_s=1, long_s=300, play=play, rows=rows, figures=figures
)
