"""The store as it ought to be, in plain Python: dictionaries, and time as a number.

Written from what is promised (the table of states, one end for each attempt, one run for each slot, keys that outlive
their run), not from the statements.

Always true: an operation either changes the model and answers, or changes nothing; slots that were passed over are
counted, so that slots and runs can be added up.

Not here: which slot a joining member gets, and the order of equally good answers: the machine checks those itself.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

ANCHOR_MS = 345_600_000  # slot 0 begins on Monday 1970-01-05
LATE_MS = 60_000  # a run that comes this late is caught up
LEAP_MS = 3_600_000  # an hour: over for longer, a lease may be over by a leap of the clock alone
MARGIN_MS = 630_000  # the longest an attempt may take: ten minutes and half a minute for cancelling
BITS = {"daily": 1, "hourly": 2}
ALL_BITS = 3
FOLLOWER = "digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the application says about a job."""

    period_ms: int | None = None
    priority: int = 0
    delays_ms: tuple[int, ...] = ()
    max_lost: int = 3
    cap: int | None = None
    holds: bool = False
    makes_up: bool = True
    fresh_ms: int = 0
    grace_ms: int = 0


@dataclass(slots=True, kw_only=True)
class Turn:
    """A turn, as far as it is promised."""

    job: str
    member: str | None = None
    key: str | None = None
    standing: int = 0
    due_at: int | None = None
    slot_at: int | None = None
    phase_ms: int = 0
    claimed_phase_ms: int = 0
    slot: int | None = None
    priority: int = 0
    state: str = "waiting"
    paused: int = 0
    manual: int = 0
    run: int = 1
    attempt: int = 0
    tries: int = 0
    losses: int = 0
    cancel: int = 0
    on_end: int = 0
    waited_ms: int = 0
    worker: str | None = None
    leased_until: int | None = None
    done: int = 0
    failed: int = 0
    led_slot_at: int | None = None
    used_slot_at: int = 0
    last_success_at: int | None = None
    stale_at: int | None = None
    failing_since: int | None = None


@dataclass(slots=True)
class Key:
    """What a key stands for, and until when; None while its run goes on."""

    turn: int
    expires_at: int | None = None


@dataclass(slots=True)
class Letter:
    """A dead letter."""

    turn: int
    run: int
    job: str
    member: str | None
    key: str | None
    requeued: bool = False


