"""C-14: handlers that do not let go: one blocks the event loop, one swallows its cancellation, one sits in a thread.

Always true: each fault is made in a worker of its own kind of trouble, beside neighbours that are in flight when it
begins; a blocked loop is blocked for three leases.

Not here: handlers that kill their process (C-11).
"""

import json
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from tests.chaos.fleet import Fleet, NotInTime, Process, fleet_of, until
from tests.chaos.harms import TARGET, block, neighbour, never, on, swallow
from tests.chaos.ledger import Line
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import LEASE_S, PLACES, Scenario, Stage

BLOCK_MS = int(3 * LEASE_S * 1000)
NEIGHBOURS = 4  # in flight when the loop is blocked, and again beside what is stuck
NAMED_S = 1.0  # wished for: from the block to its name in the log
STUCK = {"swallow": swallow, "never": never}
STUCK_S = 20.0  # until a stuck handler must be shown: its time limit, the patience with a cancellation, some beats
GRACE_S = 2  # of the worker that is told to leave while handlers are stuck in it
LEAVES_S = GRACE_S + 2  # G-18


async def play(stage: Stage) -> Tally:
    """Block, then get stuck, then leave; with a new worker until the time is over, and at least once."""
    tally = Tally()
    near: list[str] = []
    async with fleet_of(stage) as fleet, on(fleet.front):
        deadline = time.monotonic() + stage.seconds
        while not near or time.monotonic() < deadline:
            worker = _worker(fleet)
            await fleet.introduced(worker)
            near += await _blocked(stage, fleet, worker, tally)
            near += await _stuck(stage, fleet, tally)
            await _ended(fleet, near)
            tally.counts["died"] += not worker.alive
            await _leaves(worker, tally)
            tally.counts["rounds"] += 1
        await _judge(fleet, near, tally)
    return tally


def _worker(fleet: Fleet) -> Process:
    words = ["--lease", f"{int(LEASE_S * 1000)}ms", "--poll", "200ms", "--concurrency", str(PLACES)]
    return fleet.start("worker", *words, "--drain-grace", f"{GRACE_S}s", env={"ROTA_LOG": "json"}, target=TARGET)


async def _neighbours(stage: Stage, fleet: Fleet, most_ms: int) -> list[str]:
    """Neighbours that have started."""
    calls = [(number, stage.dice.randint(500, most_ms)) for number in range(NEIGHBOURS)]
    near = [handle.id for handle in await neighbour.enqueue_many(calls)]
    await until(lambda: set(near) <= fleet.ledger.starts_by_run().keys())
    return near


async def _blocked(stage: Stage, fleet: Fleet, worker: Process, tally: Tally) -> list[str]:
    """Block the loop beside neighbours; when the log named the blocker."""
    near = await _neighbours(stage, fleet, BLOCK_MS)
    run = (await block.enqueue(BLOCK_MS)).id
    await until(lambda: run in fleet.ledger.starts_by_run())
    began = _wall_s(fleet.ledger.starts_by_run()[run][0])
    await until(lambda: any(line.run == run for line in fleet.ledger.of("end")))
    named = [at_s - began for at_s, fields in _events(worker, "loop.blocked") if fields.get("run") == run]
    tally.sample("named", named[:1])
    tally.counts["blocks"] += 1
    tally.counts["blocks named"] += bool(named)
    return near


async def _stuck(stage: Stage, fleet: Fleet, tally: Tally) -> list[str]:
    """One handler that swallows and one that never returns; whether a person can see that their places are gone."""
    near = await _neighbours(stage, fleet, 4_000)
    handles = {name: (await job.enqueue()).id for name, job in STUCK.items()}
    tally.counts["stuck"] += len(handles)

    async def ended() -> bool:
        """The stuck runs have ended."""
        rows = await fleet.look("SELECT turn, run FROM rota.journal WHERE outcome = 'dead'")
        return set(handles.values()) <= {f"{turn}-{run}" for turn, run in rows}

    tally.sample("ended", [await until(ended)])

    async def shown() -> bool:
        """The worker's row tells of both."""
        rows = await fleet.look("SELECT note FROM rota.worker WHERE note IS NOT NULL")
        return all(name in str(rows) for name in STUCK)

    try:
        tally.sample("shown", [await until(shown, STUCK_S)])
        tally.counts["stuck shown"] += len(handles)
    except NotInTime:
        tally.counts["stuck hidden"] += len(handles)
    return near + await _neighbours(stage, fleet, 1_000)


