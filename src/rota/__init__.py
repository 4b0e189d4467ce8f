"""rota: recurring work for every one of your users.

Say "this job, for each seller, every 24 hours", and rota keeps one standing entry for each member of the
roster, spreads them evenly, runs each on time, retries, and can always say who is fresh and who is not.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rota.app.job import Handle, Job
    from rota.app.roster import Roster
    from rota.app.rota import Rota
    from rota.define.outcome import Fail, Hold, Outcome, PauseJob, RateLimited, Retryable, Skip, Snooze
    from rota.define.policy import Batch, Cap, CatchUp, Limit, Retry
    from rota.define.roster import Member
    from rota.define.run import Run
    from rota.define.schedule import cron, daily, every, weekly
    from rota.engine.summary import TickSummary
    from rota.events import Event

__all__ = [
    "Batch",
    "Cap",
    "CatchUp",
    "Event",
    "Fail",
    "Handle",
    "Hold",
    "Job",
    "Limit",
    "Member",
    "Outcome",
    "PauseJob",
    "RateLimited",
    "Retry",
    "Retryable",
    "Roster",
    "Rota",
    "Run",
    "Skip",
    "Snooze",
    "TickSummary",
    "cron",
    "daily",
    "every",
    "weekly",
]

# Where each name lives. It is imported when it is first asked for, so that `rota --version`, and a module that needs
# one name, do not pay for the engine.
_HOMES = {
    "Handle": "rota.app.job",
    "Job": "rota.app.job",
    "Roster": "rota.app.roster",
    "Rota": "rota.app.rota",
    "Fail": "rota.define.outcome",
    "Hold": "rota.define.outcome",
    "Outcome": "rota.define.outcome",
    "PauseJob": "rota.define.outcome",
    "RateLimited": "rota.define.outcome",
    "Retryable": "rota.define.outcome",
    "Skip": "rota.define.outcome",
    "Snooze": "rota.define.outcome",
    "Batch": "rota.define.policy",
    "Cap": "rota.define.policy",
    "CatchUp": "rota.define.policy",
    "Limit": "rota.define.policy",
    "Retry": "rota.define.policy",
    "Member": "rota.define.roster",
    "Run": "rota.define.run",
    "cron": "rota.define.schedule",
    "daily": "rota.define.schedule",
    "every": "rota.define.schedule",
    "weekly": "rota.define.schedule",
    "TickSummary": "rota.engine.summary",
    "Event": "rota.events",
}
_MODULES = {"errors", "http", "testing"}  # public modules


def __getattr__(name: str) -> object:
    """A public name, imported now and kept."""
    if name in _MODULES:
        return importlib.import_module(f"rota.{name}")
    home = _HOMES.get(name)
    if home is None:
        message = f"module 'rota' has no attribute {name!r}"
        raise AttributeError(message)
    found: object = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
