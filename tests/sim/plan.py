"""A world from a seed: who works, what is declared, what goes wrong and how often, before anything moves.

Always true: equal seeds give equal plans; about half of the kinds of fault are off in each, and the rates of the
others are spread over two orders of magnitude, or frequent faults would hide rare ones (swarm testing).

Not here: carrying it out (world, blows, people), making a plan smaller (shrink).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from rota import CatchUp, Retry, cron, daily, every, weekly
from tests.sim.door import Weather
from tests.sim.plan_policies import with_policies
from tests.sim.records import JobPlan

DAY_S = 86_400
YEARS_S = 5 * 365.25 * DAY_S
POLLS = (100, 500)  # polls of one worker in one world: sets how slowly a long world is polled
POLLS_OF_YEARS = (1500, 3000)

# Days on which clocks change somewhere, and plain ones.
STARTS_MS = (
    1_767_225_600_000,  # 2026-01-01
    1_774_569_600_000,  # 2026-03-27, two days before Europe's gap
    1_772_755_200_000,  # 2026-03-06, two days before America's gap
    1_792_713_600_000,  # 2026-10-23, two days before Europe's fold
    1_775_088_000_000,  # 2026-04-02, before Lord Howe's half-hour fold
    1_709_164_800_000,  # 2024-02-29
)
YEARS_START_MS = 1_685_577_600_000  # 2023-06-01: five years from here hold two leap days and ten clock changes
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland"),
    *("America/Sao_Paulo", "Asia/Kathmandu", "Africa/Cairo", "Pacific/Apia", "Antarctica/Troll", "Asia/Tokyo"),
    *("Europe/London", "America/St_Johns", "America/Santiago", "Asia/Tehran", "Pacific/Chatham", "Asia/Gaza"),
    *("America/Los_Angeles", "Africa/Casablanca"),
)
DEEDS = (  # what a handler may do instead of ending well
    *("raises", "retryable", "snoozes", "skips", "holds", "fails", "limited", "overruns", "deaf", "freezes", "kills"),
    *("steps", "pauses", "lingers", "enqueues", "unstorable", "blocks", "completes", "twofold", "spends", "refused"),
)
ACTS = (  # what people do
    *("run_now", "pause", "resume", "stop", "resume_all", "hold", "unhold", "requeue", "cancel"),
    *("leave", "rejoin", "move", "enqueue", "repeat", "rebalance"),
)
BLOWS = (  # what happens to processes, clocks and the store
    *("freeze", "kill", "drain", "shut", "outage", "step", "skew", "block", "read_only", "half_open", "release"),
)
BROKEN = (None, None, None, "receiver", "poison", "member")  # what stays broken for good while the world heals


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is settled before the world begins; rates are per handler call or per hour.

    `pace`: how many times as slowly the engine polls, beats and tidies up; `lease_share`: how short a lease is;
    `old_releases`: the share of workers that run the release before; `broken`: what stays broken while all heals.
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
    broken: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """How long a world is, how many members and workers it has at most, and about how many runs a job has."""

    length_s: float
    members: int
    workers: int
    runs: int


def plan_of(seed: int) -> Plan:
    """The plan of a seed: some weeks, a few hundred runs; one world in fifty has thousands."""
    dice = Random(seed)
    length_s = dice.choice((2, 7, 7, 14, 14, 21)) * DAY_S
    crowded = Random(f"{seed} crowd").random() < 0.02
    size = _Size(
        length_s=length_s, members=500 if crowded else 100, workers=6 if crowded else 4, runs=1000 if crowded else 150
    )
    start_ms = dice.choice(STARTS_MS) + dice.randrange(DAY_S) * 1000
    return _plan(seed, dice, size, start_ms, _log(dice, *POLLS))


def years_of(seed: int) -> Plan:
    """The plan of a seed that lives five years: rules of days, weeks and months, a few thousand runs."""
    dice = Random(f"{seed} years")
    size = _Size(length_s=YEARS_S, members=12, workers=2, runs=1500)
    return _plan(seed, dice, size, YEARS_START_MS + dice.randrange(DAY_S) * 1000, _log(dice, *POLLS_OF_YEARS))


def _plan(seed: int, dice: Random, size: _Size, start_ms: int, polls: float) -> Plan:
    rosters = {f"r{number}": int(_log(dice, min(5, size.members / 4), size.members)) for number in range(_two(dice))}
    workers = dice.randint(0, size.workers)
    hours = size.length_s / 3600
    return Plan(
        seed=seed,
        start_ms=start_ms,
        length_s=size.length_s,
        pace=max(1.0, size.length_s / polls),
        lease_share=dice.choice((0.2, 1.0, 1.0)),
        old_releases=Random(f"{seed} releases").choice((0.0, 0.0, 0.5)),
        workers=workers,
        concurrency=dice.choice((1, 3, 8, 32)),
        tick_every_s=None if workers and dice.random() < 0.5 else size.length_s / dice.choice((20, 50, 100)),
        rosters=rosters,
        jobs=with_policies(seed, _jobs(dice, rosters, size)),
        weather=_weather(dice),
        deeds=_swarm(dice, DEEDS, 0.003, 0.2),
        acts=_swarm(dice, ACTS, 3 / hours, 40 / hours),
        blows=_swarm(dice, BLOWS, 1 / hours, 15 / hours) | _leaps(seed, hours),
        broken=Random(f"{seed} broken").choice(BROKEN),
    )


def _two(dice: Random) -> int:
    return dice.randint(1, 2)


def _log(dice: Random, low: float, high: float) -> float:
    return low * (high / low) ** dice.random()


def _swarm(dice: Random, kinds: tuple[str, ...], low: float, high: float) -> dict[str, float]:
    return {kind: _log(dice, low, high) for kind in kinds if dice.random() < 0.5}


def _leaps(seed: int, hours: float) -> dict[str, float]:
    """In one world of four the store's clock is set, a few times."""
    dice = Random(f"{seed} leaps")
    return {"leap": _log(dice, 3 / hours, 20 / hours)} if dice.random() < 0.25 else {}


