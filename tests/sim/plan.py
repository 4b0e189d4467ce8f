"""A world from a seed: who works, what is declared, what goes wrong and how often, before anything moves.

Always true: equal seeds give equal plans; about half of the kinds of fault are off in each, and the rates of the
others are spread over two orders of magnitude, or frequent faults would hide rare ones (swarm testing).

Not here: carrying it out (world, chaos).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from rota import CatchUp, Retry, cron, daily, every, weekly
from tests.sim.door import Weather

DAY_S = 86_400
RUNS = 150  # regular runs of one job in one world, about: more would only be more of the same
POLLS = 800  # polls of one worker in one world: sets how slowly a long world is polled

# Days on which clocks change somewhere, and plain ones.
STARTS_MS = (
    1_767_225_600_000,  # 2026-01-01
    1_774_569_600_000,  # 2026-03-27, two days before Europe's gap
    1_772_755_200_000,  # 2026-03-06, two days before America's gap
    1_792_713_600_000,  # 2026-10-23, two days before Europe's fold
    1_775_088_000_000,  # 2026-04-02, before Lord Howe's half-hour fold
    1_709_164_800_000,  # 2024-02-29
)
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland"),
    *("America/Sao_Paulo", "Asia/Kathmandu", "Africa/Cairo", "Pacific/Apia", "Antarctica/Troll", "Asia/Tokyo"),
)
DEEDS = (  # what a handler may do instead of ending well
    *("raises", "retryable", "snoozes", "skips", "holds", "fails", "limited", "overruns", "deaf", "freezes", "kills"),
    *("steps", "pauses", "lingers", "enqueues"),
)
ACTS = (  # what people do
    *("run_now", "pause", "resume", "stop", "resume_all", "hold", "unhold", "requeue", "cancel"),
    *("leave", "rejoin", "move", "enqueue", "rebalance"),
)
BLOWS = ("freeze", "kill", "drain", "shut", "outage", "step", "skew")  # what happens to processes and clocks


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """One job: its name, its options as `rota.job` takes them, and whether its handler is a plain function."""

    name: str
    roster: str | None
    options: Mapping[str, Any]
    plain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is settled before the world begins; rates are per handler call or per hour.

    `pace`: how many times as slowly the engine polls, beats and tidies up; `lease_share`: how short a lease is;
    `old_releases`: the share of workers that run the release before.
    """

    seed: int
    start_ms: int
    length_s: float
    pace: float
    lease_share: float
    old_releases: float
    workers: int
    concurrency: int
    tick_every_s: float | None
    rosters: Mapping[str, int]
    jobs: tuple[JobPlan, ...]
    weather: Weather
    deeds: Mapping[str, float]
    acts: Mapping[str, float]
    blows: Mapping[str, float]


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    dice = Random(seed)
    length_s = dice.choice((1, 3, 7, 14, 21)) * DAY_S
    rosters = {f"r{number}": _log(dice, 5, 100) for number in range(dice.randint(1, 2))}
    rosters = {name: int(count) for name, count in rosters.items()}
    workers = dice.randint(0, 4)
    return Plan(
        seed=seed,
        start_ms=dice.choice(STARTS_MS) + dice.randrange(DAY_S) * 1000,
        length_s=length_s,
        pace=max(1.0, length_s / POLLS),
        lease_share=dice.choice((0.2, 0.2, 1.0)),
        old_releases=Random(f"{seed} releases").choice((0.0, 0.0, 0.5)),
        workers=workers,
        concurrency=dice.choice((1, 3, 8, 32)),
        tick_every_s=None if workers and dice.random() < 0.5 else length_s / dice.choice((30, 100, 200)),
        rosters=rosters,
        jobs=tuple(_jobs(dice, rosters, length_s)),
        weather=_weather(dice),
        deeds=_swarm(dice, DEEDS, 0.003, 0.2),
        acts=_swarm(dice, ACTS, 3 * 3600 / length_s, 40 * 3600 / length_s),
        blows=_swarm(dice, BLOWS, 1 * 3600 / length_s, 15 * 3600 / length_s),
    )


