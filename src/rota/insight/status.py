"""The morning glance: one verdict, the rosters, the jobs, and what needs somebody.

Always true: the verdict is a sentence chosen by rules in one order (ux 4.1), the same in text, JSON and on pages; the
numbers of small rosters and of jobs with little are exact at `at`, the others are as old as their last count.

Not here: how members are counted (freshness) and what jobs have (tallies), the story of one member (why).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rota.define.units import MINUTE_MS, instant_text
from rota.insight import freshness, tallies
from rota.insight.attention import Matter, Seen, matters
from rota.insight.tallies import Counted
from rota.insight.words import about, clock, many, share
from rota.store import pauses, reads
from rota.store.pauses import Pause
from rota.store.port import Op, query
from rota.store.reads import Freshness, JobRow, WorkerRow
from rota.store.store import Store

SMALL = freshness.SMALL
QUIET_MS = 2 * MINUTE_MS  # no pass for so long, with work due for so long, is worth a sentence: a guess
MOST_WORKERS = 1_000
MOST_WAITING = 20  # limits and scopes that turns wait for without anybody being needed: `rota limit ls` has them all
MOST_MEMBER_PAUSES = 1_000
NOTHING = Freshness("", 0, 0, 0, 0, 0, 0, None, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterStatus:
    """A roster: its members by state, what is due, and how many runs the coming hour holds."""

    roster: str
    counts: Freshness
    due: int
    next_hour: int
    oldest_ms: int | None

    def as_json(self) -> dict[str, Any]:
        """The entry of `rota.status/1`."""
        counts = self.counts
        return {
            "roster": self.roster,
            "members": counts.members,
            "fresh": counts.fresh,
            "late": counts.late,
            "stale": counts.stale,
            "new": counts.new,
            "paused": counts.paused,
            "oldest": None if self.oldest_ms is None else self.oldest_ms / 1000,
            "due": self.due,
            "nextHour": self.next_hour,
            "countedAt": instant_text(self.counts.counted_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job: its turns, what they do, and the pause that holds it, its own before its roster's and everybody's.

    `counted_at`: as old as this its figures may be; `more`: at least so many are due.
    """

    job: str
    roster: str | None
    paused: Pause | None
    turns: int
    due: int
    running: int
    held: int
    dead: int
    next_due_at: int | None
    counted_at: int
    more: bool = False

    def as_json(self) -> dict[str, Any]:
        """The entry of `rota.status/1`."""
        return {
            "job": self.job,
            "roster": self.roster,
            "paused": pause_json(self.paused),
            "turns": self.turns,
            "due": self.due,
            "running": self.running,
            "held": self.held,
            "dead": self.dead,
            "nextDueAt": None if self.next_due_at is None else instant_text(self.next_due_at),
            "countedAt": instant_text(self.counted_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `rota status` shows; instants are ms UTC, durations ms."""

    application: str
    environment: str | None
    at: int
    stopped: Pause | None
    rosters: tuple[RosterStatus, ...]
    jobs: tuple[JobStatus, ...]
    matters: tuple[Matter, ...]
    waiting: tuple[Matter, ...]
    runs: int
    succeeded: int
    dead: int
    alive: int
    lost: int
    last_pass_at: int | None
    due_since: int | None
    reasons: int
    verdict: str

    def as_json(self) -> dict[str, Any]:
        """The object of `rota status --json`, in the form of design 17."""
        return {
            "schema": "rota.status/1",
            "application": self.application,
            "environment": self.environment,
            "at": instant_text(self.at),
            "verdict": self.verdict,
            "stopped": pause_json(self.stopped),
            "rosters": [one.as_json() for one in self.rosters],
            "jobs": [one.as_json() for one in self.jobs],
            "attention": [one.as_json() for one in self.matters],
            "waiting": [one.as_json() for one in self.waiting],
            "last24h": {"runs": self.runs, "succeeded": self.succeeded, "dead": self.dead},
            "workers": {"alive": self.alive, "lost": self.lost},
            "lastPassAt": None if self.last_pass_at is None else instant_text(self.last_pass_at),
        }


def pause_json(pause: Pause | None) -> dict[str, Any] | None:
    """Who paused, why, since and until when; None where nothing is paused."""
    if pause is None:
        return None
    until = None if pause.until is None else instant_text(pause.until)
    return {"by": pause.by, "reason": pause.reason, "since": instant_text(pause.since), "until": until}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the verdict is made from; instants are ms UTC."""

    at: int
    stopped: Pause | None = None
    due: int = 0
    more: bool = False
    due_since: int | None = None
    last_pass_at: int | None = None
    alive: int = 0
    lost: int = 0
    members: int = 0
    fresh: int = 0
    late: int = 0
    stale: int = 0
    paused: int = 0
    reasons: int = 1


def verdict(facts: Facts) -> str:
    """The first of the rules that applies, as a sentence.

    >>> verdict(Facts(at=0, members=3, fresh=3))
    'Every member is fresh.'
    """
    if facts.stopped is not None:
        stop = facts.stopped
        return f"Everything is stopped since {clock(stop.since, facts.at)} by {stop.by}: '{stop.reason}'."
    if _quiet(facts):
        since = f"for {about(facts.at - facts.last_pass_at)} " if facts.last_pass_at is not None else "yet "
        runs = f"{'at least ' if facts.more else ''}{many(facts.due, 'run is', 'runs are')}"
        return f"Nothing has been started or settled {since}though {runs} due."
    if facts.lost and not facts.alive:
        return f"No worker is alive; {many(facts.lost, 'was', 'were')} lost."
    active = facts.members - facts.paused
    if facts.stale:
        behind = many(facts.stale, "is", "are")
        reasons = "all for one reason" if facts.reasons == 1 else f"for {facts.reasons} reasons"
        return f"{share(facts.fresh, active)} of members are fresh. {behind} stale, {reasons}."
    if facts.late:
        return f"All members are fresh or within grace; {many(facts.late, 'is', 'are')} late."
    return _all_well(facts, active)


def _quiet(facts: Facts) -> bool:
    """Whether work has been due, and nothing has looked for it, for longer than a pause between two passes."""
    if not facts.due or facts.due_since is None or facts.at - facts.due_since < QUIET_MS:
        return False
    return facts.last_pass_at is None or facts.at - facts.last_pass_at >= QUIET_MS


def _all_well(facts: Facts, active: int) -> str:
    if not facts.members:
        return "There are no members yet."
    if not active:
        return "Every member is paused."
    if facts.fresh == active:
        return "Every member is fresh."
    if not facts.fresh:
        return "No member has run yet."
    return f"Every member that has run is fresh; {many(active - facts.fresh, 'has', 'have')} not run yet."


async def status(store: Store, *, application: str = "rota", environment: str | None = None) -> Status:
    """The state of everything the store holds."""
    base = await store.read(lambda: _base(store))
    names = {row.name for row in base.rosters} | set(store.catalog.rosters)
    names |= {job.roster for job in base.jobs if job.roster is not None}
    counts: dict[str, Mapping[str, Freshness]] = {}
    for name in sorted(names):
        counts[name] = await store.read(lambda: freshness.current(name, base.at))  # noqa: B023 -- awaited at once
    job_list = [_job(base, job, counts) for job in base.jobs]
    roster_list = [_roster(base, name, counts[name], job_list) for name in sorted(names)]
    present = [job for job in base.jobs if job.name in store.catalog.jobs or base.turns.get(job.name) != 0]
    found = await matters(store, Seen(base.at, present, base.pauses, base.workers, base.counts))
    total = [one.counts for one in roster_list]
    due = sum(job.due for job in job_list)
    waiting = [job.next_due_at for job in job_list if job.due and job.next_due_at is not None]
    alive = sum(1 for one in base.workers if one.alive)
    facts = Facts(
        at=base.at,
        stopped=base.stopped,
        due=due,
        more=any(job.more for job in job_list),
        due_since=min(waiting, default=None),
        last_pass_at=base.last_pass_at,
        alive=alive,
        lost=len(base.workers) - alive,
        members=sum(one.members for one in total),
        fresh=sum(one.fresh for one in total),
        late=sum(one.late for one in total),
        stale=sum(one.stale for one in total),
        paused=sum(one.paused for one in total),
        reasons=found.reasons,
    )
    return Status(
        application=application,
        environment=environment,
        at=base.at,
        verdict=verdict(facts),
        stopped=base.stopped,
        rosters=tuple(roster_list),
        jobs=tuple(job_list),
        matters=found.matters,
        waiting=found.waiting[:MOST_WAITING],
        runs=base.day[0],
        succeeded=base.day[1],
        dead=base.day[2],
        alive=facts.alive,
        lost=facts.lost,
        last_pass_at=base.last_pass_at,
        due_since=facts.due_since,
        reasons=found.reasons,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What is read first, in one go."""

    at: int
    jobs: Sequence[JobRow]
    rosters: Sequence[reads.RosterRow]
    counts: Mapping[str, Counted]
    turns: Mapping[str, int | None]
    pauses: Mapping[tuple[str, str], Pause]
    workers: Sequence[WorkerRow]
    day: tuple[int, int, int]
    last_pass_at: int | None

    @property
    def stopped(self) -> Pause | None:
        return self.pauses.get(("all", "*"))


def _base(store: Store) -> Op[_Base]:
    now = (yield from query("now"))[0][0]
    known = _with_declared(store, (yield from reads.jobs()))
    rosters = yield from reads.rosters()
    counts = yield from tallies.counts(store, known, now)
    turns = yield from _turns(known, counts)
    held = yield from pauses.active()
    rows = yield from query("sums_of_day")
    last = yield from query("meta", name="pass_at")
    return _Base(
        at=now,
        jobs=known,
        rosters=rosters,
        counts=counts,
        turns=turns,
        pauses={(one.scope, one.name): one for one in held},
        workers=(yield from reads.workers(MOST_WORKERS)),
        day=(int(rows[0][0]), int(rows[0][1]), int(rows[0][2])),
        last_pass_at=int(last[0][0]) if last else None,
    )


def _turns(known: Sequence[JobRow], counts: Mapping[str, Counted]) -> Op[dict[str, int | None]]:
    """How many turns each job has, None where they are too many to count: then the last count of members says it."""
    of_members = [(job.name, job.roster) for job in known if job.roster is not None]
    members = yield from query("turns_of_jobs", of_members, most=SMALL + 1)
    found: dict[str, int | None] = {name: count if count <= SMALL else None for name, count in members}
    alone = [counts[job.name].figures for job in known if job.roster is None]
    return found | {one.job: one.waiting + one.running + one.held for one in alone}


def _with_declared(store: Store, known: Sequence[JobRow]) -> list[JobRow]:
    """The jobs of the code in their order, those that the store does not know yet included, then the others."""
    rows = {job.name: job for job in known}
    for place, spec in enumerate(store.catalog.ordered()):
        row = rows.get(spec.name)
        if row is None or (row.roster is None and spec.each is not None):
            grace_ms = spec.grace_ms if spec.grace_ms is not None else MINUTE_MS
            row = JobRow(spec.name, spec.each, spec.describe(), spec.target_ms, grace_ms, place)
        rows[spec.name] = row._replace(position=place)
    declared = store.catalog.jobs
    return sorted(rows.values(), key=lambda job: (job.name not in declared, job.position, job.name))


def _job(base: _Base, job: JobRow, counts: Mapping[str, Mapping[str, Freshness]]) -> JobStatus:
    counted = base.counts[job.name]
    found = counted.figures
    paused = pause_of(base.pauses, job.name, job.roster)
    turns = base.turns.get(job.name)
    if turns is None:
        turns = counts.get(job.roster or "", {}).get(job.name, NOTHING).members
    return JobStatus(
        job=job.name,
        roster=job.roster,
        paused=paused,
        turns=turns,
        due=0 if paused else found.due,
        running=found.running,
        held=found.held,
        dead=found.dead,
        next_due_at=None if paused else found.next_due_at,
        counted_at=counted.at,
        more=counted.more and not paused,
    )


def pause_of(held: Mapping[tuple[str, str], Pause], job: str, roster: str | None) -> Pause | None:
    """The pause that holds a job: its own, its roster's, or everybody's."""
    return held.get(("job", job)) or held.get(("roster", roster or "")) or held.get(("all", "*"))


def _roster(base: _Base, name: str, counts: Mapping[str, Freshness], jobs: Sequence[JobStatus]) -> RosterStatus:
    mine = [job for job in jobs if job.roster == name]
    coming = [base.counts[job.job].figures.next_hour for job in mine if job.paused is None]
    found = counts.get(freshness.WORST) or NOTHING._replace(counted_at=base.at)
    return RosterStatus(
        roster=name,
        counts=found,
        due=sum(job.due for job in mine),
        next_hour=sum(coming),
        oldest_ms=None if found.oldest_at is None else base.at - found.oldest_at,
    )
