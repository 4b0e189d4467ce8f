"""Which policies the jobs of a world have: rates, scopes that cool, batches, serial keys, caps by key, fallbacks.

Always true: drawn from dice of its own, so that a world without policies is what it was; rates and pauses leave room
for all that a world owes within its bound of healing.

Not here: the rest of the plan (plan), what is judged (checks_policies).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from rota import Batch, Cap, Limit
from tests.sim.records import JobPlan

SHARE = 0.6  # of the worlds have policies
RATES = ("12/h", "60/h", "10/m", "3/m", "500/d")
SLOWEST_S = 300.0  # the distance of two starts at the slowest of these rates: five minutes
PAUSES = ("0s", "5s", "2m", "20m")
LONGEST_PAUSE_S = 1_200.0
REGIONS, OWNERS = ("eu", "us", "in"), ("u0", "u1", "u2", None)


def with_policies(seed: int, jobs: Sequence[JobPlan]) -> tuple[JobPlan, ...]:
    """The same jobs, some of them with policies."""
    dice = Random(f"{seed} policies")
    if dice.random() >= SHARE:
        return tuple(jobs)
    limits = (
        Limit("shop", dice.choice(RATES), burst=dice.choice((None, 3, 10))),
        Limit("ads:{region}", dice.choice(RATES), burst=dice.choice((None, 2))),
    )
    return tuple(_job(dice, one, limits) for one in jobs)


def _job(dice: Random, one: JobPlan, limits: Sequence[Limit]) -> JobPlan:
    more: dict[str, Any] = {}
    members = one.roster is not None
    if dice.random() < 0.3:
        able = limits if members else limits[:1]
        more["limit"] = dice.sample(able, dice.randint(1, len(able)))
    if dice.random() < 0.25:
        more["scope"] = dice.choice(("mail", "llm:{region}")) if members else "mail"
    if members and dice.random() < 0.2:
        more["serial"] = dice.choice(("{owner}", "{region}", "one"))
    if members and dice.random() < 0.2:
        more["cap"] = Cap(dice.choice((1, 2)), by=dice.choice(("owner", "region")))
    if members and dice.random() < 0.2:
        more["batch"] = Batch(dice.choice((2, 5, 10)), pause=dice.choice(PAUSES))
    together = "batch" in more and not one.plain and dice.random() < 0.4
    links = () if together or one.plain or one.name == "one_off" or dice.random() < 0.75 else _links(dice)
    return replace(one, options={**one.options, **more}, together=together, links=links)


def _links(dice: Random) -> tuple[str | None, ...]:
    """The scopes of the fallbacks of a job: own ones, those of others, none."""
    return tuple(dice.choice(("big", "small", "llm:{region}", None)) for _ in range(dice.randint(1, 4)))


def backlog_s(jobs: Sequence[JobPlan], members: Mapping[str, int]) -> float:
    """How long all that is owed may have to wait for room, when every turn of every job is due at once."""
    turns = [members.get(one.roster or "", 1) for one in jobs]
    limited = sum(count for one, count in zip(jobs, turns, strict=True) if "limit" in one.options)
    batches = sum(
        1 + count // one.options["batch"].size for one, count in zip(jobs, turns, strict=True) if "batch" in one.options
    )
    return 2 * limited * SLOWEST_S + batches * (LONGEST_PAUSE_S + 60)
