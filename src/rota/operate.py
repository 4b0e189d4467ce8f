"""The operators' verbs, each once: run now, pause, resume, stop, hold, unhold, cancel, requeue, clear, and the audit.

Command line, HTTP and pages are skins over these functions. Targets in the audit have one form for ever:
`all`, `job:NAME`, `roster:NAME`, `member:ROSTER/KEY`, `turn:JOB@ROSTER/KEY`, `turn:JOB`, `turn:ID`, `dead:ID`,
`error:FINGERPRINT`, `cache:PREFIX*`.

Always true: what changes something leaves one audit row, in the transaction of the change (a Redis cache, which has no
part in it, first); what changes nothing leaves none, save a stop, which is recorded each time.

Not here: joining and leaving, syncing and evening out (rosters), reading (insight), the statements (store/operators).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from rota.cache import Cache
from rota.define.catalog import Catalog
from rota.define.contract import Place
from rota.define.names import checked_choice, clean_text
from rota.define.options import checked_priority
from rota.define.units import duration_ms, instant_ms, shown
from rota.errors import BadInput, Conflict, IllegalTransition, NotFound
from rota.insight.known import known_job, known_member, known_roster
from rota.store import chores, operators, pauses
from rota.store.operators import Acted, Deed, Requeued, Standing, Which
from rota.store.pauses import StillRunning
from rota.store.port import Op
from rota.store.store import Store

__all__ = [
    "Cancelled",
    "Requeued",
    "RunNow",
    "Stop",
    "cancel",
    "clear_cache",
    "hold",
    "pause",
    "requeue",
    "resume",
    "resume_all",
    "run_now",
    "stop_all",
    "unhold",
]

Duration = timedelta | str

MOST_LISTED = 1_000  # attempts in the answer of a stop; more are counted by `rota status`
MOST_REQUEUED = 10_000  # dead letters of one cause in one act: one transaction of a second or two; call again for more
LOOK_S = 0.2  # how often a waiting stop looks: five small reads a second, for as long as somebody waits
PLAIN_SPREAD_MS = 600_000  # ten minutes, the spread of a catch-up that says nothing else


class RunNow(NamedTuple):
    """A run started by hand: `created` is False when it ran, was due or asked for already; `paused` says by whom."""

    turn: int
    run: int
    created: bool
    paused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What a stop found: whether it was the first, what still runs, and how much of that no live worker keeps."""

    first: bool
    running: tuple[StillRunning, ...]

    @property
    def unheard(self) -> tuple[StillRunning, ...]:
        """Attempts whose worker has not been heard of for longer than its lease."""
        return tuple(one for one in self.running if one.over)


class _Rules:
    """What the catalog says about the turns of an act; `priority` goes before that of the jobs."""

    def __init__(self, catalog: Catalog, priority: int | None = None) -> None:
        self._catalog, self._priority = catalog, priority

    def next_slot(self, turn: Standing, after_ms: int) -> int | None:
        schedule = self._catalog.job(turn.job).schedule
        return None if schedule is None else schedule.next_slot(after_ms, _place(turn))

    def passed(self, turn: Standing) -> tuple[int | None, int]:
        schedule = self._catalog.job(turn.job).schedule
        if schedule is None or turn.slot_at is None or turn.slot_at > turn.now:
            return turn.slot_at, 0
        place = _place(turn)
        missed = schedule.count_between(turn.slot_at, turn.now, place)
        return (schedule.last_slot(turn.now, place) if missed else turn.slot_at), missed

    def leaders(self, job: str) -> int:
        spec = self._catalog.jobs.get(job)
        return (1 << len(spec.after)) - 1 if spec is not None else 0

    def followers(self, job: str) -> Sequence[tuple[str, int, int]]:
        return [(one.spec.name, one.bit, one.leaders) for one in self._catalog.followers.get(job, ())]

    def min_gap_ms(self, job: str) -> int:
        spec = self._catalog.jobs.get(job)
        return (spec.min_gap_ms or 0) if spec is not None else 0

    def priority(self, job: str) -> int:
        spec = self._catalog.jobs.get(job)
        declared = spec.priority if spec is not None else 0
        return declared if self._priority is None else self._priority


def _place(turn: Standing) -> Place:
    return Place(turn.phase_ms, turn.zone, json.loads(turn.data) if turn.data else {})


