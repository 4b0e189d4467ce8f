"""The operations behind pauses and the emergency stop, as data with who, why and until.

Always true: they are written behind the exclusive gate, so that no claim that did not see them commits after them;
an ended pause stays as the record of what was paused when; a member's pause is mirrored in the flag of its turns.

Not here: what is owed after a resume (engine), turns by themselves (operators.py).
"""

from typing import NamedTuple

from rota.store.operators import Deed, recorded
from rota.store.port import Op, query
from rota.store.sql import Call

MEMBER = "member"


class Pause(NamedTuple):
    """A pause that holds: `scope` is all, job, roster or member; a member's name is "roster/key"."""

    scope: str
    name: str
    by: str
    reason: str
    since: int
    until: int | None


class StillRunning(NamedTuple):
    """An attempt that a stop found running; `over` says that its worker's lease has ended or is unknown."""

    turn: int
    run: int
    job: str
    roster: str | None
    member: str | None
    worker: str | None
    over: bool


class Stopped(NamedTuple):
    """What was said when everything was stopped, and what ran then."""

    running: list[StillRunning]
    first: bool


def active(member: str | None = None) -> Op[list[Pause]]:
    """Pauses that hold now: of everything, jobs and rosters, and of one member if asked."""
    rows = yield from query("active_pauses", member=member)
    return [Pause(*row) for row in rows]


def all_active(most: int) -> Op[list[Pause]]:
    """Pauses that hold now, members' included, oldest first."""
    rows = yield from query("all_pauses", most=most)
    return [Pause(*row) for row in rows]


def pause(scope: str, name: str, until: int | None, deed: Deed) -> Op[int]:
    """Pause a job, a roster or a member; again: who, why and until change. Since when it holds."""
    yield from query("close_pause", scope=scope, name=name)
    rows = yield from query("put_pause", scope=scope, name=name, by=deed.by, reason=deed.reason, until=until)
    touched = (yield from _mark(name, paused=1)) if scope == MEMBER else 1
    yield from recorded(deed, touched, {"until": until} if until is not None else None)
    since: int = rows[0][0]
    return since


def pause_job(job: str, reason: str) -> Op[bool]:
    """Pause a job because a handler said that it is at fault; False, and no record, where it is paused already."""
    held = yield from active()
    if any((one.scope, one.name) == ("job", job) for one in held):
        return False
    yield from pause("job", job, None, Deed("rota", "pause", f"job:{job}", reason))
    return True


def resume(scope: str, name: str, deed: Deed) -> Op[bool]:
    """End a pause; False, and nothing recorded, where none holds."""
    yield from query("close_pause", scope=scope, name=name)
    ended = yield from query("end_pause", scope=scope, name=name, said=None, spread_ms=None)
    touched = (yield from _mark(name, paused=0)) if scope == MEMBER else 1
    if not ended:
        return False
    yield from recorded(deed, touched, {"since": ended[0][0]})
    return True


def _mark(name: str, *, paused: int) -> Op[int]:
    """Set the flag of a member's turns, which are few; how many there are."""
    roster, _, member = name.partition("/")
    rows = yield Call("turns_of_members", {}, [(roster, member)])
    yield Call("mark_member", {"paused": paused}, rows)
    return len(rows)


def stop(deed: Deed, *, cancel: bool, most: int) -> Op[Stopped]:
    """Stop everything; with `cancel`, what runs is wished to stop. Stopping again is recorded and changes no more."""
    before = yield from query("stopped")
    yield from query("close_pause", scope="all", name="*")
    yield from query("put_stop", by=deed.by, reason=deed.reason)
    if cancel:
        yield Call("wish_cancel", {}, (yield Call("lock_running", {})))
    left = yield from running(most)
    yield from recorded(deed, len(left), {"running": "cancel" if cancel else "finish"})
    return Stopped(left, not before)


def running(most: int) -> Op[list[StillRunning]]:
    """Attempts that run anywhere."""
    rows = yield from query("running_turns", most=most)
    found = []
    for turn, run, job, roster, member, worker, lease_until, now in rows:
        found.append(StillRunning(turn, run, job, roster, member, worker, lease_until is None or lease_until < now))
    return found


def resume_all(deed: Deed, *, catch_up: str | None, spread_ms: int | None) -> Op[bool]:
    """End the stop and keep what was said about making up for it; False where nothing was stopped."""
    ended = yield from query("end_pause", scope="all", name="*", said=catch_up, spread_ms=spread_ms)
    if not ended:
        return False
    yield from recorded(deed, 1, {"since": ended[0][0], "catchUp": catch_up, "spreadMs": spread_ms})
    return True


class Said(NamedTuple):
    """How the resume of a stop wants its time made up: for slots in (since, ended_at]."""

    since: int
    ended_at: int
    catch_up: str | None
    spread_ms: int | None


def catch_up_said(within_ms: int) -> Op[list[Said]]:
    """What resumes of the last time said about catching up, newest first: it goes before the jobs' policies."""
    rows = yield from query("catch_up_said", within_ms=within_ms)
    return [Said(*row) for row in rows]