def _log(dice: Random, low: float, high: float) -> float:
    return low * (high / low) ** dice.random()


def _swarm(dice: Random, kinds: tuple[str, ...], low: float, high: float) -> dict[str, float]:
    return {kind: _log(dice, low, high) for kind in kinds if dice.random() < 0.5}


def _weather(dice: Random) -> Weather:
    rates = _swarm(dice, ("late", "slow", "refused", "unknown", "deaf"), 0.001, 0.1)
    return Weather(**rates, most_s=_log(dice, 0.05, 20))


def _jobs(dice: Random, rosters: Mapping[str, int], length_s: float) -> list[JobPlan]:
    found: list[JobPlan] = []
    for number in range(dice.randint(3, 6)):
        roster = dice.choice([*rosters, *rosters, None])
        members = rosters[roster] if roster else 1
        name = f"job{number}"
        leaders = [one for one in found if one.roster == roster and "one_off" not in one.name]
        options = _policy(dice)
        if leaders and dice.random() < 0.3:
            options["after"] = [one.name for one in dice.sample(leaders, min(len(leaders), dice.randint(1, 2)))]
            options.pop("catch_up")
        else:
            options["schedule"], gap_s = _schedule(dice, length_s, members, in_roster=roster is not None)
            if dice.random() < 0.3:
                options["min_gap"] = f"{int(gap_s * dice.choice((0.1, 0.5, 0.8)))}s"
            if dice.random() < 0.15:
                options["first_run"] = "now"
        found.append(JobPlan(name=name, roster=roster, options=options, plain=dice.random() < 0.15))
    found.append(JobPlan(name="one_off", roster=None, options={"retry": _retry(dice), "timeout": "5m"}))
    return found


def _policy(dice: Random) -> dict[str, Any]:
    options: dict[str, Any] = {
        "retry": _retry(dice),
        "timeout": dice.choice(("30s", "5m", "10m", "1h")),
        "catch_up": dice.choice(("latest", "latest", "all", "none", CatchUp("all", most=3), CatchUp(window="2h"))),
        "priority": dice.choice((0, 0, 0, -5, 5)),
        "max_lost": dice.choice((1, 3, 3)),
    }
    if dice.random() < 0.3:
        options["cap"] = dice.choice((1, 2, 5))
    if dice.random() < 0.2:
        options["after_death"] = "hold"
    return options


def _retry(dice: Random) -> Retry:
    return dice.choice((Retry(), Retry(tries=1), Retry(delays=["10s", "20s", "40s"]), Retry(tries=4, first="1m")))


def _schedule(dice: Random, length_s: float, members: int, *, in_roster: bool) -> tuple[Any, float]:
    """A schedule that gives about `RUNS` runs at most, and the shortest gap of its slots in seconds."""
    fits = [period for period in (900, 1800, 3600, 21_600, DAY_S) if members * length_s / period <= RUNS]
    period = dice.choice([*fits, 7 * DAY_S] if fits else [7 * DAY_S])
    kind = dice.random()
    if kind < 0.5:
        options = {"slot": "1h", "within": "20m"} if period >= DAY_S and dice.random() < 0.3 else {}
        return every(f"{period}s", **options), period
    if period < DAY_S:
        minutes = period // 60
        text = f"*/{minutes} * * * *" if minutes < 60 else f"7 */{minutes // 60} * * *"
        return cron(text, zone=dice.choice(ZONES)), min(period, 1200)
    window = dice.choice((None, None, "15m", "1h"))
    if period == DAY_S:
        at = "at" if in_roster and dice.random() < 0.5 else dice.choice(("02:30", "00:00", "08:00", "23:59:59"))
        return daily(at, within=window), 82_800
    day = "day" if in_roster and dice.random() < 0.5 else dice.choice(("sun", "mon"))
    return weekly(day, dice.choice(("02:30", "09:00")), within=window), 6 * DAY_S