async def run_now(
    store: Store, job: str, member: str | None = None, *, reason: str | None = None, by: str = "local"
) -> RunNow:
    """Run a job for a member now, or a scheduled job without a roster; slots stay where they are.

    A run that is running, due, or asked for already is answered with `created` False. Raises NotFound for an unknown
    job or member, BadInput where a member is missing or too many, Conflict inside the job's `min_gap`.
    """
    spec = store.catalog.job(job)
    if spec.one_off:
        raise BadInput(f"{job} is a one-off, it has no turn to run: enqueue it")
    if (member is None) != (spec.each is None):
        wanted = f"a member of {spec.each}" if spec.each else "no member"
        raise BadInput(f"{job} runs for {wanted}, but the call says {shown(member)}")
    which = Which(job=job, roster=spec.each, member=member)
    deed = deed_of(by, "run_now", _turn_target(which), reason)
    rules = _Rules(store.catalog)
    started = await store.write(lambda: operators.run_now(which, rules, deed), wakes=True)
    if started is None:
        await known_member(store, spec.each, member)
        raise NotFound(
            f"{job} has no turn yet for this member: `rota roster sync`, or any worker, adds it within a minute"
        )
    name = f"{spec.each}/{member}" if member is not None else None
    held = await store.read(lambda: pauses.active(name))
    who = next((one for one in held if (one.scope, one.name) in _felt(job, spec.each, name)), None)
    return RunNow(*started, f"paused by {who.by}: {who.reason}" if who is not None else None)


def _felt(job: str, roster: str | None, member: str | None) -> set[tuple[str, str | None]]:
    return {("all", "*"), ("job", job), ("roster", roster), ("member", member)}


async def pause(
    store: Store,
    *,
    job: str | None = None,
    roster: str | None = None,
    member: str | None = None,
    reason: str,
    until: datetime | None = None,
    by: str = "local",
) -> None:
    """Pause one job, roster or member ("roster/key"): once this has returned, nothing of it is claimed anywhere.

    Pausing again changes reason, end and author. Raises BadInput without a reason, with an end that has passed, or
    with more or less than one target; NotFound when the target does not exist.
    """
    scope, name = _one_target(job, roster, member)
    await _known(store, scope, name)
    deed = deed_of(by, "pause", f"{scope}:{name}", needed(reason, "a pause"))
    until_at = None if until is None else instant_ms(until, name="until")
    now = store.clock.now_ms()
    if until_at is not None and until_at <= now:
        raise BadInput(f"until must lie ahead, but {shown(until)} has passed")
    since = await store.write(lambda: pauses.pause(scope, name, until_at, deed), gate="exclusive", wakes=True)
    store.events.tell("job.paused", now, scope=scope, name=name, by=by, reason=deed.reason, since=since)


async def resume(
    store: Store,
    *,
    job: str | None = None,
    roster: str | None = None,
    member: str | None = None,
    reason: str | None = None,
    by: str = "local",
) -> bool:
    """End a pause; what was missed is made up as each job's `catch_up` says. False when nothing was paused."""
    scope, name = _one_target(job, roster, member)
    deed = deed_of(by, "resume", f"{scope}:{name}", reason)
    ended = await store.write(lambda: pauses.resume(scope, name, deed), gate="exclusive", wakes=True)
    if not ended:
        await _known(store, scope, name)
        return False
    store.events.tell("job.resumed", store.clock.now_ms(), scope=scope, name=name, by=by)
    return True


async def stop_all(
    store: Store,
    reason: str,
    *,
    running: str = "finish",
    wait: Duration | float | None = None,
    by: str = "local",
) -> Stop:
    """Stop everything: once this has returned, nothing is claimed anywhere and no handler starts two seconds later.

    `running="cancel"` cancels what runs. With `wait` it returns when nothing runs any more, or what runs has lost its
    worker, or the time is over. Stopping again is safe: the first one stays on record.
    """
    checked_choice(running, ("finish", "cancel"), what="running=")
    deed = deed_of(by, "stop", "all", needed(reason, "a stop"))
    wait_s = _seconds(wait)
    cancel = running == "cancel"
    done = await store.write(lambda: pauses.stop(deed, cancel=cancel, most=MOST_LISTED), gate="exclusive", wakes=True)
    if done.first:
        store.events.tell("stop", store.clock.now_ms(), by=by, reason=deed.reason, running=running)
    left = done.running
    for _ in range(math.ceil(wait_s / LOOK_S)):  # counted, not timed: a held clock would never get there
        if all(one.over for one in left):
            break
        await store.clock.sleep(LOOK_S)
        left = await store.read(lambda: pauses.running(MOST_LISTED))
    return Stop(first=done.first, running=tuple(left))


