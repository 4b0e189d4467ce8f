"""Single rows as the application's own objects show them: a turn, a run, the journal of a test.

Always true: a read by key, or bounded.

Not here: lists for operators (reads.py).
"""

from typing import Any

from rota.store.port import Op, query

_TURN = ("state", "due_at", "slot_at", "run", "tries", "last_success_at", "stale_at", "result", "now")
_JOURNAL = (
    "turn",
    "run",
    "attempt",
    "job",
    "roster",
    "member",
    "slot_at",
    "due_at",
    "started_at",
    "ended_at",
    "worker",
    "outcome",
    "reason",
    "link",
    "error",
    "slots",
)


def state_of(turn: int, run: int) -> Op[str | None]:
    """The state of a turn while its run is this one, else the outcome with which that run ended."""
    rows = yield from query("view_run", turn=turn, run=run)
    if rows:
        state: str = rows[0][0]
        return state
    ended = yield from query("view_end", turn=turn, run=run)
    return ended[0][0] if ended else None


def turn_of(job: str, roster: str | None, member: str | None) -> Op[dict[str, Any] | None]:
    """A standing turn by its member, or the one of a job without a roster."""
    if member is None:
        rows = yield from query("view_alone", job=job)
    else:
        rows = yield from query("view_turn", job=job, roster=roster, member=member)
    return dict(zip(_TURN, rows[0], strict=True)) if rows else None


def journal(most: int) -> Op[list[dict[str, Any]]]:
    """The newest rows of the journal, oldest first."""
    rows = yield from query("view_journal", most=most)
    return [dict(zip(_JOURNAL, row, strict=True)) for row in reversed(rows)]