async def _ended(fleet: Fleet, near: Sequence[str]) -> None:
    await until(lambda: set(near) <= {line.run for line in fleet.ledger.of("end")})


async def _judge(fleet: Fleet, near: Sequence[str], tally: Tally) -> None:
    rows = await fleet.look("SELECT turn, run, outcome FROM rota.journal")
    well = {f"{turn}-{run}" for turn, run, outcome in rows if outcome == "succeeded"}
    lost = sum(outcome == "lost" for *_, outcome in rows)
    again = sum(len(lines) - 1 for lines in fleet.ledger.starts_by_run().values())
    counts, of = tally.counts, len(near)
    counts["neighbours"] = of
    blocks, unnamed = counts["blocks"], counts["blocks"] - counts["blocks named"]
    tally.check(
        Check(name="G-4", what="leases lost to a blocked loop or a stuck handler", happened=lost, of=of),
        Check(name="G-4", what="runs started a second time", happened=again, of=of),
        Check(name="G-11", what="neighbours that did not end well", happened=len(set(near) - well), of=of),
        Check(name="G-11", what="workers that ended by themselves", happened=counts["died"], of=counts["rounds"]),
        Check(name="C-14", what="blockers that the log did not name", happened=unnamed, of=blocks),
        Check(name="C-14", what="stuck places not shown", happened=counts["stuck hidden"], of=counts["stuck"]),
    )


async def _leaves(worker: Process, tally: Tally) -> None:
    """Told to leave while two handlers are stuck in it."""
    began_s = time.monotonic()
    worker.send(signal.SIGTERM)
    try:
        code = await worker.ended(4 * LEAVES_S)
    except NotInTime:
        code = -1
    tally.sample("left", [time.monotonic() - began_s])
    in_time = code == 0 and time.monotonic() - began_s <= LEAVES_S
    tally.check(
        Check(
            name="G-18",
            what=f"workers with stuck handlers not gone within grace + 2 s = {LEAVES_S} s",
            happened=int(not in_time),
            of=1,
            example=f"exit code {code} after {time.monotonic() - began_s:.1f} s",
        )
    )


def _events(worker: Process, name: str) -> Iterator[tuple[float, dict[str, str]]]:
    """What the worker's log says of one kind of event: when, and its fields."""
    for line in worker.log.splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            if said.get("event") == name:
                yield datetime.fromisoformat(said["at"]).timestamp(), said


def _wall_s(line: Line) -> float:
    """A ledger's instant on the wall clock of this machine, which is the log's."""
    return time.time() - (time.monotonic_ns() - line.at_ns) / 1e9


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    named = f"named {spread(tally.samples.get('named', [])).words()}"
    stuck = f"{counts['stuck']} ({', '.join(STUCK)})   shown {counts['stuck shown']}   hidden {counts['stuck hidden']}"
    return [
        ("blocks", f"{counts['blocks']} of {BLOCK_MS / 1000:.0f} s   {named}"),
        ("stuck", f"{stuck}   runs ended {spread(tally.samples.get('ended', [])).words()}"),
        ("neighbours", f"{counts['neighbours']}   (lease {LEASE_S:g} s)"),
        ("left", f"{spread(tally.samples.get('left', [])).words()}   (grace {GRACE_S} s)"),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    slowest = spread(tally.samples.get("named", [])).max
    counts = tally.counts
    shown = f"{counts['stuck shown']} of {counts['stuck']}"
    named_all = counts["blocks named"] == counts["blocks"]
    return [
        Figure("blocker named", f"≤ {NAMED_S:g} s", f"{slowest:.2f} s", named_all and slowest <= NAMED_S),
        Figure("stuck places shown", "all", shown, counts["stuck shown"] == counts["stuck"]),
    ]


SCENARIO = Scenario(
    name="C-14", title="handlers that do not let go", short_s=1, long_s=300, play=play, rows=rows, figures=figures
)