async def resume_all(
    store: Store,
    *,
    catch_up: str | None = None,
    spread: Duration = "10m",
    reason: str | None = None,
    by: str = "local",
) -> bool:
    """End the stop of everything; False when nothing was stopped.

    Missed slots are made up as each job says, or with `catch_up` (latest, all, none) for every job, over `spread`.
    """
    if catch_up is not None:
        checked_choice(catch_up, ("latest", "all", "none"), what="catch_up=")
    spread_ms = duration_ms(spread, name="spread")
    said = catch_up is not None or spread_ms != PLAIN_SPREAD_MS
    deed = deed_of(by, "resume", "all", reason)
    ended = await store.write(
        lambda: pauses.resume_all(deed, catch_up=catch_up, spread_ms=spread_ms if said else None),
        gate="exclusive",
        wakes=True,
    )
    if ended:
        store.events.tell("resume", store.clock.now_ms(), by=by, catch_up=catch_up)
    return ended


async def hold(
    store: Store,
    *,
    job: str | None = None,
    member: str | None = None,
    id: int | str | None = None,
    reason: str,
    by: str = "local",
) -> list[int]:
    """Keep turns from running until a person lets them go; the turns that are held by this.

    Which: a run (`id`), a member ("roster/key", one or all of its jobs), or a scheduled job without a roster. Raises
    IllegalTransition when all that was found runs, NotFound when nothing was found.
    """
    which = _which(store, job, member, id)
    deed = deed_of(by, "hold", _turn_target(which), needed(reason, "a hold"))
    acted = await store.write(lambda: operators.hold(which, deed))
    _check_found(which, acted)
    if acted.running and not acted.changed:
        names = ", ".join(sorted({turn.job for turn in acted.running}))
        raise IllegalTransition(
            f"{names} is running, so there is nothing to hold: cancel it, or wait until it has ended"
        )
    return [turn.id for turn in acted.changed]


async def unhold(
    store: Store,
    *,
    job: str | None = None,
    member: str | None = None,
    id: int | str | None = None,
    reason: str | None = None,
    by: str = "local",
) -> list[int]:
    """Let held turns go: they are due now, and slots stay; the turns that are let go, none if none was held."""
    which = _which(store, job, member, id)
    deed = deed_of(by, "unhold", _turn_target(which), reason)
    rules = _Rules(store.catalog)
    acted = await store.write(lambda: operators.unhold(which, rules, deed), wakes=True)
    _check_found(which, acted)
    return [turn.id for turn in acted.changed]


class Cancelled(NamedTuple):
    """Turns whose run was cancelled, and those that run and were wished to stop."""

    cancelled: list[int]
    wished: list[int]


async def cancel(
    store: Store,
    *,
    job: str | None = None,
    member: str | None = None,
    id: int | str | None = None,
    reason: str | None = None,
    by: str = "local",
) -> Cancelled:
    """Cancel runs: a waiting or held turn goes on to its next slot, a one-off goes and frees its key.

    What runs is wished to stop: its worker cancels the handler and settles it as cancelled. Raises NotFound when there
    is nothing of that name, Conflict when there was nothing to cancel.
    """
    which = _which(store, job, member, id)
    deed = deed_of(by, "cancel", _turn_target(which), reason)
    rules = _Rules(store.catalog)
    acted = await store.write(lambda: operators.cancel(which, rules, deed), wakes=True)
    _check_found(which, acted)
    if not acted.changed and not acted.running:
        raise Conflict(f"there is nothing to cancel for {_turn_target(which)}: it waits for the job it follows")
    return Cancelled([turn.id for turn in acted.changed], [turn.id for turn in acted.running])


async def requeue(
    store: Store,
    *,
    id: int | str | None = None,
    error: str | None = None,
    spread: Duration | None = None,
    priority: int | None = None,
    reason: str | None = None,
    by: str = "local",
) -> list[Requeued]:
    """Make new runs of dead letters: one (`id` of the letter, or of the run, "4711-3"), or the open ones of a cause.

    Members' are manual runs and obey `min_gap`; one-offs are new turns with the same arguments, and with `priority`
    instead of their job's where it is said. `spread` lays many out over a time. Raises NotFound for an unknown id,
    Conflict for one that was requeued already or whose member left.
    """
    if (id is None) == (error is None):
        raise BadInput("requeue takes either id= (a dead letter or its run) or error= (the fingerprint of a cause)")
    letter, run = _letter_id(id)
    target = f"error:{error}" if error is not None else f"dead:{id}"
    deed = deed_of(by, "requeue", target, reason)
    spread_ms = 0 if spread is None else duration_ms(spread, name="spread")
    rules = _Rules(store.catalog, None if priority is None else checked_priority(priority))

    def found() -> Op[list[operators.Letter]]:
        return operators.letters(id=letter, run=run, error=error, most=MOST_REQUEUED)

    return await store.write(
        lambda: operators.requeue(found, rules, deed, spread_ms=spread_ms, alone=error is None), wakes=True
    )


