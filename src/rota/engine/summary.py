"""What a tick did, as a record with one JSON form (`rota.tick/1`).

Always true: `due` is the sum of the nine counts; `ok` and the exit code say the same.

Not here: the text a person sees (cli).
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from rota.define.units import instant_text

COUNTS: Final = ("succeeded", "retrying", "dead", "snoozed", "skipped", "held", "cancelled", "postponed", "left")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCount:
    """What a tick did for one job; `left` was due and not started, `duration` in seconds, `error` the first message.

    `barred` of the postponed were never started: a limit had no room, or a scope cools.
    """

    job: str
    succeeded: int = 0
    retrying: int = 0
    dead: int = 0
    snoozed: int = 0
    skipped: int = 0
    held: int = 0
    cancelled: int = 0
    postponed: int = 0
    left: int = 0
    barred: int = 0
    duration: float = 0.0
    error: str | None = None

    @property
    def ended(self) -> int:
        """Runs that were started and have ended."""
        return self.due - self.left - self.barred

    @property
    def due(self) -> int:
        """Runs that were due when the job's turn came."""
        return sum(getattr(self, name) for name in COUNTS)

    def but(self, **changes: Any) -> "JobCount":
        """A copy with some fields changed."""
        return replace(self, **changes)

    def as_json(self) -> dict[str, Any]:
        """The form of `rota.tick/1`."""
        shown = {name: value for name, value in asdict(self).items() if name != "barred"}
        return {**shown, "due": self.due, "duration": round(self.duration, 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TickSummary:
    """What one tick did.

    `ok` is false when a run failed, be it to be tried again or dead; `busy` when another tick was at work;
    `stopped` tells who stopped everything; `stuck` handlers are past their time and will not end, so their process
    cannot leave in order. `waited` tells for how long it looked whether silent workers are dead. Instants are ms UTC,
    `duration` and `waited` are in seconds.
    """

    started_at_ms: int
    duration: float = 0.0
    waited: float = 0.0
    busy: bool = False
    dry_run: bool = False
    stopped: tuple[Any, ...] | None = None
    stuck: int = 0
    succeeded: int = 0
    retrying: int = 0
    dead: int = 0
    snoozed: int = 0
    skipped: int = 0
    held: int = 0
    cancelled: int = 0
    postponed: int = 0
    left: int = 0
    next_due_at_ms: int | None = None
    jobs: tuple[JobCount, ...] = ()

    @property
    def due(self) -> int:
        """Runs that were due."""
        return sum(getattr(self, name) for name in COUNTS)

    @property
    def ok(self) -> bool:
        """Whether no run failed."""
        return self.retrying + self.dead == 0

    def but(self, **changes: Any) -> "TickSummary":
        """A copy with some fields changed."""
        return replace(self, **changes)

    def as_json(self) -> dict[str, Any]:
        """One object with the schema `rota.tick/1`: camelCase, UTC instants, durations in seconds."""
        stopped = None
        if self.stopped is not None:
            by, reason, since, until = self.stopped
            stopped = {
                "by": by,
                "reason": reason,
                "since": instant_text(since),
                "until": instant_text(until) if until else None,
            }
        return {
            "schema": "rota.tick/1",
            "ok": self.ok,
            "startedAt": instant_text(self.started_at_ms),
            "duration": round(self.duration, 3),
            "waited": round(self.waited, 3),
            "busy": self.busy,
            "dryRun": self.dry_run,
            "stopped": stopped,
            "due": self.due,
            **{name: getattr(self, name) for name in COUNTS},
            "nextDueAt": None if self.next_due_at_ms is None else instant_text(self.next_due_at_ms),
            "jobs": [count.as_json() for count in self.jobs],
        }