@dataclass(slots=True)
class Model:
    """Everything that is promised to be in a store."""

    policies: dict[str, Policy]
    now: int
    kept_ms: int
    lease_ms: int
    turns: dict[int, Turn] = field(default_factory=dict)
    keys: dict[tuple[str, str], Key] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    leases: dict[str, int] = field(default_factory=dict)
    pauses: dict[tuple[str, str], int | None] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    ends: list[tuple[int, int, int, str]] = field(default_factory=list)
    passed: Counter[int] = field(default_factory=Counter)
    news: list[tuple[Turn, int | None, bool]] = field(default_factory=list)
    audited: int = 0
    made: int = 0

    # -- adding ------------------------------------------------------------------------------------

    def add(self, turn: Turn) -> int:
        """A turn that was not there; its place in the order."""
        self.made += 1
        self.turns[self.made] = turn
        return self.made

    def enqueue(self, job: str, key: str | None, delay_ms: int, priority: int) -> tuple[int, bool]:
        """A one-off, or the one its key stands for (G-2)."""
        known = self.keys.get((job, key)) if key is not None else None
        if known is not None and (known.expires_at is None or known.expires_at > self.now):
            return known.turn, False
        made = self.add(Turn(job=job, key=key, due_at=self.now + delay_ms, priority=priority))
        if key is not None:
            self.keys[job, key] = Key(made)
        return made, True

    def join(self, member: str, places: dict[str, tuple[int | None, int]]) -> None:
        """The turns of a member; `places` says which slot and phase each job gave it."""
        if member in self.members:
            return
        self.members.add(member)
        for job, (slot, phase) in places.items():
            policy = self.policies[job]
            here = next((one for one in self.turns.values() if one.job == job and one.member == member), None)
            if here is not None:  # it left while it ran, and is back before the attempt has ended
                here.on_end, here.slot, here.phase_ms = 2, slot, phase
                continue
            at = None if policy.period_ms is None else self.slot_after(job, phase, self.now)
            first = at if at is not None else self.now + policy.fresh_ms - policy.grace_ms
            turn = Turn(job=job, member=member, standing=1, due_at=at, slot_at=at, phase_ms=phase, slot=slot)
            turn.stale_at = first + policy.grace_ms
            turn.paused = int(("member", f"users/{member}") in self.pauses)
            self.add(turn)

    def leave(self, member: str) -> bool:
        """The turns of a member go; one that runs goes when it ends."""
        if member not in self.members:
            return False
        self.members.remove(member)
        for place, turn in list(self.turns.items()):
            if turn.member == member and turn.state == "running":
                turn.on_end, turn.slot = 1, None
            elif turn.member == member:
                del self.turns[place]
        return True

    # -- claiming ----------------------------------------------------------------------------------

    def due(self, jobs: Collection[str]) -> list[int]:
        """What may be claimed, in the order in which it must be (G-10), with caps and pauses kept."""
        if ("all", "*") in self.held():
            return []
        rooms = {name: one.cap - self.running(name) for name, one in self.policies.items() if one.cap is not None}
        found = []
        for place, turn in sorted(
            self.turns.items(), key=lambda pair: (pair[1].priority, pair[1].due_at or 0, pair[0])
        ):
            if turn.job not in jobs or turn.state != "waiting" or turn.due_at is None or turn.due_at > self.now:
                continue
            if turn.paused or self.holds(turn):
                continue
            if turn.job in rooms:
                rooms[turn.job] -= 1
                if rooms[turn.job] < 0:
                    continue
            found.append(place)
        return found

    def held(self) -> set[tuple[str, str]]:
        """Pauses that hold now."""
        return {what for what, until in self.pauses.items() if until is None or until > self.now}

    def holds(self, turn: Turn) -> bool:
        """Whether its job or roster is paused."""
        held = self.held()
        return ("job", turn.job) in held or (turn.member is not None and ("roster", "users") in held)

    def running(self, job: str) -> int:
        """How many attempts of a job run."""
        return sum(turn.job == job and turn.state == "running" for turn in self.turns.values())

    def take(self, place: int, worker: str) -> bool:
        """A due turn is claimed: for its newest slot, or not at all when its job makes up for nothing."""
        turn = self.turns[place]
        policy = self.policies[turn.job]
        late = self.now - turn.slot_at if turn.slot_at is not None and policy.period_ms else 0
        if turn.tries == 0 and not turn.manual and policy.period_ms and late >= LATE_MS:
            newest = self.slot_at_or_before(turn.job, turn.phase_ms, self.now)
            missed = self.pass_over(place, newest)
            if not policy.makes_up and (missed or self.now - newest > max(LATE_MS, policy.grace_ms)):
                self.passed[place] += 1
                turn.due_at = turn.slot_at = newest + policy.period_ms
                return False
        turn.state, turn.worker, turn.leased_until = "running", worker, self.now + MARGIN_MS
        turn.claimed_phase_ms = turn.phase_ms
        turn.done = 0  # a leader that ends from here on counts for the run after
        turn.attempt += 1
        turn.tries += 1
        return True

    def pass_over(self, place: int, newest: int) -> int:
        """The run is for a newer slot; how many are passed over."""
        turn = self.turns[place]
        period = self.policies[turn.job].period_ms or 1
        missed = max(0, -(((turn.slot_at or newest) - newest) // period))  # up to one more where its place has changed
        self.passed[place] += missed
        if missed:
            turn.slot_at = newest
        return missed

    # -- ending ------------------------------------------------------------------------------------

    def owns(self, place: int, attempt: int, worker: str) -> bool:
        """Whether an attempt still holds its lease (G-7)."""
        turn = self.turns.get(place)
        return turn is not None and turn.state == "running" and (turn.attempt, turn.worker) == (attempt, worker)

    def end(self, place: int, outcome: str, delay_ms: int = 0) -> None:
        """The end of an attempt that holds its lease; the table of states, row by row."""
        turn = self.turns[place]
        policy = self.policies[turn.job]
        due_at, tries = turn.due_at, turn.tries
        if outcome == "lost":  # whoever gives it back has read its place just now
            turn.claimed_phase_ms = turn.phase_ms
        if outcome == "retry" and tries > len(policy.delays_ms):
            outcome = "dead"
        if outcome == "lost" and turn.losses + 1 >= policy.max_lost:
            outcome = "dead"
        self.ends.append((place, turn.run, turn.attempt, outcome))
        turn.state, turn.worker, turn.leased_until, turn.cancel = "waiting", None, None, 0
        if outcome in {"retry", "dead", "lost"} and turn.failing_since is None:
            turn.failing_since = self.now
        if outcome in {"succeeded", "dead", "skipped", "cancelled"}:
            self.over(place, outcome)
        elif outcome == "retry":
            turn.due_at = self.now + policy.delays_ms[tries - 1]
        else:
            turn.tries -= 1
            turn.losses += outcome == "lost"
            turn.waited_ms += delay_ms if outcome == "rate_limited" else 0
            turn.state = "held" if outcome == "held" else "waiting"
            turn.due_at = self.now + delay_ms if outcome in {"snoozed", "rate_limited"} else due_at
        if turn.on_end & 1:
            self.turns.pop(place, None)

    def over(self, place: int, outcome: str) -> None:
        """The run is over: a one-off is gone, the others wait for their next slot."""
        turn = self.turns[place]
        policy = self.policies[turn.job]
        if outcome == "dead":
            self.letters.append(Letter(place, turn.run, turn.job, turn.member, turn.key))
        if not turn.standing:
            self.gone(place)
            return
        if outcome == "succeeded":
            turn.last_success_at, turn.failing_since = self.now, None
            turn.stale_at = self.now + policy.fresh_ms
        led_by = None if turn.manual else turn.slot_at
        following = None
        if policy.period_ms and turn.slot_at is not None:
            following = self.slot_after(turn.job, turn.claimed_phase_ms, turn.slot_at)
        self.next_run(turn, following)
        turn.state = "held" if outcome == "dead" and policy.holds else "waiting"
        self.news.append((turn, led_by, outcome == "dead"))

    def spread_news(self) -> None:
        """After all ends of a batch followers learn of them, also one that has ended in the same batch."""
        for turn, slot_at, failed in sorted(self.news, key=lambda one: one[1] or 0):  # the newest slot is the run's
            self.tell(turn, slot_at, failed=failed)
        self.news.clear()
        for turn in self.turns.values():
            if turn.job == FOLLOWER:
                self.follow(turn)

    def next_run(self, turn: Turn, slot_at: int | None) -> None:
        """Everything that belongs to one run starts afresh; one by hand has not used up the slot."""
        if not self.policies[turn.job].period_ms:
            turn.slot_at = None
        elif not turn.manual:
            turn.slot_at = slot_at
        turn.due_at = turn.slot_at
        turn.run += 1
        turn.tries = turn.losses = turn.waited_ms = turn.manual = 0

    def gone(self, place: int) -> None:
        """A one-off has ended; its key is remembered for a while."""
        turn = self.turns.pop(place)
        known = self.keys.get((turn.job, turn.key or ""))
        if known is not None and known.turn == place:
            known.expires_at = self.now + self.kept_ms

    def tell(self, leader: Turn, slot_at: int | None, *, failed: bool) -> None:
        """A leader's run is over; the follower is due when all have ended. One in progress takes it as its own."""
        if leader.job not in BITS:
            return
        for turn in self.turns.values():
            if turn.job == FOLLOWER and turn.member == leader.member:
                turn.done |= BITS[leader.job]
                turn.failed = turn.failed & ~BITS[leader.job] | BITS[leader.job] * failed
                turn.led_slot_at = slot_at if slot_at and slot_at > turn.used_slot_at else turn.led_slot_at

    def follow(self, turn: Turn) -> None:
        """A follower that waits for nothing more is due, for the newest slot it was told of."""
        if turn.state == "waiting" and turn.due_at is None and turn.done == ALL_BITS:
            turn.due_at, turn.slot_at, turn.led_slot_at = self.now, turn.led_slot_at, None
            turn.used_slot_at = turn.slot_at or turn.used_slot_at

    def lost(self, silent: Collection[str] = ()) -> list[int]:
        """Attempts nobody keeps alive: their worker's lease is over, or their own time, or it is said to be silent.

        Of a doubted worker nothing is lost before that.
        """
        doubted = self.doubted()
        return [
            place
            for place, turn in self.turns.items()
            if turn.state == "running"
            and (
                turn.worker in silent
                or (
                    turn.worker not in doubted
                    and min(turn.leased_until or 0, self.leases[turn.worker or ""]) < self.now
                )
            )
        ]

    def doubted(self) -> set[str]:
        """Workers with runs whose lease is over for more than an hour, or began as far ahead, or that are not known."""
        holders = {turn.worker for turn in self.turns.values() if turn.worker is not None}
        earliest, latest = self.now - LEAP_MS, self.now + LEAP_MS + self.lease_ms
        return {one for one in holders if one not in self.leases or not earliest <= self.leases[one] <= latest}

    def beat(self, worker: str) -> None:
        """A worker lives; if its lease was over for more than an hour, time has leapt, and its runs get it back."""
        beaten_at = self.leases[worker] - self.lease_ms
        if self.leases[worker] < self.now - LEAP_MS:
            for turn in self.turns.values():
                if turn.worker == worker:
                    turn.leased_until = (turn.leased_until or 0) + self.now - beaten_at
        self.leases[worker] = self.now + self.lease_ms

    # -- operators ---------------------------------------------------------------------------------

    def hold(self, places: Iterable[int]) -> list[int]:
        """Waiting turns are held."""
        found = [place for place in places if self.turns[place].state == "waiting"]
        for place in found:
            self.turns[place].state = "held"
        return found

    def unhold(self, places: Iterable[int]) -> list[int]:
        """Held turns are due now; a follower that has not begun waits for what it follows."""
        found = [place for place in places if self.turns[place].state == "held"]
        for place in found:
            turn = self.turns[place]
            begun = turn.tries or turn.manual or turn.failing_since is not None
            if turn.job == FOLLOWER and not begun and turn.done != ALL_BITS:
                turn.state, turn.due_at, turn.manual = "waiting", None, 0
            else:
                self.let_go(place)
        return found

    def let_go(self, place: int) -> None:
        """A held turn is due now, for the newest slot that has come, or as by hand where none has."""
        turn = self.turns[place]
        owed = turn.slot_at is not None and turn.slot_at <= self.now
        if owed and self.policies[turn.job].period_ms:
            self.pass_over(place, self.slot_at_or_before(turn.job, turn.phase_ms, self.now))
        turn.manual = int(turn.standing and not owed)
        turn.state, turn.due_at = "waiting", self.now

    def run_now(self, place: int) -> bool:
        """A run by hand; False when one runs, is due or was asked for already."""
        turn = self.turns[place]
        if turn.state == "running":
            return False
        if turn.state == "held":
            self.let_go(place)
            return True
        soon = turn.due_at is not None and turn.due_at <= self.now
        if turn.manual or soon or (turn.slot_at is not None and turn.slot_at <= self.now):
            if not soon:
                turn.due_at = self.now
            return False
        turn.due_at, turn.manual = self.now, 1
        return True

    def cancel(self, places: Sequence[int]) -> tuple[list[int], list[int]]:
        """Runs that have not started are over; those that run are wished to stop."""
        running = [place for place in places if self.turns[place].state == "running"]
        idle = [place for place in places if self.turns[place].state == "held" or self._has_due(place)]
        for place in running:
            self.turns[place].cancel = 1
        for place in idle:  # the news goes first: a follower that is cancelled along with its leader stays cancelled
            turn = self.turns[place]
            if turn.standing and (turn.tries or turn.state == "held" or (turn.due_at or 0) <= self.now):
                self.news.append((turn, None if turn.manual else turn.slot_at, False))
        self.spread_news()
        for place in idle:
            turn = self.turns[place]
            self.ends.append((place, turn.run, turn.attempt, "cancelled"))
            self._cancelled(place)
        return idle, running

    def _has_due(self, place: int) -> bool:
        return self.turns[place].state == "waiting" and self.turns[place].due_at is not None

    def _cancelled(self, place: int) -> None:
        turn = self.turns[place]
        if not turn.standing:
            self.gone(place)
            return
        period = self.policies[turn.job].period_ms
        slot_at = turn.slot_at
        if period and slot_at is not None and not turn.manual:
            if slot_at <= self.now:
                self.pass_over(place, self.slot_at_or_before(turn.job, turn.phase_ms, self.now))
            slot_at = self.slot_after(turn.job, turn.phase_ms, max(slot_at, self.now))
        turn.state = "waiting"
        self.next_run(turn, slot_at)
        turn.done = turn.failed = 0

    def requeue(self, number: int) -> tuple[int, int] | None:
        """A dead letter becomes a new run, once; None where it cannot."""
        letter = self.letters[number]
        home = next((at for at, one in self.turns.items() if one.standing and self._same(one, letter)), None)
        standing = self.policies[letter.job].period_ms is not None or letter.job == FOLLOWER
        if letter.requeued or (standing and home is None):
            return None
        letter.requeued = True
        if home is not None:
            self.run_now(home)
            return home, self.turns[home].run
        made = self.add(
            Turn(job=letter.job, key=letter.key, due_at=self.now, priority=self.policies[letter.job].priority)
        )
        known = self.keys.get((letter.job, letter.key or ""))
        if known is not None and known.turn == letter.turn:
            self.keys[letter.job, letter.key or ""] = Key(made)
        return made, 1

    @staticmethod
    def _same(turn: Turn, letter: Letter) -> bool:
        return (turn.job, turn.member) == (letter.job, letter.member)

    # -- time --------------------------------------------------------------------------------------

    def slot_at_or_before(self, job: str, phase_ms: int, at: int) -> int:
        """The newest slot that has come."""
        return at - (at - ANCHOR_MS - phase_ms) % (self.policies[job].period_ms or 1)

    def slot_after(self, job: str, phase_ms: int, at: int) -> int:
        """The next slot to come: a whole number of periods after the first one, whatever ran when."""
        return self.slot_at_or_before(job, phase_ms, at) + (self.policies[job].period_ms or 0)