async def clear_cache(
    store: Store, cache: Cache, *, prefix: str = "", reason: str | None = None, by: str = "local"
) -> int:
    """Delete the cache's entries under a prefix, all of them without one; how many there were."""
    deed = deed_of(by, "clear_cache", f"cache:{prefix}*", reason)
    if cache.kind == "table":
        return await store.write(lambda: chores.clear_cache(prefix, deed))
    count = await cache.delete_prefix(prefix)
    await store.write(lambda: operators.recorded(deed, count, {"kind": cache.kind}))
    return count


def deed_of(by: str, act: str, target: str, reason: str | None) -> Deed:
    """What the audit keeps of an act; BadInput where nobody says who does it."""
    if not by.strip():
        raise BadInput(f"by= must name who does it, not {shown(by)}")
    return Deed(clean_text(by, most=512), act, target, None if reason is None else clean_text(reason))


def needed(reason: str, what: str) -> str:
    """The reason, where an act may not be without one."""
    if not reason.strip():
        raise BadInput(f"{what} needs a reason, because others will wonder: say reason=")
    return reason


def _one_target(job: str | None, roster: str | None, member: str | None) -> tuple[str, str]:
    given = [
        (scope, name) for scope, name in (("job", job), ("roster", roster), ("member", member)) if name is not None
    ]
    if len(given) != 1:
        raise BadInput(f"say exactly one of job=, roster= and member=, not {len(given)} of them")
    return given[0]


async def _known(store: Store, scope: str, name: str) -> None:
    if scope == "job":
        await known_job(store, name)
    elif scope == "roster":
        await known_roster(store, name)
    else:
        roster, key = _member_name(name)
        await known_member(store, roster, key)


def _member_name(member: str) -> tuple[str, str]:
    roster, slash, key = member.partition("/")
    if not slash or not roster or not key:
        raise BadInput(f'a member is named "roster/key", not {shown(member)}')
    return roster, key


def _which(store: Store, job: str | None, member: str | None, id: int | str | None) -> Which:
    if id is not None:
        if job is not None or member is not None:
            raise BadInput("say either id= or member= and job=, not both")
        turn, run = _run_id(id)
        return Which(turn=turn, run=run)
    if member is not None:
        roster, key = _member_name(member)
        return Which(job=job, roster=roster, member=key)
    if job is None:
        raise BadInput('say which: id= (a run such as "4711-3"), member="roster/key", or job=')
    spec = store.catalog.job(job)
    if spec.each is not None or spec.one_off:
        what = (
            f"runs for each of {spec.each}: say member= too, or pause the job" if spec.each else "is a one-off: say id="
        )
        raise BadInput(f"{job} {what}")
    return Which(job=job)


def _run_id(id: int | str) -> tuple[int, int | None]:
    """The turn, and the run where it is said, of 4711, "4711" or "4711-3"."""
    turn, dash, run = str(id).partition("-")
    if not turn.isascii() or not turn.isdigit() or (dash and not (run.isascii() and run.isdigit())):
        raise BadInput(f'the id of a run looks like "4711-3", not {shown(id)}')
    return int(turn), int(run) if dash else None


def _letter_id(id: int | str | None) -> tuple[int | None, tuple[int, int] | None]:
    if id is None:
        return None, None
    first, run = _run_id(id)
    return (first, None) if run is None else (None, (first, run))


def _turn_target(which: Which) -> str:
    if which.turn is not None:
        return f"turn:{which.turn}" if which.run is None else f"turn:{which.turn}-{which.run}"
    if which.member is None:
        return f"turn:{which.job}"
    who = f"{which.roster}/{which.member}"
    return f"member:{who}" if which.job is None else f"turn:{which.job}@{who}"


def _check_found(which: Which, acted: Acted) -> None:
    if not acted.found:
        raise NotFound(f"there is no turn for {_turn_target(which)}: it has ended, or never was")


def _seconds(wait: Duration | float | None) -> float:
    if wait is None:
        return 0.0
    if isinstance(wait, int | float) and not isinstance(wait, bool):
        return float(wait)
    return duration_ms(wait, name="wait") / 1000
