"""The careful claim: for jobs whose runs share something, it looks first and decides before anything is changed.

Limits, scopes that cool, batches, serial keys and caps by key are decided here, in one transaction with what is
written: so a run that may not start is written at most once, with the instant at which it may, and one that starts is
written once, as in a plain claim.

Always true: jobs' rows are locked first, then the buckets that close whole jobs, then turns (skipping what others
hold), then further buckets; a claim waits for no turn. A job whose runs all share one bucket is looked at only as far
as there is room, unless all that is due is in sight: then each waiting turn gets its instant, unless that is so near
that the job as a whole waits.

Not here: the arithmetic of buckets (turn/gates.py), plain claims (turns.py), lateness (the `judge` that is handed in).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rota.define.policy import Limit
from rota.define.stored import read_object
from rota.store import gates, turns
from rota.store.port import Op, Row
from rota.store.sql import Call
from rota.store.turns import Claimed, Judge
from rota.turn import gates as rules
from rota.turn.gates import Bounds, Bucket, Keys
from rota.turn.records import Ask, Claim

AHEAD: Final = 64  # turns beyond the room of a shared bucket that get their instants, if these are all there are
NEAR_MS: Final = 1_000  # who waits no longer for a bucket of the whole job is left as it is: one write less
_COLUMNS: Final = len(Claim._fields)


@dataclass(slots=True, kw_only=True)
class Want:
    """What a claimer has place for: `most` now, `whole` if a batch needs them, `places` in all."""

    most: int
    whole: int
    places: int
    cutoff_at: int = turns.NEVER_MS
    fused: bool = False
    early_ms: int = 0  # how long before its instant a run may be claimed, where a late claim would cost room
    deep: set[str] = field(default_factory=set)  # jobs with more due than a claim has looked at: kept between claims


def claim(asks: Sequence[Ask], want: Want, worker: str, judge: Judge) -> Op[Claimed]:
    """Take due turns, plainly where no job of those asked for shares anything, else with care."""
    if not any(ask.bounds for ask in asks):
        claimed = yield from turns.claim(asks, want.most, worker, judge, fused=want.fused, cutoff_at=want.cutoff_at)
        if claimed.run or claimed.put_back or claimed.next_due_ms is None or claimed.next_due_ms > 0:
            return claimed
    return (yield from _Careful(asks, want, worker).claim(judge))


class _Seen(NamedTuple):
    """A due turn that was looked at: as it would be claimed, and what it waited for."""

    claim: Claim
    waits_for: str | None


class _Waits(NamedTuple):
    """A turn that may not start yet: when it may, and what it waits for."""

    turn: int
    due_at: int
    waits_for: str


class _Careful:
    """One careful claim."""

    def __init__(self, asks: Sequence[Ask], want: Want, worker: str) -> None:
        self.asks = {ask.job: ask for ask in asks}
        self.want, self.worker = want, worker
        self.known = gates.Known({}, {}, 0)
        self.learned: Mapping[str, Sequence[str]] = {}
        self.room: dict[str, int] = {}  # places left for each job under its cap
        self.asked: dict[str, int] = {}  # how far each job was looked at
        self.whole_seen: set[str] = set()  # jobs of which all that is due was looked at
        self.busy: Counter[str] = Counter()  # what runs, by the key of its cap
        self.holders: dict[str, int] = {}  # turns that hold serial keys
        self.queued: dict[str, int] = {}  # serial keys that turns wait for already: who comes new stands behind them
        self.roused: set[str] = set()  # those of them that nobody holds: the first may go
        self.waited: dict[int, str] = {}  # what the turns looked at waited for
        self.admitted: list[tuple[Claim, Keys]] = []
        self.waits: list[_Waits] = []
        self.probes: dict[int, tuple[str, ...]] = {}
        self.starts: dict[int, int] = {}  # instants of runs that are claimed ahead of their room
        self.closed: set[str] = set()  # jobs of which nothing more starts now
        self.used: list[Bucket] = []

    def claim(self, judge: Judge) -> Op[Claimed]:
        yield from self._prepare()
        seen = yield from self._look()
        if not seen:
            yield from gates.put(self._shut(), self.known.now)
            return Claimed([], (yield from self._next_due()), 0)
        verdict = yield from judge([one.claim for one in seen])
        self.waited = {one.claim.id: one.waits_for for one in seen if one.waits_for}
        run = sorted(verdict.run, key=turns.order)
        keys = {one.id: self._keys(one) for one in run}
        yield from self._prepare_keys(run, keys)
        self._decide(run, keys)
        yield from self._hold_serials()
        yield from self._write()
        back = [(turn, due_at, slot_at, caught) for turn, due_at, slot_at, caught in verdict.back]
        yield Call("defer", {}, back)
        written = {one.id for one, _ in self.admitted}
        told = written | {one[0] for one in back}
        yield Call("mark_slot", {}, [one for one in verdict.newer if one[0] in written])
        yield Call("write_journal", {}, [line for line in verdict.lines if line.turn in told])
        return (yield from self._answer(len(back)))

    def _answer(self, put_back: int) -> Op[Claimed]:
        taken = [one for one, _ in self.admitted]
        waiting = tuple(one.turn for one in self.waits)
        if len(taken) >= self.want.most:
            return Claimed(taken, None, put_back, self.probes, waiting=waiting, starts=self.starts)
        if (waiting or put_back) and not self.whole_seen.issuperset(self.asks.keys() - self.closed):
            # Behind those there may be others.
            return Claimed(taken, None, put_back, self.probes, waiting=waiting, starts=self.starts)
        due_ms = yield from self._next_due()
        return Claimed(taken, due_ms, put_back, self.probes, exhausted=True, waiting=waiting, starts=self.starts)

    def _next_due(self) -> Op[int | None]:
        """In how many ms to look again; what got room while this was decided is no reason to wait for the next poll."""
        due_ms = yield from turns.next_due(list(self.asks.values()))
        if due_ms is None or due_ms > 0:
            return due_ms
        now = self.known.now
        opens = [at for one in self.known.buckets.values() for at in (one.open_at(now), one.closed_until)]
        return min((at - now for at in opens if now < at <= now + NEAR_MS), default=due_ms)

    # -- what has to be known ----------------------------------------------------------------------

    def _bounds(self, job: str) -> Bounds | None:
        return self.asks[job].bounds

    def _prepare(self) -> Op[None]:
        """Places under caps, the learned scopes, and the buckets that are the same for a whole job."""
        counted = [
            ask.job
            for ask in self.asks.values()
            if ask.cap is not None or (ask.bounds is not None and ask.bounds.batch)
        ]
        if counted:
            names = [(name,) for name in sorted(counted)]
            yield Call("lock_jobs", {}, names)
            running = {row[0]: row[1] for row in (yield Call("running_of", {}, names))}
            for name in counted:
                bounds = self._bounds(name)
                if bounds is not None and bounds.batch:
                    self.room[name] = 0 if running.get(name) else bounds.batch
                cap = self.asks[name].cap
                if cap is not None and (bounds is None or bounds.cap_by is None):
                    self.room[name] = min(max(0, cap - running.get(name, 0)), self.room.get(name, cap))
        yield from self._count_keys()
        self.learned = yield from gates.learned(self.asks)
        yield from self._lock_shared()

    def _count_keys(self) -> Op[None]:
        """What runs of jobs with a cap by key."""
        jobs = [(job,) for job, ask in sorted(self.asks.items()) if ask.bounds is not None and ask.bounds.cap_by]
        for job, _, args, member, data, owner in (yield Call("running_members", {}, jobs)) if jobs else ():
            bounds = self._bounds(job)
            if bounds is not None:
                values = rules.values_of(read_object(args), read_object(data), member, owner)
                self.busy[rules.keys_of(bounds, job, values).cap or ""] += 1

    def _lock_shared(self) -> Op[None]:
        names: set[str] = set()
        made: set[str] = set()
        for job, ask in self.asks.items():
            names.update(self.learned.get(job, ()))
            if ask.bounds is None:
                continue
            names.update(ask.bounds.gated)
            made.update(limit.name for limit in ask.bounds.limits if limit.name in ask.bounds.gated)
        self.known = yield from gates.locked(names, make=made)
        for ask in self.asks.values():
            for limit in ask.bounds.limits if ask.bounds is not None else ():
                if limit.name in made:
                    self._pace(limit, limit.name)

    def _pace(self, limit: Limit, key: str) -> None:
        gates.pace(self.known, limit, key)
        if self.want.early_ms:
            self.known.buckets[key].timed(self.want.early_ms)

    def _shut(self) -> list[Bucket]:
        """Buckets of whole jobs that have no room, and of which the store does not say yet until when."""
        now = self.known.now
        shut = [one for one in self.known.buckets.values() if one.open_at(now) > now >= one.closed_until]
        for one in shut:
            one.changed = True
        return shut

    # -- looking -----------------------------------------------------------------------------------

    def _look(self) -> Op[list[_Seen]]:
        want = self.want
        for job in self.asks:
            self.asked[job] = self._depth(job)
        rows: list[Row] = []
        if want.fused:
            lanes = [(ask.job, ask.roster, ask.lease_ms, self.asked[ask.job]) for ask in self.asks.values()]
            rows = list((yield Call("survey", {"cutoff_at": want.cutoff_at, "early_ms": want.early_ms}, lanes)))
        else:
            pairs = [(ask.job, ask.roster) for ask in self.asks.values() if self.asked[ask.job]]
            for job, priority in (yield Call("lanes", {"careful": 1}, pairs)):
                values = {"job": job, "priority": priority, "lease_ms": self.asks[job].lease_ms}
                values |= {"cutoff_at": want.cutoff_at, "early_ms": want.early_ms, "most": self.asked[job]}
                rows += yield Call("survey_lane", values)
        counts = Counter((row[1], row[9]) for row in rows)
        full = {job for (job, _), count in counts.items() if count >= self.asked[job]}
        self.whole_seen = set(self.asks) - full
        want.deep.difference_update(job for job in self.whole_seen if self.asked[job])
        want.deep.update(full)
        for job in want.deep:
            for name in self._shared(job):
                if name in self.known.buckets:
                    self.known.buckets[name].patient()
        return [_Seen(Claim(*row[:_COLUMNS]), row[_COLUMNS]) for row in rows]

    def _depth(self, job: str) -> int:
        """How many of a job's due turns are looked at in each of its lanes."""
        bounds, shared = self._bounds(job), self._shared(job)
        depth = max(self.want.most, self.want.whole if bounds is not None and bounds.batch else 0)
        for name in shared:
            bucket = self.known.buckets.get(name)
            if bucket is not None:
                depth = min(depth, bucket.room_count(self.known.now))
        if bounds is not None and bounds.keyed:
            depth = max(depth, AHEAD)
        if bounds is None or not shared or bounds.keyed:
            return min(depth, self.room.get(job, depth))
        if depth and job not in self.want.deep:
            depth += AHEAD
        if job in self.room:
            depth = min(depth, self.room[job])
        return depth

    def _shared(self, job: str) -> list[str]:
        """The scopes that are the same for every run of a job."""
        bounds = self._bounds(job)
        return [*self.learned.get(job, ()), *(bounds.gated if bounds is not None else ())]

    def _keys(self, one: Claim) -> Keys | None:
        bounds, learned = self._bounds(one.job), self.learned.get(one.job, ())
        if bounds is None:
            return Keys((), tuple(learned), None, None) if learned else None
        values = rules.values_of(read_object(one.args), read_object(one.data), one.member, one.owner)
        return rules.keys_of(bounds, one.job, values, learned)

    def _prepare_keys(self, run: Sequence[Claim], keys: Mapping[int, Keys | None]) -> Op[None]:
        """The buckets and holders of the keys that only the turns themselves tell."""
        names: set[str] = set()
        made: set[str] = set()
        templates: set[str] = set()
        paced: list[tuple[Any, str]] = []
        serials: set[str] = set()
        for one in run:
            found, bounds = keys[one.id], self._bounds(one.job)
            if found is None:
                continue
            if found.serial is not None:
                serials.add(found.serial)
            names.update(name for name in found.scopes if name not in self.known.buckets)
            for limit, key in zip(bounds.limits if bounds is not None else (), found.limits, strict=True):
                if key not in self.known.buckets:
                    made.add(key)
                    templates.add(limit.name)
                    paced.append((limit, key))
        if names or made:
            more = yield from gates.locked(names, templates - made, make=made)
            self.known.buckets.update({**more.buckets, **self.known.buckets})
            self.known.said.update(more.said)
            self.known = self.known._replace(now=max(self.known.now, more.now))
            for limit, key in paced:
                self._pace(limit, key)
        if serials:
            rows = yield Call("serial_holders", {}, [(key,) for key in sorted(serials)])
            self.holders = {row[0]: row[1] for row in rows if row[1] is not None}
            self.queued = {row[0]: row[2] for row in rows if row[2] is not None}

    # -- deciding ----------------------------------------------------------------------------------

    def _decide(self, run: Sequence[Claim], keys: Mapping[int, Keys | None]) -> None:
        """Go through what is due in the order (priority, due, id); see what may start."""
        of_job: dict[str, list[Claim]] = defaultdict(list)
        for one in run:
            of_job[one.job].append(one)
        batches: dict[str, int] = {}
        for place, one in enumerate(run):
            bounds, found = self._bounds(one.job), keys[one.id]
            if one.job in self.closed:
                continue
            batch = bounds is not None and bounds.batch is not None
            if batch and one.job not in batches:
                size = min(len(of_job[one.job]), self.room.get(one.job, 0), self.want.places)
                if size > self.want.whole - len(self.admitted):
                    return  # the places that get free are kept for it: whoever comes after it would take them for ever
                batches[one.job] = self.room[one.job] = size
            if not batch and len(self.admitted) >= self.want.most:
                return
            if self.room.get(one.job, 1) <= 0:
                self.closed.add(one.job)
                continue
            if found is not None and not self._free(one, found, place):
                continue
            self._admit(one, found)

    def _free(self, one: Claim, keys: Keys, place: int) -> bool:
        """Whether nothing that it shares with others keeps it waiting; else what becomes of it is noted."""
        bounds, now = self._bounds(one.job), one.claimed_at
        again = self.waited.get(one.id, "").startswith(("limit ", "scope "))
        if keys.cap is not None and bounds is not None and self.busy[keys.cap] >= (bounds.cap or 1):
            self.waits.append(_Waits(one.id, now + rules.PARK_MS + place, f"cap {keys.cap}"))
            return False
        if keys.serial is not None and not self._next_of(one, keys.serial):
            self.queued[keys.serial] = max(now + rules.PARK_MS, self.queued.get(keys.serial, 0) + 1)
            self.waits.append(_Waits(one.id, self.queued[keys.serial], f"serial {keys.serial}"))
            return False
        buckets = self._buckets(keys)
        verdict = rules.judge(buckets, self.known.now, promised=again)
        if verdict.start_at is None:
            return True
        if rules.soon(buckets, verdict, self.known.now, promised=again):
            self.starts[one.id] = verdict.start_at
            return True
        if again and (one.due_at or 0) > now:
            return False  # it was looked at ahead of its instant
        keyed = bounds is not None and bounds.keyed
        near = not verdict.cooling and verdict.start_at - now <= NEAR_MS
        if not keyed and not again and (near or one.job not in self.whole_seen):
            self.closed.add(one.job)
            self.used.extend(buckets)
            return False
        for bucket in buckets:
            bucket.promise(self.known.now * rules.NS, again=again)
        kind = "scope" if verdict.cooling else "limit"
        self.waits.append(_Waits(one.id, verdict.start_at, f"{kind} {verdict.scope}"))
        self.used.extend(buckets)
        return False

    def _next_of(self, one: Claim, key: str) -> bool:
        """Whether it is this run's turn under its serial key: nobody holds it, and nobody waits longer."""
        holder = self.holders.get(key)
        if holder is not None:
            return holder == one.id
        if key in self.queued and self.waited.get(one.id) != f"serial {key}":
            self.roused.add(key)
            return False
        return True

    def _admit(self, one: Claim, keys: Keys | None) -> None:
        if keys is not None:
            buckets = self._buckets(keys)
            probes = rules.take(buckets, self.known.now, self.starts.get(one.id))
            if probes:
                self.probes[one.id] = probes
            self.used.extend(buckets)
            if keys.cap is not None:
                self.busy[keys.cap] += 1
            if keys.serial is not None:
                self.holders[keys.serial] = one.id
        if one.job in self.room:
            self.room[one.job] -= 1
        self.admitted.append((one, keys or Keys((), (), None, None)))

    def _buckets(self, keys: Keys) -> list[Bucket]:
        return [self.known.buckets[name] for name in keys.all_scopes if name in self.known.buckets]

    # -- writing -----------------------------------------------------------------------------------

    def _hold_serials(self) -> Op[None]:
        """Take the serial keys; who lost the race for one stays as it was."""
        wanted = [(keys.serial, one.id, one.run) for one, keys in self.admitted if keys.serial is not None]
        if not wanted:
            return
        ours = {row[1] for row in (yield Call("hold_serials", {}, sorted(wanted)))}
        lost = {turn for _, turn, _ in wanted} - ours
        for turn in lost:
            self.starts.pop(turn, None)
            for scope in self.probes.pop(turn, ()):
                self.known.buckets[scope].unproved(self.known.now)
        self.admitted = [(one, keys) for one, keys in self.admitted if one.id not in lost]

    def _write(self) -> Op[None]:
        taken = [(one.id, one.leased_until, one.claimed_at) for one, _ in self.admitted]
        yield Call("take", {"worker": self.worker}, taken)
        yield Call("wait", {}, self.waits)
        yield Call("rouse", {}, [(f"serial {key}", 1) for key in sorted(self.roused - self.holders.keys())])
        for bucket in self.used:
            bucket.changed = True
        changed = {one.scope: one for one in (*self._shut(), *self.used)}
        yield from gates.put(changed.values(), self.known.now)
        begun = {one.job for one, _ in self.admitted if (bounds := self._bounds(one.job)) is not None and bounds.batch}
        batches = [(gates.BATCH.format(job), self.asks[job].lease_ms) for job in sorted(begun)]
        yield Call("close_batch", {}, batches)
