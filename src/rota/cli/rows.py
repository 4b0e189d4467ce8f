"""Rows of the store as JSON objects, and as cells.

Always true: camelCase, instants with Z, durations in seconds, keys as text; a field is there also when it is null.

Not here: reading the rows (insight).
"""

import json
from collections.abc import Mapping
from typing import Any

from rota.define.units import instant_text
from rota.insight.runs import MemberTurn
from rota.insight.status import pause_json
from rota.store.reads import AuditRow, DeadLetter, MemberRow, RunRow, WorkerRow


def at(ms: int | None) -> str | None:
    """An instant."""
    return None if ms is None else instant_text(ms)


def who(roster: str | None, member: str | None) -> str | None:
    """A member's name."""
    return None if member is None else f"{roster}/{member}"


def run(row: RunRow) -> dict[str, Any]:
    """An attempt that has ended."""
    took = None if row.started_at is None else (row.ended_at - row.started_at) / 1000
    return {
        "id": f"{row.turn}-{row.run}",
        "attempt": row.attempt,
        "job": row.job,
        "member": who(row.roster, row.member),
        "outcome": row.outcome,
        "slotAt": at(row.slot_at),
        "dueAt": at(row.due_at),
        "startedAt": at(row.started_at),
        "endedAt": at(row.ended_at),
        "duration": took,
        "worker": row.worker,
        "reason": row.reason,
        "link": row.link,
        "error": row.error,
        "slots": row.slots,
    }


def outcome(one: Mapping[str, Any]) -> str:
    """What a run came to; where another link than the first answered, which one (why is its reason)."""
    if one["link"] is None or one["outcome"] != "succeeded" or one["reason"] is None:
        return str(one["outcome"])
    return f"OK by fallback {one['link']}"


def letter(row: DeadLetter) -> dict[str, Any]:
    """A dead letter; its arguments are not shown, they may be private."""
    return {
        "id": row.id,
        "run": f"{row.turn}-{row.run}",
        "job": row.job,
        "member": who(row.roster, row.member),
        "key": row.key,
        "slotAt": at(row.slot_at),
        "tries": row.tries,
        "losses": row.losses,
        "reason": row.reason,
        "error": row.error,
        "diedAt": at(row.died_at),
        "requeuedAt": at(row.requeued_at),
        "requeuedAs": row.requeued_as,
    }


def member(row: MemberRow, roster: str) -> dict[str, Any]:
    """A member."""
    return {
        "roster": roster,
        "key": row.key,
        "zone": row.zone,
        "data": json.loads(row.data),
        "owner": row.owner,
        "weight": row.weight,
        "joinedAt": at(row.joined_at),
    }


def turn(found: MemberTurn) -> dict[str, Any]:
    """A turn of a member, with its state in the eyes of people."""
    row = found.turn
    return {
        "job": row.job,
        "turn": row.id,
        "run": f"{row.id}-{row.run}",
        "state": found.state,
        "doing": row.state,
        "paused": pause_json(found.pause),
        "dueAt": at(row.due_at),
        "slotAt": at(row.slot_at),
        "slot": row.slot,
        "pinned": bool(row.pinned),
        "tries": row.tries,
        "lastSuccessAt": at(row.last_success_at),
        "staleAt": at(row.stale_at),
        "failingSince": at(row.failing_since),
        "error": row.error,
        "reason": row.reason,
    }


def audit(row: AuditRow) -> dict[str, Any]:
    """An act."""
    return {
        "id": row.id,
        "at": at(row.at),
        "by": row.by,
        "act": row.act,
        "target": row.target,
        "count": row.number,
        "reason": row.reason,
        "detail": None if row.detail is None else json.loads(row.detail),
    }


def worker(row: WorkerRow) -> dict[str, Any]:
    """A worker."""
    return {
        "name": row.name,
        "kind": row.kind,
        "version": row.version,
        "alive": row.alive,
        "startedAt": at(row.started_at),
        "beatAt": at(row.beat_at),
        "concurrency": row.concurrency,
        "running": row.running,
        "queues": row.queues,
        "note": row.note,
    }
