"""A world that fails, made small: faults left out one by one, the world halved, its time shortened.

Always true: what is left fails by the same invariant; a seed and a cut repeat it to the byte.

Not here: living a world (world), many of them (many).
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

from tests.sim.door import Weather
from tests.sim.plan import Plan
from tests.sim.records import JobPlan
from tests.sim.world import Report, live_plan

MOST = 150  # worlds lived for one shrunk script
SMALLEST = 1 / 64  # of the length
FOLLOWED = "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What is taken from a plan: kinds of fault and jobs by name, and the share of time and members that is left."""

    without: tuple[str, ...] = ()
    length: float = 1.0
    members: float = 1.0
    workers: int | None = None

    def __str__(self) -> str:
        return " ".join(f"{name}={value!r}" for name, value in asdict(self).items() if value not in {(), 1.0, None})


def parts(plan: Plan) -> list[str]:
    """Everything that can be left out of a plan, by name; first what does most."""
    kinds = [f"{kind} {name}" for kind in ("blow", "act", "deed") for name in getattr(plan, f"{kind}s")]
    weather = [
        f"weather {name}" for name in ("late", "slow", "refused", "unknown", "deaf") if getattr(plan.weather, name)
    ]
    jobs = [f"job {one.name}" for one in plan.jobs if one.name != "one_off" and not _followed(plan, one)]
    others = ["broken"] * (plan.broken is not None) + ["old releases"] * (plan.old_releases > 0)
    ticks = ["ticks"] * (plan.tick_every_s is not None and plan.workers > 0)
    return [*jobs, *kinds, *weather, *others, *ticks]


def _followed(plan: Plan, one: JobPlan) -> bool:
    return any(one.name in other.options.get(FOLLOWED, ()) for other in plan.jobs)


def trimmed(plan: Plan, cut: Cut) -> Plan:
    """The plan that is left."""
    gone = set(cut.without)
    calm = {name.removeprefix("weather "): 0.0 for name in gone if name.startswith("weather ")}
    left = {
        kind: {name: rate for name, rate in getattr(plan, kind).items() if f"{kind[:-1]} {name}" not in gone}
        for kind in ("blows", "acts", "deeds")
    }
    return replace(
        plan,
        **left,
        weather=Weather(**{**asdict(plan.weather), **calm}),
        jobs=tuple(one for one in plan.jobs if f"job {one.name}" not in gone),
        broken=None if "broken" in gone else plan.broken,
        old_releases=0.0 if "old releases" in gone else plan.old_releases,
        tick_every_s=None if "ticks" in gone else plan.tick_every_s,
        length_s=plan.length_s * cut.length,
        rosters={name: max(1, int(count * cut.members)) for name, count in plan.rosters.items()},
        workers=plan.workers if cut.workers is None else cut.workers,
    )


def shrink(
    plan: Plan, report: Report, *, most: int = MOST, lived: Callable[[Plan], Report] = live_plan
) -> tuple[Cut, Report]:
    """The smallest cut found that still breaks the same invariant, and what came of it."""
    wanted = invariant(report)
    best, shown, tried = Cut(), report, 0
    while True:
        for smaller in _smaller(plan, best):
            tried += 1
            if tried > most:
                return best, shown
            came = lived(trimmed(plan, smaller))
            if came.violation is not None and invariant(came) == wanted:
                best, shown = smaller, came
                break
        else:
            return best, shown


def invariant(report: Report) -> str:
    """Which invariant a world broke."""
    return (report.violation or "").split(":", 1)[0]


def _smaller(plan: Plan, cut: Cut) -> Iterator[Cut]:
    if cut.length > SMALLEST:
        yield replace(cut, length=cut.length / 2)
    if any(count > 1 for count in trimmed(plan, cut).rosters.values()):
        yield replace(cut, members=cut.members / 2)
    workers = plan.workers if cut.workers is None else cut.workers
    if workers > 1:
        yield replace(cut, workers=workers // 2)
    for part in parts(trimmed(plan, cut)):
        yield replace(cut, without=(*cut.without, part))
