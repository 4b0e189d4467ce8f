"""Many worlds over all cores, and what they come to together.

Always true: the sums depend on the seeds and the code only; children have the hash seed they are given; a world's last
events come back only when it has failed.

Not here: one world (world), the command line (__main__).
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from typing import Any

from tests.sim.plan import Plan, plan_of, years_of
from tests.sim.world import Report, live_plan

CORES = 2
KINDS: Mapping[str, Callable[[int], Plan]] = {"weeks": plan_of, "years": years_of}
WORLDS_OF_A_POOL = 400  # then fresh processes, so that memory is given back (`max_tasks_per_child` can hang in 3.11)

# What a run of the simulation has to have met, or it has stopped testing it.
SOMETIMES = (
    *("claim", "succeeded", "retry", "dead", "lost", "released", "snoozed", "held", "skipped", "cancelled"),
    *("rate_limited", "event run.fenced", "answer lost", "store refused", "outage", "partition", "freeze", "kill"),
    *(
        "drain",
        "step back",
        "step forward",
        "skew",
        "leap",
        "leap back",
        "lost after a leap",
        "cap full",
        "spread",
        "moved",
        "stop with runs",
        "block",
    ),
    *("read only", "half open", "a rule changed by a release", "an older release", "all places taken"),
    *("run_now", "run_now refused", "requeue", "requeue refused", "unhold", "leave", "rejoin", "enqueued"),
    *("enqueued before", "repeat", "inside effect", "effect refused", "step kept", "deed unstorable", "deed twofold"),
    *("tick", "tick busy", "tick stopped", "tick without a store", "event worker.drained", "event store.back"),
    *("reason: stopped", "reason: paused", "reason: held", "reason: poison", "reason: caught up by a later slot"),
    *("reason: its worker is gone", "reason: its time was over", "reason: catch_up is none"),
    *("reason: too late by policy", "reason: too soon after the last start (min_gap)"),
    *("clocks changed between two slots", "frozen between claim and start", "poison started"),
    *("healed with a broken receiver", "healed with a broken poison", "healed with a broken member"),
    *("waits for a limit", "waits for a scope", "waits for a serial", "waits for a cap", "cap by key full", "spent"),
    *("cooled", "probe", "a probe came through", "link called", "a fallback answered", "a full batch"),
    *("a batch in one call", "reason: not started: a stop, or the lease was lo"),
)
SOMETIMES_IN_YEARS = (
    "pruned journal",
    "pruned dead_letter",
    "pruned audit",
    "clocks changed between two slots",
    "claim",
)


@contextmanager
def children(hash_seed: int, jobs: int = CORES) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes, in which sets of texts have an order of their own."""
    kept = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = str(hash_seed)
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            yield pool
    finally:
        if kept is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = kept


def lived(kind: str, seed: int) -> Report:
    """Live one world in a child; the events of one in which all was well stay there."""
    began = time.process_time()
    report = live_plan(KINDS[kind](seed))
    last = report.last if report.violation is not None else ()
    return replace(report, last=last, cpu_s=time.process_time() - began)


def all_of(kind: str, seeds: Sequence[int], *, jobs: int = CORES, hash_seed: int = 0) -> Iterator[Report]:
    """The reports of these worlds, in the order of the seeds."""
    if len(seeds) == 1:
        yield live_plan(KINDS[kind](seeds[0]))
        return
    for start in range(0, len(seeds), WORLDS_OF_A_POOL):
        with children(hash_seed, jobs) as pool:
            yield from pool.map(partial(lived, kind), seeds[start : start + WORLDS_OF_A_POOL], chunksize=1)


@dataclass(slots=True)
class Sums:
    """What many worlds come to."""

    worlds: int = 0
    days: float = 0.0
    events: int = 0
    cpu_s: float = 0.0
    met: Counter[str] = field(default_factory=Counter)
    figures: dict[str, float] = field(default_factory=dict)
    failed: list[Report] = field(default_factory=list)

    def add(self, report: Report) -> None:
        """One more world."""
        self.worlds += 1
        self.days += report.days
        self.events += report.events
        self.cpu_s += report.cpu_s
        self.met.update(report.sometimes)
        for name, value in report.figures.items():
            pick = min if name.startswith("smallest") else max
            self.figures[name] = pick(value, self.figures.get(name, value))
        if report.violation is not None:
            self.failed.append(report)

    def never_met(self, wanted: Iterable[str]) -> list[str]:
        """What should have been met at least once and was not."""
        return [name for name in wanted if not self.met[name]]

    def record(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "worlds": self.worlds,
            "weeks": round(self.days / 7, 1),
            "events": self.events,
            "cpu seconds": round(self.cpu_s, 1),
            "attempts": self.met["claim"],
            "starts": self.met["starts"],
            "runs": self.met["runs"],
            "violations": len(self.failed),
            "failed": [{"seed": one.seed, "what": one.violation} for one in self.failed],
            "figures": {name: round(value, 3) for name, value in sorted(self.figures.items())},
            "sometimes": dict(sorted(self.met.items())),
        }


def table(title: str, sums: Sums) -> str:
    """What a person reads: what was allowed stands beside what happened."""
    met = sums.met
    again = sum(met[outcome] for outcome in ("retry", "released", "snoozed", "rate_limited", "held"))
    poison = met["reason: poison"]
    lines = (
        f"{title} · {sums.worlds:,} worlds · {sums.days / 7:,.0f} simulated weeks",
        (
            f"  runs        succeeded {met['succeeded']:,}  dead {met['dead']:,} (poison {poison:,})  cancelled"
            f" {met['cancelled']:,}  skipped {met['skipped']:,}"
        ),
        (
            f"  requests    one-offs acknowledged {met['enqueued']:,}  repeated {met['enqueued before']:,}  answers"
            f" lost {met['answer lost']:,}  refused {met['store refused']:,}"
        ),
        (
            f"  starts      {met['starts']:,}  of them further ones {met['further starts']:,}  allowed: leases lost"
            f" {met['lost'] + poison:,} + asked for {again:,}"
        ),
        (
            f"  faults      kills {met['kill']:,}  freezes {met['freeze']:,}  outages {met['outage']:,}  drains"
            f" {met['drain']:,}  clock steps {met['step back'] + met['step forward']:,}  releases"
            f" {met['a rule changed by a release']:,}"
        ),
        (
            f"  fencing     late ends refused {met['event run.fenced']:,} of {met['claim']:,}  inside effects"
            f" {met['inside effect']:,}  refused {met['effect refused']:,}"
        ),
        (
            f"  policies    waits for room {met['waits for a limit']:,}  for a key"
            f" {met['waits for a serial'] + met['waits for a cap']:,}  cool-downs {met['cooled']:,}  probes"
            f" {met['probe']:,}  links called {met['link called']:,}  full batches {met['a full batch']:,}"
        ),
        f"  checked     {sums.events:,} events  violations {len(sums.failed)} of {sums.worlds:,} worlds",
    )
    return "\n".join(lines)
