"""The lists: runs, dead letters, causes, members, workers, the audit.

Always true: newest first, never more than was asked for, and never more than `MOST` at once; the next page begins
where the last one ended (`before`), whatever was added meanwhile.

Not here: what the rows say about a member (why) or about everything (status).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from rota.define.names import checked_choice
from rota.define.units import instant_ms, shown
from rota.errors import BadInput, NotFound
from rota.insight.known import member_of_text
from rota.insight.status import pause_of
from rota.insight.why import state_of
from rota.store import pauses, reads
from rota.store.pauses import Pause
from rota.store.port import Op, Row, query
from rota.store.reads import AuditRow, DeadLetter, ErrorGroup, Filters, MemberRow, Page, TurnRow, WorkerRow
from rota.store.store import Store
from rota.turn.states import JOURNAL_OUTCOMES

MOST = 500  # rows of one page (G-25)
STATES = ("paused", "fresh", "new", "late", "stale")

_Row = TypeVar("_Row")


def _limit(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise BadInput(f"limit must be a whole number from 1 to {MOST}, not {shown(limit)}")
    return limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows to list; what is None does not matter.

    `member` is "roster/key", `id` a turn or a run ("4711-3"), `error` a fingerprint, `before` where a page ended.
    """

    job: str | None = None
    roster: str | None = None
    member: str | None = None
    id: str | int | None = None
    outcome: str | None = None
    error: str | None = None
    since: datetime | None = None
    before: int | None = None


ALL = Wanted()


async def runs(store: Store, wanted: Wanted = ALL, *, limit: int = 50) -> Page:
    """Attempts that have ended, newest first.

    Filters that no index serves look at a bounded number of rows: a page may hold fewer than `limit` and still have
    a `before` to go on from.
    """
    if wanted.outcome is not None:
        checked_choice(wanted.outcome, JOURNAL_OUTCOMES, what="the outcome")
    roster, key = wanted.roster, None
    if wanted.member is not None:
        roster, key = await member_of_text(store, wanted.member)
    turn, run = _run_id(wanted.id)
    filters = Filters(
        job=wanted.job,
        roster=roster,
        member=key,
        turn=turn,
        run=run,
        outcome=wanted.outcome,
        error=wanted.error,
        since_at=None if wanted.since is None else instant_ms(wanted.since, name="since"),
        before=wanted.before,
    )
    most = _limit(limit)
    return await store.read(lambda: reads.runs(filters, most))


def _run_id(id: str | int | None) -> tuple[int | None, int | None]:
    if id is None:
        return None, None
    turn, dash, run = str(id).partition("-")
    if not turn.isdigit() or (dash and not run.isdigit()):
        raise BadInput(f'the id of a run looks like "4711-3", not {shown(id)}')
    return int(turn), int(run) if dash else None


async def dead_letters(store: Store, wanted: Wanted = ALL, *, opened: bool = True, limit: int = 50) -> list[DeadLetter]:
    """Runs that used up their tries, newest first, by job, cause and `before`; `opened`: those not requeued."""
    before = wanted.before or reads.NEWEST
    values = {"job": wanted.job, "error": wanted.error, "opened": int(opened), "before": before}
    return await _listed(store, DeadLetter._make, "dead_letters", limit, values)


async def errors(
    store: Store, *, job: str | None = None, fingerprint: str | None = None, limit: int = 50
) -> list[ErrorGroup]:
    """Failures by cause, the last seen first."""
    return await _listed(store, ErrorGroup._make, "errors", limit, {"job": job, "fingerprint": fingerprint})


async def audit(
    store: Store, *, target: str | None = None, limit: int = 50, before: int | None = None
) -> list[AuditRow]:
    """What operators did, newest first, all or for one target."""
    values = {"target": target, "before": before or reads.NEWEST}
    return await _listed(store, AuditRow._make, "audit_list", limit, values)


async def workers(store: Store, *, limit: int = MOST) -> list[WorkerRow]:
    """Workers, and those that were lost within the last hour."""
    most = _limit(limit)
    return await store.read(lambda: reads.workers(most))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberTurn:
    """One turn of a member: its row, its state in a word, and the pause that holds it."""

    turn: TurnRow
    state: str
    pause: Pause | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDetail:
    """A member and its turns."""

    roster: str
    member: MemberRow
    turns: tuple[MemberTurn, ...]


async def member_detail(store: Store, name: str) -> MemberDetail:
    """A member ("roster/key", or its key where only one roster has it) and its turns.

    Raises NotFound for an unknown member, BadInput where several rosters have the key.
    """
    roster, key = await member_of_text(store, name)
    found = await store.read(lambda: _detail(roster, key))
    if found is None:
        raise NotFound(f"{roster}/{key} has left a moment ago")
    return found


def _detail(roster: str, key: str) -> Op[MemberDetail | None]:
    member = yield from reads.member(roster, key)
    if member is None:
        return None
    rows = yield from reads.member_turns(roster, key, MOST)
    name = f"{roster}/{key}"
    held = {(one.scope, one.name): one for one in (yield from pauses.active(name))}
    turns = []
    for row in rows:
        pause = held.get(("member", name)) or pause_of(held, row.job, roster)
        turns.append(MemberTurn(turn=row, state=STATES[state_of(row, pause)], pause=pause))
    return MemberDetail(roster=roster, member=member, turns=tuple(turns))


async def _listed(
    store: Store, make: Callable[[Row], _Row], name: str, limit: int, values: Mapping[str, object]
) -> list[_Row]:
    most = _limit(limit)
    rows = await store.read(lambda: query(name, **values, most=most))
    return [make(row) for row in rows]
