"""Who may run now: what a claimer asks for, and the judgement on turns that come late.

A turn claimed about on time runs. One that comes late after an outage, a pause or a stop is judged by its
job's `catch_up`: it runs for the newest missed slot (spread over a bounded time where a worker would
otherwise start a stampede), for all of them one after the other, or for none. What is passed over is
accounted for in the journal (G-13).

Always true: a verdict is carried out in the transaction of the claim; a slot is never skipped without a row
that says why; a turn is put back for spreading at most once for each run.

Not here: the claim itself and the caps (store/turns.py), what happens at an attempt's end (settle.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from rota.define.catalog import Catalog
from rota.define.job import JobSpec
from rota.define.policy import CatchUp
from rota.engine.settle import place_of
from rota.store.port import Op, query
from rota.turn.gates import bounds_of
from rota.turn.records import BEGUN, Ask, Claim, Judged, Line

MARGIN_MS: Final = (
    30_000  # an attempt may outlive its time limit by this before it is given to another: cancellation takes time
)
PATIENCE_MS: Final = 60_000  # a run less than a minute late, and before its next slot, is simply late
ROWS_MOST: Final = 100  # skipped slots with a row of their own; what is older shares one row with a count
APART_MS: Final = 250  # until a run with one loss left is looked at again, when another of them runs here: a guess
_GOLDEN: Final = 0.618033988749895  # its multiples fill an interval evenly


def asks(specs: Iterable[JobSpec]) -> list[Ask]:
    """What a claimer asks for, to serve these jobs."""
    return [
        Ask(
            spec.name,
            spec.each,
            spec.timeout_ms + MARGIN_MS,
            spec.cap.n if spec.cap is not None else None,
            bounds_of(spec),
        )
        for spec in specs
    ]


class _Quiet(NamedTuple):
    """A time during which nothing ran, and how whoever ended it wants it made up (None: as each job says)."""

    scope: str
    name: str
    since: int
    ended_at: int
    catch_up: str | None
    spread_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The judge of one claimer: `spread` is how a worker catches up; a tick runs what it finds at once."""

    catalog: Catalog
    spread: bool
    catch_up: CatchUp | None = None

    def judge(self, claims: list[Claim]) -> Op[Judged]:
        """What becomes of fresh claims."""
        verdict = Judged([], [], [], [])
        late: list[Claim] = []
        for claim in claims:
            spec = self.catalog.jobs[claim.job]
            if spec.schedule is None or self._on_time(spec, spec.schedule.period_ms, claim):
                verdict.run.append(claim)
            else:
                late.append(claim)
        if late:
            quiet = yield from _quiet_times(min(claim.slot_at or 0 for claim in late))
            for claim in late:
                try:
                    self._judge_late(claim, quiet, verdict)
                except Exception:  # noqa: BLE001 -- a turn that cannot be judged runs as it stands, and stops no other
                    verdict.run.append(claim)
        return verdict

    @staticmethod
    def _on_time(spec: JobSpec, period_ms: int, claim: Claim) -> bool:
        if claim.slot_at is None or claim.manual or claim.tries != 1:
            return True
        if claim.caught == BEGUN:
            return claim.claimed_at - (claim.due_at or 0) < min(PATIENCE_MS, period_ms)
        if spec.min_gap_ms and claim.prior_start_at and claim.claimed_at - claim.prior_start_at < spec.min_gap_ms:
            return False
        return claim.claimed_at - claim.slot_at < min(PATIENCE_MS, period_ms)

    def _judge_late(self, claim: Claim, quiet: list[_Quiet], verdict: Judged) -> None:
        spec = self.catalog.jobs[claim.job]
        late = _Late(spec, claim, self.catch_up or spec.catch_up, quiet)
        if late.too_soon:
            late.pass_over(verdict, until=claim.slot_at or 0, reason="too soon after the last start (min_gap)")
            return
        late.decide(verdict, spread=self.spread)


