"""Reading the store: rows with names, and the operations that fetch them.

Always true: nothing here changes anything; every list has a limit; no read grows with the runs that are over, save
those that list them, which look at a bounded number of rows.

Not here: what the numbers mean (insight), a sentence about them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rota.store.port import Op, query
from rota.store.sql import Call

NEWEST = 2**62  # an id no row has: "from the newest on"
SCAN = 20_000  # journal rows one page looks at for a filter: 20 ms on either store


class JobRow(NamedTuple):
    """A job as the store knows it; one that was only ever enqueued has no roster, schedule or target."""

    name: str
    roster: str | None
    schedule: str
    target_ms: int | None
    grace_ms: int
    position: int


class RosterRow(NamedTuple):
    """A roster as the store knows it."""

    name: str
    facets: str
    synced_at: int | None
    sync_note: str | None


class JobCount(NamedTuple):
    """What a job has due, coming, running, held, dead and stale, as if no job or roster were paused.

    `coming` turns are due within the hour, `next_hour` times; `waiting` is counted for a job without members only.
    """

    job: str
    due: int
    coming: int
    next_hour: int
    running: int
    held: int
    dead: int
    stale: int
    waiting: int
    next_due_at: int | None


class Tally(NamedTuple):
    """The last count of a job that a chore made; `causes` is JSON, `looked` the rows of the largest figure."""

    job: str
    due: int
    next_hour: int
    waiting: int
    held: int
    dead: int
    looked: int
    causes: str
    counted_at: int


class StaleGroup(NamedTuple):
    """Stale turns of one job with one cause; `since` is the first failure, or when the first became stale.

    `more`: there may be more of them, as not all that is stale was looked at.
    """

    job: str
    roster: str | None
    error: str | None
    turns: int
    since: int
    member: str | None
    more: bool = False


class WorkerRow(NamedTuple):
    """A worker as its last beat left it."""

    incarnation: str
    name: str
    kind: str
    version: str
    started_at: int
    beat_at: int
    lease_until: int
    concurrency: int
    queues: str
    running: int
    note: str | None
    now: int

    @property
    def alive(self) -> bool:
        """Whether its lease holds."""
        return self.lease_until >= self.now


class MemberRow(NamedTuple):
    """A member of a roster."""

    key: str
    zone: str | None
    data: str
    owner: str | None
    weight: int
    joined_at: int
    updated_at: int


class TurnRow(NamedTuple):
    """A member's turn with its job's target, its last error and its worker."""

    id: int
    job: str
    state: str
    due_at: int | None
    slot_at: int | None
    manual: int
    paused: int
    run: int
    attempt: int
    tries: int
    losses: int
    last_success_at: int | None
    stale_at: int | None
    failing_since: int | None
    error: str | None
    reason: str | None
    start_at: int | None
    slot: int | None
    phase_ms: int
    pinned: int
    target_ms: int | None
    grace_ms: int
    error_kind: str | None
    error_message: str | None
    error_place: str | None
    worker: str | None
    lease_until: int | None
    now: int


class RunRow(NamedTuple):
    """One row of the journal."""

    id: int
    turn: int
    run: int
    attempt: int
    job: str
    roster: str | None
    member: str | None
    slot_at: int | None
    due_at: int | None
    started_at: int | None
    ended_at: int
    worker: str | None
    outcome: str
    reason: str | None
    link: str | None
    error: str | None
    slots: int


class DeadLetter(NamedTuple):
    """A run that used up its tries."""

    id: int
    turn: int
    run: int
    job: str
    roster: str | None
    member: str | None
    key: str | None
    args: str | None
    slot_at: int | None
    tries: int
    losses: int
    reason: str
    error: str | None
    died_at: int
    requeued_at: int | None
    requeued_as: str | None


class ErrorGroup(NamedTuple):
    """Failures of one cause."""

    job: str
    fingerprint: str
    kind: str
    message: str
    place: str | None
    traceback: str | None
    first_at: int
    last_at: int
    times: int
    turn: int | None
    run: int | None


class AuditRow(NamedTuple):
    """Who did what, on what, how many, and why."""

    id: int
    at: int
    by: str
    act: str
    target: str
    number: int
    reason: str | None
    detail: str | None


class StateCount(NamedTuple):
    """Members in one state: of a job, or (job '') by their worst one; 0 paused … 4 stale."""

    job: str
    state: int
    members: int
    oldest_at: int | None


class Freshness(NamedTuple):
    """Members of a roster by state, for one job or (job '') for their worst one; `oldest_at` is the oldest success."""

    job: str
    members: int
    fresh: int
    late: int
    stale: int
    new: int
    paused: int
    oldest_at: int | None
    counted_at: int


class Filters(NamedTuple):
    """Which runs to list; None is any. `before` is where the last page ended."""

    job: str | None = None
    roster: str | None = None
    member: str | None = None
    turn: int | None = None
    run: int | None = None
    outcome: str | None = None
    error: str | None = None
    since_at: int | None = None
    before: int | None = None


class Page(NamedTuple):
    """Rows of the journal, and where the next page begins; None when there is no more."""

    items: list[RunRow]
    before: int | None


def jobs() -> Op[list[JobRow]]:
    """Every job the store knows, in the order of declaration."""
    rows = yield from query("jobs")
    return sorted((JobRow(*row) for row in rows), key=lambda job: (job.position, job.name))


def rosters() -> Op[list[RosterRow]]:
    """Every roster the store knows."""
    return [RosterRow(*row) for row in (yield from query("rosters"))]


def job_counts(asked: Sequence[tuple[str, int, int]], most: int) -> Op[list[JobCount]]:
    """What each job (name, period, 1 without members) has, each figure of each priority counted up to `most`."""
    found = [JobCount(*row) for row in (yield Call("job_counts", {"most": most}, asked))]
    return [one._replace(next_hour=one.next_hour or one.coming) for one in found]


def tallies(jobs: Iterable[str]) -> Op[dict[str, Tally]]:
    """The last counts of some jobs that a chore made."""
    return {row[0]: Tally(*row) for row in (yield Call("tallies", {}, [(job,) for job in jobs]))}


def stale_groups(job: str, most: int, groups: int) -> Op[list[StaleGroup]]:
    """Stale turns of a job by cause, most first, of those `most` that have been stale longest."""
    return [StaleGroup(*row) for row in (yield from query("stale_groups", job=job, most=most, groups=groups))]


def same_cause(job: str, error: str, most: int) -> Op[tuple[int, int]]:
    """How many turns of a job are stale for one cause, and how many were looked at: at most `most`."""
    rows = yield from query("same_cause", job=job, error=error, most=most)
    return int(rows[0][0]), int(rows[0][1])


def member_states(roster: str, after: str, upto: str) -> Op[list[StateCount]]:
    """Members with keys in (after, upto] by state."""
    return [StateCount(*row) for row in (yield from query("member_states", roster=roster, after=after, upto=upto))]


def freshness_of(roster: str) -> Op[list[Freshness]]:
    """The last count of a roster that a chore made."""
    return [Freshness(*row) for row in (yield from query("freshness_of", roster=roster))]


def workers(most: int) -> Op[list[WorkerRow]]:
    """Workers, the oldest first; those that ended in order are gone."""
    return [WorkerRow(*row) for row in (yield from query("workers", most=most))]


def member(roster: str, key: str) -> Op[MemberRow | None]:
    """A member, or None."""
    rows = yield from query("member_row", roster=roster, key=key)
    return MemberRow(*rows[0]) if rows else None


def member_turns(roster: str, key: str, most: int) -> Op[list[TurnRow]]:
    """A member's turns, by job."""
    return [TurnRow(*row) for row in (yield from query("member_turns", roster=roster, member=key, most=most))]


def runs(filters: Filters, most: int) -> Op[Page]:
    """The journal, newest first: by the index of turns where a member or turn is asked for, else the newest rows."""
    before = NEWEST if filters.before is None else filters.before
    values = {"job": filters.job, "error": filters.error, "outcome": filters.outcome, "since_at": filters.since_at}
    if filters.turn is None and filters.member is None:
        return (yield from _newest_runs({**values, "roster": filters.roster, "before": before}, most))
    ids = [(filters.turn,)] if filters.turn is not None else None
    if ids is None:
        rows = yield from query("ids_of_member", roster=filters.roster, member=filters.member)
        ids = [(row[0],) for row in rows]
    found = yield from query("runs_of_turns", ids, **values, run=filters.run, before=before, most=most)
    items = [RunRow(*row) for row in found]
    return Page(items, items[-1].id if len(items) == most else None)


def _newest_runs(values: Mapping[str, object], most: int) -> Op[Page]:
    found = yield from query("runs", **values, scan=SCAN, most=most)
    items = [RunRow(*row) for row in found]
    if len(items) == most:
        return Page(items, items[-1].id)
    looked = yield from query("runs_scanned", before=values["before"], scan=SCAN)
    last, count = looked[0]
    return Page(items, last if count == SCAN else None)
