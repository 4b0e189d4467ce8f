"""The year of every scheduler: each lives it in its own interpreter, and is judged here.

Always true: a scheduler answers with the instants of its runs only.

Not here: how each lives it (the `*_year.py` of each), and the judging (days.py).
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.children import ROOT
from benchmarks.peers.environments import interpreter
from benchmarks.sidebyside.days import Days, Drift, judge_days, judge_drift
from benchmarks.sidebyside.moments import END, HOUR, MINUTE, PERIOD, START, ZONE

SCHEDULERS = (
    ("Celery beat, crontab / schedule", "celery", "celery_year"),
    ("APScheduler 3, CronTrigger / IntervalTrigger", "apscheduler3", "apscheduler_year"),
    ("APScheduler 4 alpha, triggers only", "apscheduler4", "apscheduler4_year"),
    ("rota, daily / every", "", "rota_year"),
)
PERIOD_MS = round(PERIOD.total_seconds() * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """One scheduler's year: of the time of day, of the period, and of the period with an outage where it has one."""

    name: str
    days: Days
    period: Drift
    outage: Drift | None
    expression: Days | None


def lived() -> list[Lived]:
    """Send every scheduler through the year."""
    found = []
    for name, peer, script in SCHEDULERS:
        python = interpreter(peer) if peer else sys.executable
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        command = [python, "-m", f"benchmarks.sidebyside.{script}"]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"{name}: its year failed:\n{done.stderr[-2000:]}"
            raise RuntimeError(message)
        found.append(_judged(name, json.loads(done.stdout)))
    return found


def _judged(name: str, runs: dict[str, list[int]]) -> Lived:
    """What its runs say, for each rule that it was given."""
    return Lived(
        name=name,
        days=_days(runs["02:30"]),
        period=_drift(runs["24 h"]),
        outage=_drift(runs["24 h, outage"]) if "24 h, outage" in runs else None,
        expression=_days(runs["cron"]) if "cron" in runs else None,
    )


def _days(runs_ms: list[int]) -> Days:
    return judge_days(runs_ms, START.year, (HOUR, MINUTE), ZONE)


def _drift(runs_ms: list[int]) -> Drift:
    first_ms = round((START + PERIOD).timestamp() * 1000)
    return judge_drift(runs_ms, first_ms, PERIOD_MS, round(END.timestamp() * 1000))
