"""rota's year: the whole engine on a store in memory, on the clock that its own testing module gives.

Always true: public names only; each tick comes late by the same dice as everybody's wake-ups, and a run takes up to
20 minutes of that clock.

Not here: its workers (rota_side.py).
"""

import asyncio
import random
from datetime import datetime, timedelta

from benchmarks.sidebyside.moments import END, HOUR, LATEST_S, MINUTE, OUTAGE, PERIOD, SEED, START, ZONE, answer
from rota import Rota, cron, daily, every
from rota.testing import isolated

LONGEST_RUN_S = 1200.0  # of a job that runs every day; a guess


async def year(rule, *, outage: bool) -> list[datetime]:
    """The instants at which a handler begins in a year."""
    rota = Rota(name="year")
    dice = random.Random(SEED)
    ran: list[datetime] = []

    @rota.job(schedule=rule)
    async def job() -> None:
        ran.append(clock.now())
        clock.advance(timedelta(milliseconds=round(dice.random() * LONGEST_RUN_S * 1000)))

    async with isolated(rota, start=START) as t:
        clock = t.clock
        await t.drain()
        while clock.now() < END:
            turn = await job.turn()
            due_at = max(turn.due_at, clock.now())
            if outage and OUTAGE[0] <= due_at < OUTAGE[1]:
                due_at = OUTAGE[1]
            clock.set(due_at + timedelta(milliseconds=round(dice.random() * LATEST_S * 1000)))
            await t.drain()
    return [at for at in ran if at < END]


async def all_rules() -> dict[str, list[datetime]]:
    """Every rule's year."""
    at = f"{HOUR:02}:{MINUTE:02}"
    hours = f"{PERIOD // timedelta(hours=1)}h"
    return {
        "02:30": await year(daily(at, zone=ZONE), outage=False),
        "cron": await year(cron(f"{MINUTE} {HOUR} * * *", zone=ZONE), outage=False),
        "24 h": await year(every(hours, zone=ZONE), outage=False),
        "24 h, outage": await year(every(hours, zone=ZONE), outage=True),
    }


if __name__ == "__main__":
    answer(asyncio.run(all_rules()))
