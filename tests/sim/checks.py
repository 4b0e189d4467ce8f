"""The watch: looks at every commit and every start of a handler, and has each judged by its checkers.

It keeps what each turn was before a commit, learns from the database's update hook which rows a commit touched, and
judges the step from one to the other by the rules of reliability.md 7 (I-1 … I-20), not by the engine's code.

Always true: it changes nothing; only what a commit touched is looked at; the first violation ends the world; what it
saw goes into the trace, whose hash is equal for equal seeds.

Who judges what: here I-1, I-5 to I-8, I-12 to I-14, I-16, I-17 and, in part, I-3 and I-9; slots (checks_slots) I-9 to
I-11; leases by the true time (checks_leases) G-19; sums, effects, places and what is kept (checks_sums) I-3, I-4, I-6,
I-15, I-19, I-20; policies (checks_policies) I-15; people I-20; healing I-1, I-2, I-18.

Not here: what is only true at the end, when everything has healed (healing).
"""

import asyncio
import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

from rota.clock import LEAP_MS
from rota.define.catalog import Catalog
from rota.define.job import JobSpec
from rota.define.run import Run
from tests.sim.loop import Process, VirtualLoop
from tests.sim.records import FINAL, LINE, SAME_TRY, TURN, Line, Started, Turn, between, change

INSERT, DELETE = 18, 9  # SQLite's numbers for what an update hook is told
LAST = 200  # events shown of a world that fails
STOP_MS = 2_000  # no start later than this after a stop that was acknowledged (G-17)
TOLD = frozenset({"run.fenced", "store.lost", "store.back", "worker.drained", "loop.blocked", "error"})

_LEASE = "SELECT lease_until, beat_at FROM rota_worker WHERE incarnation = ?"
_PAUSED = (
    "SELECT scope, name FROM rota_pause WHERE ended_at IS NULL AND (until IS NULL OR until > ?) AND since < ?"
    " AND (scope = 'all' OR (scope = 'job' AND name = ?) OR (scope = 'roster' AND name = ?)"
    " OR (scope = 'member' AND name = ?))"
)
_THERE = "SELECT 1 FROM rota_member WHERE roster = ? AND key = ?"


class Checker:
    """One group of invariants: told of each step, and says what must not be by `self.watch.fail`."""

    def __init__(self, watch: "Watch") -> None:
        self.watch = watch

    def claimed(self, who: str, old: Turn, new: Turn) -> None:
        """A turn was claimed."""

    def ended(self, old: Turn, new: Turn | None, line: Line) -> None:
        """An attempt ended with this journal row."""

    def wrote(self, old: Turn | None, line: Line) -> None:
        """A journal row was written, of an attempt or of a slot that was passed over."""

    def went_on(self, old: Turn, new: Turn, lines: Sequence[Line]) -> None:
        """A turn is otherwise than it was."""

    def gone(self, old: Turn) -> None:
        """A turn is there no more."""

    def touched(self, kind: int, table: str, row: int) -> None:
        """A row of another table than those of turns and the journal was written."""

    def committed(self, lines: Sequence[Line]) -> None:
        """All of a commit has been told."""

    def started(self, process: Process, start: Started) -> None:
        """A handler is called."""

    def returned(self, process: Process, start: Started) -> None:
        """A handler has returned, however."""

    def healed(self) -> None:
        """All faults are over and everything owed should have happened."""


