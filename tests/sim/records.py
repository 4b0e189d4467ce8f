"""Records: a job as planned, a turn as a commit left it, a journal row, the start of a handler.

Always true: frozen; what comes from tables is read by the statements beside them.

Not here: what is judged by them (checks and its neighbours).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

FINAL = frozenset({"succeeded", "dead", "skipped", "cancelled"})
SAME_TRY = frozenset({"released", "snoozed", "held", "rate_limited", "lost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """One job: its name, its options as `rota.job` takes them, and whether its handler is a plain function.

    `later`: the schedule that a release brings, where the job has one; `together`: the handler takes a whole batch;
    `links`: the scopes of its fallbacks.
    """

    name: str
    roster: str | None
    options: Mapping[str, Any]
    later: Any = None
    plain: bool = False
    together: bool = False
    links: tuple[str | None, ...] = ()


class Turn(NamedTuple):
    """A turn as a commit left it."""

    id: int
    job: str
    roster: str | None
    member: str | None
    key: str | None
    standing: int
    state: str
    paused: int
    manual: int
    caught: int
    run: int
    attempt: int
    tries: int
    losses: int
    worker: str | None
    leased_until: int | None
    due_at: int | None
    slot_at: int | None
    start_at: int | None
    phase_ms: int
    on_end: int
    done: int
    era: int
    waits_for: str | None
    priority: int


class Line(NamedTuple):
    """A journal row."""

    turn: int
    run: int
    attempt: int
    job: str
    member: str | None
    slot_at: int | None
    worker: str | None
    outcome: str
    reason: str | None
    slots: int
    id: int
    ended_at: int
    link: str | None


class Started(NamedTuple):
    """A handler was called."""

    process: str
    job: str
    turn: int
    run: int
    attempt: int
    at_ms: int


TURN = f"SELECT {', '.join(Turn._fields)} FROM rota_turn WHERE id = ?"
LINE = f"SELECT {', '.join(Line._fields)} FROM rota_journal WHERE id = ?"


def between(old: Turn, new: Turn) -> Turn:
    """A turn after its end and before the claim that came with it in one transaction."""
    fence = {"attempt": new.attempt - 1, "tries": new.tries - 1, "worker": None, "leased_until": None}
    return new._replace(state="waiting", start_at=old.start_at, **fence)


def change(old: Turn | None, new: Turn | None) -> str:
    """What is different, in few words."""
    if new is None:
        return f"turn {old.id if old else '?'} gone"
    if old is None:
        return f"turn {new.id} new {new.job} {new.member} due={new.due_at}"
    parts = [f"{name}={was}→{now}" for name, was, now in zip(Turn._fields, old, new, strict=True) if was != now]
    return f"turn {new.id} {new.job} " + " ".join(parts)
