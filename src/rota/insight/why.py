"""Why a member is as it is, in sentences: what is behind → what happened since → what comes by itself → who else.

Always true: the order is fixed, so the same facts give the same text on the command line, in HTTP and on pages; a
member with nothing to tell gets one line that says so and what comes next.

Not here: the member's turns as data (runs), commands that would help (cli).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rota.define.names import zone_of
from rota.errors import NotFound
from rota.insight import tallies
from rota.insight.alike import LEAST, Alike, alike
from rota.insight.known import member_of_text
from rota.insight.status import pause_of
from rota.insight.waits import told
from rota.insight.words import about, clock, many, short
from rota.store import pauses, reads
from rota.store.pauses import Pause
from rota.store.port import Op, query
from rota.store.reads import TurnRow
from rota.store.store import Store

MOST_TURNS = 500  # jobs of one member
MOST_FAILURES = 100  # beyond it the sentence says "more than"
MOST_TRIES = 1_000  # of which failures are counted

PAUSED, FRESH, NEW, LATE, STALE = range(5)
_MARKS = ("‖", "●", "◌", "◷", "▲")
_WORDS = ("paused", "fresh", "new: it has not run yet", "late", "stale")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One turn of the member with everything its paragraph needs."""

    turn: TurnRow
    state: int
    pause: Pause | None
    failures: int
    causes: int
    others: int
    alike: tuple[Alike, ...]
    known: bool
    policy: str
    alive: int
    waits: str = ""


async def why(store: Store, name: str, job: str | None = None, *, zone: str = "UTC") -> str:
    """Say why a member ("roster/key", or its key where only one roster has it) is fresh or not, for one or all jobs.

    Raises NotFound for an unknown member or a job it has no turn for, BadInput where several rosters have the key.
    """
    zone_of(zone)
    roster, key = await member_of_text(store, name)
    cases = await store.read(lambda: _cases(store, roster, key, job, zone))
    if not cases:
        what = f"no turn of {job}" if job is not None else "no turns: no job runs for its roster yet"
        if job is not None:
            raise NotFound(f"{roster}/{key} has {what}")
        return f"◌ {key} has {what}."
    worst = max(case.state for case in cases)
    telling = [case for case in cases if case.state != FRESH or case.turn.state == "held" or case.waits]
    if not telling:
        return f"● {key} is fresh. Everything is on time. {_next(cases)}".rstrip()
    lines = [f"{_MARKS[worst]} {key} is {_WORDS[worst]}."]
    for case in sorted(telling, key=lambda case: (-case.state, case.turn.job)):
        lines += [line for line in _paragraph(case, roster, zone) if line]
    return "\n".join(lines)


def state_of(turn: TurnRow, pause: Pause | None) -> int:
    """The member's state for one job: paused, fresh, new, late or stale."""
    if turn.paused or pause is not None:
        return PAUSED
    if turn.stale_at is not None and turn.stale_at < turn.now:
        return STALE
    if turn.last_success_at is None:
        return NEW
    if turn.stale_at is not None and turn.stale_at - turn.grace_ms < turn.now:
        return LATE
    return FRESH


def _cases(store: Store, roster: str, key: str, job: str | None, zone: str) -> Op[list[_Case]]:
    turns = yield from reads.member_turns(roster, key, MOST_TURNS)
    name = f"{roster}/{key}"
    held = {(one.scope, one.name): one for one in (yield from pauses.active(name))}
    workers = yield from reads.workers(MOST_TURNS)
    alive = sum(1 for worker in workers if worker.alive)
    cases: list[_Case] = []
    for turn in turns:
        if job is not None and turn.job != job:
            continue
        pause = held.get(("member", name)) or pause_of(held, turn.job, roster)
        case = yield from _case(store, turn, pause, alive)
        cases.append(replace(case, alike=(yield from _alike(store, roster, case))))
    return (yield from _waits(store, cases, zone))


def _waits(store: Store, cases: Sequence[_Case], zone: str) -> Op[list[_Case]]:
    """What keeps those waiting that nothing pauses, other than their time."""
    asked = [case.turn for case in cases if case.turn.state == "waiting" and case.pause is None]
    found = yield from told(store.catalog, [(one.id, one.job, one.due_at) for one in asked], zone)
    return [replace(case, waits=found.get(case.turn.id, "")) for case in cases]


def _alike(store: Store, roster: str, case: _Case) -> Op[tuple[Alike, ...]]:
    """What the members that fail with this one share, where there are enough of them."""
    spec = store.catalog.rosters.get(roster)
    if spec is None or case.turn.error is None or case.others + 1 < LEAST:
        return ()
    return tuple((yield from alike(roster, spec.facets, case.turn.job, case.turn.error)))