class _Late:
    """One late turn: its newest slot, how many were missed, and why nothing ran."""

    def __init__(self, spec: JobSpec, claim: Claim, catch_up: CatchUp, quiet: list[_Quiet]) -> None:
        self.spec, self.claim, self.policy = spec, claim, catch_up
        self.place = place_of(claim, spec)
        self.slot: int = claim.slot_at or 0
        assert spec.schedule is not None  # noqa: S101 -- only turns with a schedule are judged
        self.schedule = spec.schedule
        newest = self.schedule.last_slot(claim.claimed_at, self.place)
        self.newest = max(self.slot, newest if newest is not None else self.slot)
        self.quiet = [one for one in quiet if one.ended_at > self.slot and self._concerns(one)]
        for one in self.quiet:
            if one.catch_up is not None or one.spread_ms is not None:
                self.policy = _as_told(self.policy, one)

    def _concerns(self, one: _Quiet) -> bool:
        claim = self.claim
        names = {
            "all": "*",
            "engine": "*",
            "job": claim.job,
            "roster": claim.roster,
            "member": f"{claim.roster}/{claim.member}",
        }
        return names.get(one.scope) == one.name

    @property
    def _begun(self) -> bool:
        return self.claim.caught == BEGUN

    @property
    def too_soon(self) -> bool:
        gap, prior = self.spec.min_gap_ms, self.claim.prior_start_at
        return bool(not self._begun and gap and prior and self.claim.claimed_at - prior < gap)

    def decide(self, verdict: Judged, *, spread: bool) -> None:
        """By the job's `catch_up`."""
        if self._begun and self.newest == self.slot:
            verdict.run.append(self.claim)
            return
        none = self.policy.kind == "none"
        lateness = self.claim.claimed_at - self.newest
        if none and (lateness > max(PATIENCE_MS, self.spec.grace_ms or 0) or self._reason(self.newest, "")):
            self.pass_over(verdict, until=self.newest, reason="catch_up is none")
            return
        if self.policy.window_ms is not None and lateness > self.policy.window_ms:
            self.pass_over(verdict, until=self.newest, reason="too late by policy")
            return
        first = self._first_owed()
        if first > self.slot:
            verdict.lines.extend(self._lines(first - 1, "catch_up is none" if none else "caught up by a later slot"))
        offset = self._offset() if spread and not self.claim.caught and self.quiet else 0
        if offset:
            verdict.back.append((self.claim.id, self.claim.claimed_at + offset, first, 1))
            return
        if first != self.slot:
            verdict.newer.append((self.claim.id, first))
        verdict.run.append(self.claim._replace(slot_at=first))

    def _first_owed(self) -> int:
        """The slot to run now: the newest, or with `all` the oldest of the last `most` inside the window."""
        if self.policy.kind != "all":
            return self.newest
        since = self.slot - 1
        if self.policy.window_ms is not None:
            since = max(since, self.claim.claimed_at - self.policy.window_ms - 1)
        owed = self.schedule.slots_between(since, self.newest, self.place, self.policy.most)
        return owed[0] if owed else self.newest

    def pass_over(self, verdict: Judged, *, until: int, reason: str) -> None:
        """Skip every slot up to `until`; the turn waits for the one after."""
        verdict.lines.extend(self._lines(until, reason))
        following = self.schedule.next_slot(until, self.place)
        verdict.back.append((self.claim.id, following, following, 0))

    def _lines(self, until: int, reason: str) -> list[Line]:
        """A journal row for each skipped slot, the oldest sharing one when there are many."""
        if until < self.slot:
            return []
        shown = self.schedule.slots_between(self.slot, until, self.place, ROWS_MOST - 1)
        total = 1 + self.schedule.count_between(self.slot, until, self.place)
        if total == len(shown) + 1:
            shown = [self.slot, *shown]  # the turn's own slot is owed though a change of zone took it off the calendar
        lines = [self._line(slot, self._reason(slot, reason), 1) for slot in shown]
        if total > len(shown):
            lines.append(
                self._line(self.slot, f"{reason}; {total - len(shown)} slots from here on", total - len(shown))
            )
        return lines

    def _line(self, slot: int, reason: str, slots: int) -> Line:
        claim = self.claim
        return Line(
            claim.id,
            claim.run,
            claim.attempt,
            claim.job,
            claim.roster,
            claim.member,
            slot,
            claim.due_at,
            None,
            None,
            "skipped",
            reason,
            None,
            None,
            slots,
        )

    def _reason(self, slot: int, otherwise: str) -> str:
        for one in self.quiet:
            if one.scope != "engine" and one.since <= slot < one.ended_at:
                return "stopped" if one.scope == "all" else "paused"
        return otherwise

    def _offset(self) -> int:
        """How long to wait, so that all catch-ups fill the spread evenly, and end half way to the next slot."""
        room = self.policy.spread_ms
        following = self.schedule.next_slot(self.newest, self.place)
        if following is not None:
            room = min(room, max(0, (following - self.claim.claimed_at) // 2))
        return int(self.claim.id * _GOLDEN % 1 * room)


def _as_told(policy: CatchUp, told: _Quiet) -> CatchUp:
    """The policy that a resume asked for, where it asked."""
    spread = policy.spread if told.spread_ms is None else timedelta(milliseconds=told.spread_ms)
    return CatchUp(told.catch_up or policy.kind, window=policy.window, spread=spread, most=policy.most)


def _quiet_times(since: int) -> Op[list[_Quiet]]:
    rows = yield from query("quiet_times", since=since)
    return [_Quiet(*row) for row in rows]


def last_loss(claim: Claim, jobs: Mapping[str, JobSpec]) -> bool:
    """Whether one more loss ends this run for good."""
    return claim.losses > 0 and claim.losses + 1 >= jobs[claim.job].max_lost


def apart(judged: Judged, jobs: Mapping[str, JobSpec], *, taken: bool) -> None:
    """Of runs with one loss left, one at a time: what kills its process must not take its neighbours with it."""
    kept: list[Claim] = []
    for claim in judged.run:
        last = last_loss(claim, jobs)
        if last and taken:
            judged.back.append((claim.id, claim.claimed_at + APART_MS, claim.slot_at, claim.caught))
        else:
            taken = taken or last
            kept.append(claim)
    judged.run[:] = kept
