"""C-11: handlers that take their process with them: gone without a word, a fault, a stack without end, all the memory.

Always true: the workers are children of one parent, which must fill every empty place again; the neighbours of a deadly
run take longer than it takes to kill, so that they are lost with it; one deadly run is abroad at a time.

Not here: workers killed from outside (C-1).
"""

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Sequence
from itertools import cycle

from tests.chaos import memory
from tests.chaos.fleet import Fleet, Process, fleet_of, until
from tests.chaos.harms import TARGET, eat, fault, leave, neighbour, on, overflow
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import Scenario, Stage

DEADLY = {"leave": leave, "fault": fault, "overflow": overflow, "eat": eat}
CHILDREN = 3
PLACES = 8  # of each child
NEIGHBOURS = 6  # of a deadly run: with it they are fewer than the places of one child
STAY_MS = (
    100,
    1_000,
)  # how long a neighbour takes; the deadly ones kill within a few ms, memory is eaten in some tenths
LOSSES = 3  # and a run is called poison
LIMIT = 600 * 1024 * 1024  # bytes for the parent and its children, which need half of it
PATIENCE_S = 120.0  # until everything has ended: a child that dies at once again and again is started ever more slowly


async def play(stage: Stage) -> Tally:
    """A deadly run among neighbours, one kind after the other until the time is over; each kind at least once."""
    tally = Tally()
    with contextlib.ExitStack() as held:
        box = held.enter_context(memory.group(LIMIT)) if memory.missing() is None else None
        kinds = [name for name in DEADLY if box is not None or name != "eat"]
        stage.dice.shuffle(kinds)
        async with fleet_of(stage) as fleet, on(fleet.front):
            parent = _parent(fleet, box)
            await until(lambda: _children(fleet))
            deadline = time.monotonic() + stage.seconds
            deadly: list[str] = []
            near: list[str] = []
            for count, kind in enumerate(cycle(kinds)):
                if count >= len(kinds) and time.monotonic() > deadline:
                    break
                await _round(stage, kind, deadly, near)
                tally.sample("over", [await until(lambda: _nothing_left(fleet), PATIENCE_S)])
                tally.counts[f"kind {kind}"] += 1
            tally.sample("restored", [await until(lambda: _children(fleet), PATIENCE_S)])
            await _judge(fleet, tally, deadly, near)
            tally.counts["killed by the kernel"] = box.killed if box is not None else 0
            parent.send(signal.SIGTERM)
            code = await parent.ended()
            what = "the parent's exit code after SIGTERM"
            tally.check(Check(name="G-18", what=what, happened=code, of=1, rule="exactly"))
    return tally


def _parent(fleet: Fleet, box: memory.Group | None) -> Process:
    words = ["worker", "-p", str(CHILDREN), "--lease", "2s", "--poll", "200ms", "--concurrency", str(PLACES)]
    return fleet.start(*words, under=box.under if box is not None else (), target=TARGET)


async def _children(fleet: Fleet) -> bool:
    """As many workers as there are places keep a lease."""
    rows = await fleet.look(f"SELECT count(*) FROM rota.worker WHERE kind = 'worker' AND lease_until > {fleet.now}")
    return bool(rows[0][0] >= CHILDREN)


async def _nothing_left(fleet: Fleet) -> bool:
    """Every run has ended."""
    return not (await fleet.look("SELECT count(*) FROM rota.turn WHERE standing = 0"))[0][0]


async def _round(stage: Stage, kind: str, deadly: list[str], near: list[str]) -> None:
    """A deadly run in the middle of its neighbours."""
    calls = [(number, stage.dice.randint(*STAY_MS)) for number in range(NEIGHBOURS)]
    half = NEIGHBOURS // 2
    near += [handle.id for handle in await neighbour.enqueue_many(calls[:half])]
    deadly.append((await DEADLY[kind].enqueue()).id)
    near += [handle.id for handle in await neighbour.enqueue_many(calls[half:])]


async def _judge(fleet: Fleet, tally: Tally, deadly: Sequence[str], near: Sequence[str]) -> None:
    rows = await fleet.look("SELECT turn, run, outcome, reason FROM rota.journal")
    ends = {f"{turn}-{run}": (outcome, reason) for turn, run, outcome, reason in rows if outcome != "lost"}
    lost = Counter(f"{turn}-{run}" for turn, run, outcome, _ in rows if outcome == "lost")
    starts = fleet.ledger.starts_by_run()
    exact = [run for run in deadly if ends.get(run) == ("dead", "poison") and len(starts[run]) == LOSSES]
    harmed = [run for run in near if ends.get(run, ("", ""))[0] != "succeeded"]
    over = [run for run, count in lost.items() if count >= LOSSES]
    tally.counts.update({"deadly": len(deadly), "poison": len(exact), "neighbours": len(near), "harmed": len(harmed)})
    tally.counts["losses of neighbours"] = sum(lost[run] for run in near)
    what = f"deadly runs that are poison after exactly {LOSSES} starts"
    example = str([(run, ends.get(run), len(starts[run])) for run in deadly if run not in set(exact)][:2])
    all_of = len(deadly)
    tally.check(
        Check(name="G-8", what=what, happened=len(exact), of=all_of, allowed=all_of, rule="exactly", example=example),
        Check(
            name="G-11",
            what="neighbours that did not end well",
            happened=len(harmed),
            of=len(near),
            example=str([(run, ends.get(run), lost[run]) for run in harmed[:2]]),
        ),
        Check(name="I-16", what=f"runs given back {LOSSES} times", happened=len(over), of=len(deadly) + len(near)),
    )


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    kinds = "  ".join(f"{kind} {counts[f'kind {kind}']}" for kind in DEADLY)
    eaten = (
        f"killed by the kernel {counts['killed by the kernel']}" if counts["kind eat"] else f"eat: {memory.missing()}"
    )
    near = f"{counts['neighbours']}   lost with them {counts['losses of neighbours']} times   harmed {counts['harmed']}"
    return [
        ("deadly runs", f"{counts['deadly']} ({kinds})   poison {counts['poison']}   {eaten}"),
        ("neighbours", near),
        (
            "rounds",
            f"{spread(tally.samples.get('over', [])).words()}   until poison is known and neighbours have ended",
        ),
        ("restored", f"{spread(tally.samples.get('restored', [])).words()}   until {CHILDREN} children work again"),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    counts = tally.counts
    exact = counts["poison"] == counts["deadly"]
    return [
        Figure("poison after exactly 3 losses", "all", f"{counts['poison']} of {counts['deadly']}", exact),
        Figure(
            "neighbours end",
            "all",
            f"{counts['neighbours'] - counts['harmed']} of {counts['neighbours']}",
            not counts["harmed"],
        ),
    ]


SCENARIO = Scenario(name="C-11", title="deadly handlers", short_s=10, long_s=300, play=play, rows=rows, figures=figures)
