"""The store against its model: one machine that plays any script on one database, or on both at once.

Always true: after each step the answer is the model's, the turns, keys and journal are the model's, and what must hold
in every store holds; with two databases their tables are equal, column by column.

Not here: what operators do (acts), how many scripts are played on what (test_contract).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rota.define.outcome import Fail, Hold, RateLimited, Retryable, Skip, Snooze
from rota.engine.settle import Cancelled, Ended, Lost, Released, end_of
from rota.store import members, reaping, reconcile, turns
from rota.store.port import query
from rota.turn.records import Claim, End
from tests.store.model import Model, Policy, Turn
from tests.store.world import (
    CATALOG,
    DAY_MS,
    KEPT_MS,
    LEASE_MS,
    ROSTER,
    TABLES,
    USER_JOBS,
    Door,
    call,
    claim,
    introduce,
)

HOUR_MS = 3_600_000
WORKERS = ("w1", "w2", "w3")
MEMBERS = ("a", "b", "c")
PLAIN_MS = (2_000, 4_000)
POLICIES = {
    "mail": Policy(delays_ms=(10_000, 20_000)),
    "call": Policy(priority=-5, delays_ms=PLAIN_MS, max_lost=2, cap=2),
    "daily": Policy(
        period_ms=DAY_MS, delays_ms=(30_000,), max_lost=2, fresh_ms=DAY_MS * 11 // 10, grace_ms=DAY_MS // 10
    ),
    "hourly": Policy(
        period_ms=HOUR_MS, delays_ms=PLAIN_MS, holds=True, fresh_ms=HOUR_MS * 11 // 10, grace_ms=HOUR_MS // 10
    ),
    "digest": Policy(delays_ms=PLAIN_MS, fresh_ms=DAY_MS * 11 // 10, grace_ms=DAY_MS // 10),
    "report": Policy(
        period_ms=6 * HOUR_MS,
        delays_ms=PLAIN_MS,
        makes_up=False,
        fresh_ms=6 * HOUR_MS * 11 // 10,
        grace_ms=6 * HOUR_MS // 10,
    ),
}
OUTCOMES: dict[str, tuple[Callable[[], object], int]] = {
    "succeeded": (lambda: None, 0),
    "retry": (lambda: Retryable("busy"), 0),
    "dead": (lambda: Fail("no"), 0),
    "snoozed": (lambda: Snooze("90s"), 90_000),
    "skipped": (lambda: Skip("nothing to do"), 0),
    "held": (lambda: Hold("consent"), 0),
    "rate_limited": (lambda: RateLimited("mailer", "45s"), 45_000),
    "released": (lambda: Released("drain"), 0),
    "cancelled": (lambda: Cancelled("by hand"), 0),
}
PROJECTED = (
    "job, member, key, standing, due_at, slot_at, phase_ms, slot, priority, state, paused, manual, run, attempt,"
    " tries, losses, cancel, on_end, waited_ms, worker, leased_until, done, failed, last_success_at, stale_at,"
    " failing_since"
)

jobs = st.lists(st.sampled_from(sorted(POLICIES)), min_size=1, unique=True) | st.just(sorted(POLICIES))
workers = st.sampled_from(WORKERS)
members_ = st.sampled_from(MEMBERS)
picks = st.integers(0, 10**6)
outcomes = st.sampled_from(("succeeded", *OUTCOMES))


Table = dict[int, dict[str, Any]]


def _differences(found: Table, expected: Table) -> dict[int, list[tuple[str, Any, Any]]]:
    """Where two pictures of the same turns differ."""
    differing = {
        place: [(name, row[name], value) for name, value in expected[place].items() if row[name] != value]
        for place, row in found.items()
    }
    return {place: what for place, what in differing.items() if what}


class Grip(NamedTuple):
    """What a worker believes to hold: the claim as each database gave it, live or long lost."""

    turn: int
    attempt: int
    worker: str
    claims: tuple[Claim, ...]


class Scripts(RuleBasedStateMachine):
    """Any script of operations; `doors` makes the databases it is played on."""

    doors: Callable[[], Sequence[Door]]
    seen: Counter[str]

    @initialize(lively=st.sampled_from(((), ("a",), ("a", "b"), ("a", "b"))))
    def begin(self, lively: Sequence[str]) -> None:
        self.played = type(self).doors()
        self.clock = self.played[0].clock
        self.model = Model(policies=POLICIES, now=self.clock.ms, kept_ms=KEPT_MS, lease_ms=LEASE_MS)
        self.grips: list[Grip] = []
        self.ended: list[tuple[Grip, str]] = []
        self.last_items: list[Any] = []
        period = 6 * HOUR_MS
        at = self.model.slot_after("report", 0, self.clock.ms)
        report = Turn(job="report", standing=1, due_at=at, slot_at=at, stale_at=at + period // 10)
        self._meet(self.model.add(report), "job = 'report'")
        for worker in WORKERS[:2]:
            self.worker_appears(worker)
        for key in lively:
            self.join(key, 1)

    def teardown(self) -> None:
        for door in getattr(self, "played", ()):
            door.order.clear()

    def both(self, act: Callable[[Door], Any]) -> Any:
        """The same on every database; the answers must be the same."""
        answers = [act(door) for door in self.played]
        assert all(answer == answers[0] for answer in answers)
        return answers[0]

    def write(self, make: Callable[[], Any], *, gate: Any = None) -> Any:
        """One operation on every database."""
        return self.both(lambda door: door.write(make, gate=gate))

    def _meet(self, place: int, where: str) -> None:
        for door in self.played:
            rows = door.sql(f"SELECT id FROM {door.db.dictionary.table('turn')} WHERE {where}")
            door.order[rows[0][0]] = place

    def real(self, door: Door, place: int) -> int:
        """The id that a database gave a turn."""
        return next(real for real, known in door.order.items() if known == place)

    # -- adding ------------------------------------------------------------------------------------

    @rule(
        items=st.lists(
            st.tuples(
                st.sampled_from(("mail", "call")),
                st.sampled_from((None, "k1", "k2")),
                st.sampled_from((0, 0, 5000)),
                st.sampled_from((0, 3)),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def enqueue(self, items: list[tuple[str, str | None, int, int]]) -> None:
        self.last_items = items
        expected = [self.model.enqueue(*item) for item in items]
        fresh = [call(job, key=key, delay_ms=delay, priority=priority) for job, key, delay, priority in items]

        def enqueue(door: Door) -> list[tuple[int, bool]]:
            found = door.write(lambda: turns.enqueue(fresh))
            door.order.update({real: place for (real, made), (place, _) in zip(found, expected, strict=True) if made})
            return [(door.order[real], made) for real, made in found]

        assert self.both(enqueue) == expected

    @precondition(lambda self: self.last_items)
    @rule()
    def enqueue_again_after_a_lost_answer(self) -> None:
        """G-2: the repeat of an unknown enqueue finds its run."""
        keyed = [item for item in self.last_items if item[1] is not None]
        known = {
            key for key, one in self.model.keys.items() if one.expires_at is None or one.expires_at > self.model.now
        }
        if keyed:
            made = self.model.made
            self.enqueue(keyed)
            assert self.model.made == made or {(job, key) for job, key, _, _ in keyed} - known

    @rule(key=members_, weight=st.sampled_from((1, 1, 3)))
    def join(self, key: str, weight: int) -> None:
        before = {job: self._loads(job) for job in ("daily", "hourly")}
        entry = members.Entry(key, weight=weight, given=members.WEIGHT)
        joined = self.write(lambda: members.join(ROSTER, USER_JOBS, [entry]))
        assert bool(joined.fresh) == (key not in self.model.members)
        if not joined.fresh:
            return
        places = {}
        for job in ("daily", "hourly", "digest"):
            at = self.both(
                lambda door, job=job: door.rows(
                    "turn", "job, slot, phase_ms", f"WHERE job = '{job}' AND member = '{key}'"
                )
            )
            _, slot, phase = at[0]
            places[job] = (slot, phase)
            if job != "digest":
                assert before[job][slot] == min(before[job]), "a member joins the slot with the least load"
                assert phase // self._slot_ms(job) == slot
        known = set(self.model.turns)
        self.model.join(key, places)
        for place in set(self.model.turns) - known:
            self._meet(place, f"job = '{self.model.turns[place].job}' AND member = '{key}'")

    def _slot_ms(self, job: str) -> int:
        return CATALOG.jobs[job].schedule.slot_ms

    def _loads(self, job: str) -> list[int]:
        count = CATALOG.jobs[job].schedule.slot_count
        loads = [0] * count
        for _, slot, load in self.played[0].rows("slot", "job, slot, load", f"WHERE job = '{job}'"):
            loads[slot] = load
        return loads

    @rule(key=members_)
    def leave(self, key: str) -> None:
        gone = self.write(lambda: members.leave(ROSTER, [key]))
        assert bool(gone) == self.model.leave(key)

    # -- claiming and ending -----------------------------------------------------------------------

    @rule(worker=workers)
    def worker_appears(self, worker: str) -> None:
        self.write(lambda: introduce(worker))
        self.model.leases[worker] = self.model.now + LEASE_MS

    @rule(worker=workers)
    def beat(self, worker: str) -> None:
        expected = worker in self.model.leases
        if expected:
            self.seen["beat after a leap"] += worker in self.model.doubted()
            self.model.beat(worker)

        def beat(door: Door) -> Any:
            held = door.write(lambda: turns.beat(worker, LEASE_MS, 1, None))
            if held is None:
                return None
            attempts = {door.order[turn]: attempt for turn, attempt in held.attempts.items()}
            return attempts, {door.order[turn] for turn in held.cancelled}, held.stopped

        mine = {place: turn for place, turn in self.model.turns.items() if turn.worker == worker}
        answer = (
            {place: turn.attempt for place, turn in mine.items()},
            {place for place, turn in mine.items() if turn.cancel},
            ("all", "*") in self.model.held(),
        )
        assert self.both(beat) == (answer if expected else None)

    @rule(worker=workers, wanted=jobs, most=st.integers(1, 6))
    def claim(self, worker: str, wanted: list[str], most: int) -> None:
        due = self.model.due(wanted)
        found = [
            door.write(lambda door=door: claim(worker, wanted, most=most, fused=door.fused), gate="shared")
            for door in self.played
        ]
        runs = [{door.order[one.id]: one for one in each.run} for door, each in zip(self.played, found, strict=True)]
        ids = [list(run) for run in runs]
        assert all(one == ids[0] for one in ids)
        looked_at = len(ids[0]) + found[0].put_back
        assert looked_at <= most
        if "call" not in wanted:  # two priorities of a capped job may together ask for more places than it has
            assert looked_at == min(most, len(due))
        assert bool(looked_at) == bool(due)
        taken = [place for place in due[:looked_at] if self.model.take(place, worker)]
        assert sorted(ids[0]) == sorted(taken)
        self.seen["claimed"] += len(taken)
        self.seen["put back"] += found[0].put_back
        self.seen["cap full"] += "call" in wanted and self.model.running("call") == 2
        self.seen["stopped"] += ("all", "*") in self.model.held()
        for place in taken:
            claims = tuple(run[place] for run in runs)
            turn = self.model.turns[place]
            assert {(one.attempt, one.tries, one.slot_at) for one in claims} == {
                (turn.attempt, turn.tries, turn.slot_at)
            }
            self.grips.append(Grip(place, turn.attempt, worker, claims))

    @rule(
        worker=workers,
        by=st.sampled_from((0, 0, 31_000, HOUR_MS, HOUR_MS, DAY_MS)),
        most=st.integers(1, 6),
        came=st.lists(outcomes, max_size=4),
    )
    def work(self, worker: str, by: int, most: int, came: list[str]) -> None:
        """What a worker does most of the time; some attempts it leaves unfinished."""
        self.advance(by)
        self.worker_appears(worker)
        before = len(self.grips)
        self.claim(worker, sorted(POLICIES), most)
        chosen = list(zip(self.grips[before:], came, strict=False))
        if chosen:
            self._settle(chosen)

    @precondition(lambda self: self.live())
    @rule(chosen=st.lists(st.tuples(picks, outcomes), min_size=1, max_size=3))
    def settle_what_is_held(self, chosen: list[tuple[int, str]]) -> None:
        held = self.live()
        pairs = {pick % len(held): outcome for pick, outcome in chosen}
        self._settle([(held[at], outcome) for at, outcome in sorted(pairs.items())])

    def live(self) -> list[Grip]:
        """What is held in truth."""
        return [grip for grip in self.grips if self.model.owns(grip.turn, grip.attempt, grip.worker)]

    @precondition(lambda self: self.grips)
    @rule(chosen=st.lists(st.tuples(picks, outcomes), min_size=1, max_size=4))
    def settle(self, chosen: list[tuple[int, str]]) -> None:
        """Ends of attempts that are held, and of some that were lost long ago."""
        pairs = {pick % len(self.grips): outcome for pick, outcome in chosen}
        self._settle([(self.grips[at], outcome) for at, outcome in sorted(pairs.items())])

    @precondition(lambda self: self.ended)
    @rule(pick=picks)
    def settle_again_after_a_lost_answer(self, pick: int) -> None:
        """G-2, G-5: what was accepted is refused now, and found to have been accepted."""
        grip, outcome = self.ended[pick % len(self.ended)]
        self._settle([(grip, outcome)])

        def asked(door: Door, at: int) -> set[int]:
            end = self._end(grip, grip.claims[at], outcome)
            return {door.order[turn] for turn in door.write(lambda: turns.already_settled([end]))}

        assert all(asked(door, at) == {grip.turn} for at, door in enumerate(self.played))

    def _end(self, grip: Grip, claimed: Claim, outcome: str) -> End:
        facts = Ended(grip.worker, claimed.claimed_at, 5, 0.0)
        end = end_of(CATALOG, CATALOG.jobs[claimed.job], claimed, OUTCOMES[outcome][0](), facts)
        return end._replace(heats=()) if isinstance(end, End) else end  # cool-downs have tests of their own

    def _settle(self, chosen: list[tuple[Grip, str]]) -> None:
        live = [(grip, outcome) for grip, outcome in chosen if self.model.owns(grip.turn, grip.attempt, grip.worker)]
        tended = []
        for at, door in enumerate(self.played):
            ends = [self._end(grip, grip.claims[at], outcome) for grip, outcome in chosen]
            done = door.write(lambda ends=ends: turns.settle(ends, "w1"))
            taken = [(grip, outcome) for end, (grip, outcome) in zip(ends, chosen, strict=True) if done.took(end)]
            assert taken == live
            tended.append([turn for turn, bits in done.tend.items() if bits & 2])
        self.seen["fenced"] += len(chosen) - len(live)
        for grip, outcome in live:
            self._count_end(grip.turn, outcome)
            self.model.end(grip.turn, outcome, OUTCOMES[outcome][1])
            self.ended.append((grip, outcome))
        self.model.spread_news()
        self._tend(tended)

    def _count_end(self, place: int, outcome: str) -> None:
        turn = self.model.turns[place]
        kind = "one-off" if not turn.standing else "follower" if turn.job == "digest" else "recurring"
        self.seen[f"{kind} {outcome}"] += 1
        self.seen["left while running"] += turn.on_end & 1
        self.seen["back before its end"] += turn.on_end >> 1

    def _tend(self, tended: list[list[int]]) -> None:
        for door, ids in zip(self.played, tended, strict=True):
            door.write(lambda ids=ids: reconcile.tend(CATALOG, ids))
        for real in tended[0]:
            turn = self.model.turns[self.played[0].order[real]]
            turn.on_end = 0
            if turn.slot_at is None or turn.slot_at <= self.model.now:
                continue
            moved = self.model.slot_after(turn.job, turn.phase_ms, turn.slot_at - 1)
            turn.due_at = moved if turn.due_at == turn.slot_at else turn.due_at
            if turn.last_success_at is None and not turn.manual:
                turn.stale_at = moved + POLICIES[turn.job].grace_ms
            turn.slot_at = moved

    @rule(chosen=st.sampled_from((None, 0, 1)), stale=st.booleans())
    def reap(self, chosen: int | None, stale: bool) -> None:
        """Some of the doubted are said to be silent; since another beat than their last, it says nothing."""
        doubted = self.both(lambda door: sorted(door.write(reaping.doubted)))
        assert {one.worker for one in doubted} == self.model.doubted()
        said = [one for one in doubted if chosen is None or WORKERS.index(one.worker) % 2 == chosen]
        silent = [(one.worker, one.beat_at - stale) for one in said]
        expected = self.model.lost(() if stale else {one.worker for one in said})
        self.seen["doubted"] += len(doubted)
        self.seen["silent"] += len(said) if not stale else 0
        tended = []
        for door in self.played:
            ends: list[End] = []
            done: list[turns.Settled] = []

            def reap(ends: list[End] = ends, done: list[turns.Settled] = done) -> Any:
                ends.clear()
                done.clear()
                for one, worker in (yield from reaping.lost(100, silent)):
                    facts = Ended(worker, one.start_at, 0, 0.0)
                    ends.append(end_of(CATALOG, CATALOG.jobs[one.job], one, Lost("gone"), facts))
                done.append((yield from turns.settle(ends, "reaper")))

            door.write(reap)
            assert sorted(door.order[turn] for turn in done[0].accepted) == sorted(expected)
            tended.append([turn for turn, bits in done[0].tend.items() if bits & 2])
        for place in expected:
            self._count_end(place, "lost")
            self.model.end(place, "lost")
        self.model.spread_news()
        self._tend(tended)

    @precondition(lambda self: self.grips)
    @rule(pick=picks)
    def put_steps(self, pick: int) -> None:
        """G-7: a worker that lost its lease writes nothing."""
        grip = self.grips[pick % len(self.grips)]
        owns = self.model.owns(grip.turn, grip.attempt, grip.worker)
        for at, door in enumerate(self.played):
            assert owns == door.write(
                lambda at=at: turns.fenced_write("put_steps", grip.claims[at], grip.worker, steps='{"one": 1}')
            )

    # -- time --------------------------------------------------------------------------------------

    @rule(
        by=st.sampled_from((1, 999, 10_000, LEASE_MS + 1, 31_000, 700_000, HOUR_MS, HOUR_MS))
        | st.sampled_from((6 * HOUR_MS, DAY_MS, 90 * DAY_MS))
    )
    def advance(self, by: int) -> None:
        self.clock.ms += by
        self.model.now = self.clock.ms

    @rule(by=st.sampled_from((1, 5_000, HOUR_MS)))
    def step_back(self, by: int) -> None:
        """G-19: a clock that steps back; nothing runs twice."""
        self.clock.ms -= by
        self.model.now = self.clock.ms

    @rule()
    def prune(self) -> None:
        """Keys whose time is over are as good as absent, and may as well be gone."""
        for door in self.played:
            door.write(lambda: query("prune_keys", most=100))
        for key, known in list(self.model.keys.items()):
            if known.expires_at is not None and known.expires_at <= self.model.now:
                del self.model.keys[key]

    # -- what must hold after every step -----------------------------------------------------------

    @invariant()
    def the_tables_are_the_models(self) -> None:
        if not hasattr(self, "played"):
            return
        columns = [name.strip() for name in PROJECTED.split(",")]
        expected = {place: {name: getattr(turn, name) for name in columns} for place, turn in self.model.turns.items()}
        keys = sorted((key.turn, *what, key.expires_at) for what, key in self.model.keys.items())
        letters = Counter((letter.turn, letter.run, letter.requeued) for letter in self.model.letters)
        for door in self.played:
            rows = door.rows("turn", f"id, {PROJECTED}")
            found = {row[0]: dict(zip(columns, row[1:], strict=True)) for row in rows}
            assert found.keys() == expected.keys()
            assert _differences(found, expected) == {}, "turn: (name of the column, in the store, by the model)"
            assert sorted(door.rows("key", "turn, job, key, expires_at")) == keys
            dead = door.rows("dead_letter", "turn, run, CASE WHEN requeued_at IS NULL THEN 0 ELSE 1 END")
            assert Counter((turn, run, bool(gone)) for turn, run, gone in dead) == letters
            self._check_journal(door)
            assert door.rows("audit", "count(*)") == [(self.model.audited,)]

    def _check_journal(self, door: Door) -> None:
        ends = []
        passed: Counter[int] = Counter()
        for turn, run, attempt, outcome, started_at, slots in door.rows(
            "journal", "turn, run, attempt, outcome, started_at, slots"
        ):
            if outcome == "skipped" and started_at is None:
                passed[turn] += slots
            else:
                ends.append((turn, run, attempt, outcome))
        assert Counter(ends) == Counter(self.model.ends)
        assert +passed == +self.model.passed
        attempts = [(turn, attempt) for turn, _, attempt, outcome in ends if outcome != "cancelled"]
        assert len(attempts) == len(set(attempts)), "I-5: one end for each attempt"

    @invariant()
    def caps_are_kept(self) -> None:
        """I-15."""
        if hasattr(self, "played"):
            for door in self.played:
                running = door.rows("turn", "count(*)", "WHERE job = 'call' AND state = 'running'")
                assert running[0][0] <= 2

    @invariant()
    def both_databases_hold_the_same(self) -> None:
        if len(getattr(self, "played", ())) > 1:
            first, second = (door.tables() for door in self.played)
            for name in TABLES:
                assert first[name] == second[name], name