def _weather(dice: Random) -> Weather:
    rates = _swarm(dice, ("late", "slow", "refused", "unknown", "deaf"), 0.001, 0.1)
    return Weather(**rates, most_s=_log(dice, 0.05, 20))


def _jobs(dice: Random, rosters: Mapping[str, int], size: _Size) -> list[JobPlan]:
    found: list[JobPlan] = []
    for number in range(dice.randint(3, 6)):
        roster = dice.choice([*rosters, *rosters, None])
        name, later = f"job{number}", None
        leaders = [one for one in found if one.roster == roster]
        options = _policy(dice)
        if leaders and dice.random() < 0.3:
            options["after"] = [one.name for one in dice.sample(leaders, min(len(leaders), dice.randint(1, 2)))]
            options["if_failed"] = dice.choice(("run", "run", "skip"))
            options.pop("catch_up")
        else:
            slots = _Slots(dice, size, rosters[roster] if roster else 1, in_roster=roster is not None)
            options["schedule"], gap_s = slots.schedule()
            if dice.random() < 0.3:
                options["min_gap"] = f"{int(gap_s * dice.choice((0.1, 0.5, 0.8)))}s"
            else:
                later = slots.schedule()[0]
            if dice.random() < 0.15:
                options["first_run"] = "now"
        found.append(JobPlan(name=name, roster=roster, options=options, later=later, plain=dice.random() < 0.15))
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
    if dice.random() < 0.2:
        options["keep"] = "latest"
    return options


def _retry(dice: Random) -> Retry:
    return dice.choice((Retry(), Retry(tries=1), Retry(delays=["10s", "20s", "40s"]), Retry(tries=4, first="1m")))


@dataclass(frozen=True, slots=True)
class _Slots:
    """Schedules that give about `size.runs` runs at most, each with the shortest gap of its slots in seconds."""

    dice: Random
    size: _Size
    members: int
    in_roster: bool

    def schedule(self) -> tuple[Any, float]:
        dice, most = self.dice, self.size.runs
        lengths = (900, 1800, 3600, 21_600, DAY_S, 7 * DAY_S)
        fits = [period for period in lengths if self.members * self.size.length_s / period <= most]
        period = dice.choice([*fits, 7 * DAY_S] if len(fits) > 1 else [7 * DAY_S])
        kind = dice.random()
        if self.size.length_s >= YEARS_S and kind > 0.6:
            return self._of_months(), 27 * DAY_S
        if kind < 0.5:
            options = {"slot": "1h", "within": "20m"} if period >= DAY_S and dice.random() < 0.3 else {}
            return every(f"{period}s", **options), period
        if period < DAY_S:
            minutes = period // 60
            text = f"*/{minutes} * * * *" if minutes < 60 else f"7 */{minutes // 60} * * *"
            return cron(text, zone=dice.choice(ZONES)), min(period, 1200)
        return self._on_the_wall(period)

    def _on_the_wall(self, period: int) -> tuple[Any, float]:
        dice = self.dice
        window = dice.choice((None, None, "15m", "1h"))
        if period == DAY_S:
            own = self.in_roster and dice.random() < 0.5
            at = "at" if own else dice.choice(("02:30", "00:00", "08:00", "23:59:59"))
            return daily(at, within=window), 82_800
        day = "day" if self.in_roster and dice.random() < 0.5 else dice.choice(("sun", "mon"))
        return weekly(day, dice.choice(("02:30", "09:00")), within=window), 6 * DAY_S

    def _of_months(self) -> Any:
        """Days that some months do not have, and the one that most years do not have."""
        text = self.dice.choice(
            ("0 2 29 * *", "30 2 31 * *", "15 0 1 * *", "30 2 29 2 *", "0 9 * 2,3 1", "0 12 28 * *")
        )
        return cron(text, zone=self.dice.choice((*ZONES, None)) if self.in_roster else self.dice.choice(ZONES))