class Watch:
    """Sees each commit of one world."""

    def __init__(self, loop: VirtualLoop, catalog: Catalog, connection: Any, now_ms: Callable[[], int]) -> None:
        self._loop = loop
        self._raw = connection
        self.catalog = catalog  # what the newest release declares
        self.now_ms = now_ms
        self.latest_ms = 0  # the latest instant from which the clock was set to another
        self.checkers: list[Checker] = []
        self.commits = 0
        self.who = ""  # whose commit is being judged
        self.knows: Callable[[str, str], bool] = lambda _who, _job: True  # whether this process declares this job
        self.turns: dict[int, Turn] = {}
        self.ends: dict[int, str] = {}  # the last final outcome of each turn
        self.sometimes: Counter[str] = Counter()
        self.figures: dict[str, float] = {}
        self.violation: str | None = None
        self.last: deque[str] = deque(maxlen=LAST)
        self.events = 0
        self.stopped_at: int | None = None  # an emergency stop was acknowledged at this instant
        self.at_next_claim: list[Callable[[str], None]] = []  # told who claims, between the claim and the start
        self._touched: list[tuple[int, str, int]] = []
        self._claims: list[tuple[Turn, Turn]] = []
        self._hash = hashlib.blake2b(digest_size=12)
        self._ended: set[tuple[int, int]] = set()  # attempts that have their end
        self._claimed_at: dict[int, tuple[int, int]] = {}  # by turn: the run that was claimed last, and when first
        self._starts: set[tuple[int, int]] = set()
        self._links: dict[tuple[int, int], set[int]] = defaultdict(set)  # by attempt: the links that were called
        self._newest = 0  # the newest turn
        self._standing: dict[tuple[str, str | None, str | None], int] = {}
        connection.set_update_hook(self._hook)

    @property
    def true_s(self) -> float:
        """The time that no clock of the world shows wrongly."""
        return self._loop.time()

    # -- the trace ---------------------------------------------------------------------------------

    def note(self, *words: object) -> None:
        """Add an event to the trace."""
        text = f"{self._loop.time():.6f} " + " ".join(map(str, words))
        self._hash.update(text.encode("utf-8", "backslashreplace"))
        self.last.append(text)
        self.events += 1

    @property
    def trace(self) -> str:
        """The hash of all that was seen."""
        return self._hash.hexdigest()

    def fail(self, invariant: str, *what: object) -> None:
        """Note a violation and end the world."""
        text = f"{invariant}: " + " ".join(map(str, what))
        self.note("VIOLATION", text)
        if self.violation is None:
            self.violation = text
            self._loop.stop()

    def least(self, name: str, value: float) -> None:
        """Keep the smallest of these figures."""
        self.figures[name] = min(value, self.figures.get(name, value))

    def most(self, name: str, value: float) -> None:
        """Keep the largest of these figures."""
        self.figures[name] = max(value, self.figures.get(name, value))

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the tables."""
        return list(self._raw.execute(statement, values).fetchall())

    def spec(self, job: str) -> JobSpec:
        """What the newest release says of a job."""
        return self.catalog.jobs[job]

    # -- commits -----------------------------------------------------------------------------------

    def _hook(self, kind: int, _database: str, table: str, row: int) -> None:
        self._touched.append((kind, table, row))

    def rolled_back(self) -> None:
        """What was touched was not touched."""
        self._touched.clear()

    def committed(self, who: str, *, changes: bool) -> None:
        """Judge what this commit has done."""
        touched = self._touched
        if not touched:
            return
        self._touched = []
        self.commits += 1
        self.who = who
        if not changes:
            self.fail("reads", who, "changed rows in a read:", touched[:3])
        turns, lines = self._sorted(touched)
        every = [line for own in lines.values() for line in own]
        for turn in sorted(turns):
            old = self.turns.get(turn)
            rows = self._raw.execute(TURN, (turn,)).fetchall()
            new = Turn(*rows[0]) if rows else None
            if old == new and turn not in lines:
                continue
            self._judge(who, old, new, lines.pop(turn, []))
            if new is None:
                self.turns.pop(turn, None)
            else:
                self.turns[turn] = new
        for turn, own in lines.items():
            self._judge_lines(self.turns.get(turn), own)
        claims, self._claims = self._claims, []  # what ends in a transaction ends before anything is claimed in it
        for before, after in claims:
            self._claimed_well(who, before, after)
        for checker in self.checkers:
            checker.committed(every)

    def _sorted(self, touched: Sequence[tuple[int, str, int]]) -> tuple[set[int], dict[int, list[Line]]]:
        turns: set[int] = set()
        found: dict[int, list[Line]] = defaultdict(list)
        for kind, table, row in touched:
            if table == "rota_turn":
                turns.add(row)
            elif table == "rota_journal" and kind == INSERT:
                line = Line(*self._raw.execute(LINE, (row,)).fetchall()[0])
                found[line.turn].append(line)
            else:
                for checker in self.checkers:
                    checker.touched(kind, table, row)
        return turns, found

    def _judge(self, who: str, old: Turn | None, new: Turn | None, lines: list[Line]) -> None:
        self.note(who, change(old, new), *(f"{line.outcome}@{line.slot_at}x{line.slots}" for line in lines))
        self._judge_lines(old, lines)
        if old is None:
            if new is not None:
                self._born_well(new)
            return
        self._step(who, old, new, lines)
        if new is None:
            for checker in self.checkers:
                checker.gone(old)
            return
        if new.attempt not in {old.attempt, old.attempt + 1} or new.run not in {old.run, old.run + 1}:
            self.fail("I-6", "attempt or run leapt:", old, new)
        for checker in self.checkers:
            checker.went_on(old, new, lines)

    def _step(self, who: str, old: Turn, new: Turn | None, lines: list[Line]) -> None:
        """An end, a claim, both in one transaction, or a turn that went away."""
        if old.state == "running" and new is not None and new.state == "running" and new.attempt != old.attempt:
            middle = between(old, new)
            self._ended_well(who, old, middle, lines)
            self._claims.append((middle, new))
        elif old.state == "running" and (new is None or new.state != "running"):
            self._ended_well(who, old, new, lines)
        elif new is not None and new.state == "running" and old.state != "running":
            self._claims.append((old, new))
        elif new is None:
            self._left_well(old, lines)

    def _born_well(self, new: Turn) -> None:
        if new.state == "running":
            self.fail("I-8", "was born running:", new)
        if new.id <= self._newest:
            self.fail("I-7", "an id was used again, an old lease may fit it:", new)
        self._newest = new.id
        if new.standing:
            place = (new.job, new.roster, new.member)
            other = self._standing.get(place)
            if other in self.turns:
                self.fail("I-9", "a second turn of", place, "beside", other)
            self._standing[place] = new.id

    # -- claims ------------------------------------------------------------------------------------

    def _claimed_well(self, who: str, old: Turn, new: Turn) -> None:
        now = self.now_ms()
        self.sometimes["claim"] += 1
        if old.state != "waiting" or new.attempt != old.attempt + 1 or new.tries != old.tries + 1:
            self.fail("I-8", "not a claim:", old, new)
        if new.due_at is None or now < new.due_at:
            self.fail("I-13", "claimed before it was due at", new.due_at, "now", now, new)
        member = f"{new.roster}/{new.member}"
        paused = self._raw.execute(_PAUSED, (now, now, new.job, new.roster, member)).fetchall()
        if paused or old.paused:
            self.fail("G-17", "claimed while paused:", paused, new)
        waiting, self.at_next_claim = self.at_next_claim, []
        for call in waiting:
            call(who)
        self._cooled_off(self.spec(new.job), new, now)
        for checker in self.checkers:
            checker.claimed(who, old, new)

    def _cooled_off(self, spec: JobSpec, new: Turn, now: int) -> None:
        run, at_ms = self._claimed_at.get(new.id, (0, 0))
        if run == new.run:
            return  # a further attempt of the same run
        self._claimed_at[new.id] = (new.run, now)
        if spec.min_gap_ms and run and now - at_ms < spec.min_gap_ms:
            self.fail("I-12", "started", now - at_ms, "ms after the run before; min_gap is", spec.min_gap_ms, new)

    # -- ends --------------------------------------------------------------------------------------

    def _judge_lines(self, old: Turn | None, lines: Sequence[Line]) -> None:
        for line in lines:
            self.sometimes[line.outcome] += 1
            if line.reason:
                self.sometimes[f"reason: {line.reason.split(';')[0][:40]}"] += 1
            for checker in self.checkers:
                checker.wrote(old, line)
            if line.worker is None:
                continue
            if (line.turn, line.attempt) in self._ended:
                self.fail("I-5", "a second end of an attempt:", line)
            self._ended.add((line.turn, line.attempt))
            if old is None or (old.state, old.attempt, old.worker) != ("running", line.attempt, line.worker):
                self.fail("I-7", "an end without the lease was accepted:", line, old)

    def _ended_well(self, who: str, old: Turn, new: Turn | None, lines: Sequence[Line]) -> None:
        own = [line for line in lines if line.attempt == old.attempt and line.worker is not None]
        if len(own) != 1:
            self.fail("I-6", "an attempt ended with", len(own), "journal rows:", old, new)
            return
        outcome = own[0].outcome
        if outcome == "lost" or own[0].reason == "poison":
            self._truly_lost(old)
        if outcome in FINAL:
            self.ends[old.id] = outcome
        for checker in self.checkers:
            checker.ended(old, new, own[0])
        if new is not None:
            self._counted_well(who, old, new, outcome)
            return
        may_go = old.on_end & 1 if old.standing else outcome in FINAL
        if not may_go:
            self.fail("I-1", "a turn went away before its time:", old, own)

    def _counted_well(self, who: str, old: Turn, new: Turn, outcome: str) -> None:
        """What an end does to the numbers of the run: tries, losses, the run itself."""
        used = new.tries - (old.tries - 1)
        wanted = {"retry": (0, 1, 0), **dict.fromkeys(SAME_TRY, (0, 0, 0)), "lost": (0, 0, 1)}.get(outcome)
        if wanted is None:
            if (new.run, new.tries, new.losses) != (old.run + 1, 0, 0):
                self.fail("I-6", "a run ended and the next did not begin afresh:", outcome, old, new)
        elif (new.run - old.run, used, new.losses - old.losses) != wanted:
            self.fail("I-17", outcome, "should change (run, tries, losses) by", wanted, "but:", old, new)
        if new.losses < self.spec(new.job).max_lost:
            return
        if self.knows(who, new.job):
            self.fail("I-16", "too many losses:", new)
        self.sometimes["given back by a release that does not know it"] += 1  # whoever knows it ends it (G-8, G-9)

    def _truly_lost(self, old: Turn) -> None:
        """No lease that is live by the store's clock is reaped, but for one begun before that clock was set back."""
        if old.losses >= self.spec(old.job).max_lost:
            return  # given back once too often by a release that does not know it: its claimer ends it
        now = self.now_ms()
        rows = self._raw.execute(_LEASE, (old.worker,)).fetchall()
        if rows and rows[0][0] >= now and rows[0][1] <= now + LEAP_MS and (old.leased_until or 0) >= now:
            self.fail("G-19", "a live lease was reaped:", old, "worker's lease until", rows[0][0], "now", now)

    def _left_well(self, old: Turn, lines: Sequence[Line]) -> None:
        if old.standing:
            gone = not self._raw.execute(_THERE, (old.roster, old.member)).fetchall()
            if not gone:
                self.fail("I-1", "a member's turn went away:", old)
        elif not any(line.outcome == "cancelled" for line in lines):
            self.fail("I-1", "a one-off went away without an end:", old)
        self.ends.setdefault(old.id, "cancelled")

    # -- starts ------------------------------------------------------------------------------------

    def started(self, process: Process, run: Turn | Run) -> Started:
        """A handler is called."""
        turn, number = (run.id, run.run) if isinstance(run, Turn) else (run.turn, run.number)
        attempt = run.attempt
        start = Started(process.name, run.job, turn, number, attempt, self.now_ms())
        self.note(process.name, "starts", f"{turn}-{number}", attempt)
        if (turn, attempt) in self._starts:
            self.fail("I-3", "an attempt was started twice:", start)
        self._starts.add((turn, attempt))
        held = self.turns.get(turn)
        if held is None or (held.state, held.attempt) != ("running", attempt):
            self.sometimes["started after its lease was lost"] += 1
        elif held.losses >= self.spec(held.job).max_lost:
            self.fail("I-16", "started though it was lost often enough:", held)
        if self.stopped_at is not None and start.at_ms > self.stopped_at + STOP_MS:
            self.fail("I-14", "started", start.at_ms - self.stopped_at, "ms after a stop:", start)
        for checker in self.checkers:
            checker.started(process, start)
        return start

    def link_called(self, process: Process, run: Run, place: int) -> None:
        """A link of a chain is called; the first that is, begins the attempt."""
        key = (run.turn, run.attempt)
        if place in self._links[key]:
            self.fail("links", "the link", place, "was called twice in one attempt:", run)
        self._links[key].add(place)
        if key not in self._starts:
            self.returned(process, self.started(process, run))

    def standing(self, job: str, roster: str | None, member: str) -> Turn | None:
        """The turn of a member."""
        return self.turns.get(self._standing.get((job, roster, member), 0))

    def returned(self, process: Process, start: Started) -> None:
        """A handler has returned, raised or been cancelled."""
        for checker in self.checkers:
            checker.returned(process, start)

    def told(self, process: Process, name: str) -> None:
        """An event of the engine."""
        self.sometimes[f"event {name}"] += 1
        if name in TOLD:
            self.note(process.name, name)

    def crashed(self, process: Process, task: asyncio.Task[Any]) -> None:
        """A worker or a tick ended with an exception that it should have met."""
        self.fail("crash", process.name, repr(task.exception()))