def _case(store: Store, turn: TurnRow, pause: Pause | None, alive: int) -> Op[_Case]:
    failures = causes = others = 0
    if turn.failing_since is not None and turn.error is not None:
        found = yield from query("failures_since", turn=turn.id, since_at=turn.failing_since, scan=MOST_TRIES)
        failures, causes = found[0]
        same = yield from tallies.same_cause(turn.job, turn.error, turn.now)
        itself = turn.stale_at is not None and turn.stale_at < turn.now and not turn.paused
        others = same - int(itself)
    spec = store.catalog.jobs.get(turn.job)
    return _Case(
        turn=turn,
        state=state_of(turn, pause),
        pause=pause,
        failures=failures,
        causes=causes,
        others=others,
        alike=(),
        known=spec is not None or not store.catalog.jobs,
        policy=spec.after_death if spec is not None else "next",
        alive=alive,
    )


def _paragraph(case: _Case, roster: str, zone: str) -> Sequence[str]:
    return (_behind(case, zone), _since(case, zone), _by_itself(case, zone), _others(case, roster))


def _behind(case: _Case, zone: str) -> str:
    """What is behind, and by how much."""
    turn = case.turn
    goal = ""
    if turn.target_ms is not None:
        goal = f"; the target is {about(turn.target_ms)}, grace {about(turn.grace_ms)}"
    if turn.last_success_at is None:
        return f"{turn.job} has never succeeded{goal}."
    when = clock(turn.last_success_at, turn.now, zone)
    return f"{turn.job} last succeeded {about(turn.now - turn.last_success_at)} ago ({when}){goal}."


def _since(case: _Case, zone: str) -> str:
    """What has happened since."""
    turn = case.turn
    if turn.failing_since is None or turn.error_message is None:
        return ""
    where = f" ({turn.error_place})" if turn.error_place else ""
    each = "each time" if case.causes <= 1 else "the last time"
    what = f"{turn.error_kind}: {short(turn.error_message)}{where}"
    since = clock(turn.failing_since, turn.now, zone)
    if case.failures == 0:
        return f"It has failed since {since}: {what}."
    number = "more than 100 times" if case.failures > MOST_FAILURES else many(case.failures, "time", "times")
    if case.failures == 1:
        return f"Since {since} it failed once: {what}."
    return f"Since {since} it failed {number}; {each} {what}."


def _by_itself(case: _Case, zone: str) -> str:
    """What the system will do, or that it will not."""
    turn, pause = case.turn, case.pause
    if pause is not None:
        until = f" until {clock(pause.until, turn.now, zone)}" if pause.until is not None else ""
        what = {"all": "Everything is stopped", "member": "It is paused"}.get(
            pause.scope, f"The {pause.scope} {pause.name} is paused"
        )
        after = "it goes on by itself" if pause.until is not None else "nothing runs until someone resumes it"
        return (
            f"{what} by {pause.by} since {clock(pause.since, turn.now, zone)}{until}: {short(pause.reason)}; {after}."
        )
    if turn.state == "held":
        policy = (
            "Its policy holds a member after the last try, so"
            if case.policy == "hold" and turn.error
            else "It is on hold, so"
        )
        reason = f" ({short(turn.reason)})" if turn.reason else ""
        return f"{policy} nothing runs until someone acts{reason}."
    if turn.state == "running":
        return _running(turn)
    if not case.known:
        return "This release does not know the job, so nothing here will run it."
    return _waiting(case, zone)


def _running(turn: TurnRow) -> str:
    where = f" on {turn.worker}" if turn.worker else ""
    since = f" for {about(turn.now - turn.start_at)}" if turn.start_at is not None else ""
    lost = turn.lease_until is None or turn.lease_until < turn.now
    return (
        f"It runs now{where}{since}{', but that worker has not been heard of: it will be given back' if lost else ''}."
    )


def _waiting(case: _Case, zone: str) -> str:
    turn = case.turn
    if case.waits:
        return case.waits
    if turn.due_at is None:
        return "It waits for the job that it follows."
    if turn.due_at > turn.now:
        when = f"at {clock(turn.due_at, turn.now, zone)}, in {about(turn.due_at - turn.now)}"
        return f"It will be tried again {when}." if turn.tries else f"It runs next {when}."
    late = f"It is due since {clock(turn.due_at, turn.now, zone)}"
    if not case.alive:
        return f"{late} and no worker is alive: start one, or run `rota tick`."
    return f"{late}; {many(case.alive, 'worker is', 'workers are')} alive and will take it when there is room."


def _others(case: _Case, roster: str) -> str:
    if case.others <= 0:
        return ""
    same = f"{case.others:,} other {roster} {'fails' if case.others == 1 else 'fail'} the same way."
    return " ".join([same, *(one.sentence(roster) for one in case.alike)])


def _next(cases: Sequence[_Case]) -> str:
    coming = [(case.turn.due_at, case.turn.job, case.turn.now) for case in cases if case.turn.due_at is not None]
    if not coming:
        return ""
    due_at, job, now = min(coming)
    return f"Next: {job} in {about(due_at - now)}." if due_at > now else f"Next: {job}, due now."
