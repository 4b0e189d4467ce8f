"""The watch: looks at every commit and every start of a handler, and says which invariant it breaks.

It keeps what each turn was before a commit, learns from the database's update hook which rows a commit touched, and
judges the step from one to the other by the rules of reliability.md 7 (I-1 … I-20), not by the engine's code.

Always true: it changes nothing; the first violation ends the world; what it saw goes into the trace, whose hash is
equal for equal seeds.

Not here: what is only true at the end, when everything has healed (healing).
"""

import asyncio
import hashlib
import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rota.define.catalog import Catalog
from rota.define.contract import Place
from rota.define.evenly import Every
from rota.define.job import JobSpec
from rota.define.wallclock import offset_at
from tests.sim.loop import Process, VirtualLoop

INSERT, DELETE = 18, 9  # SQLite's numbers for what an update hook is told
LAST = 200  # events shown of a world that fails
STOP_MS = 2_000  # no start later than this after a stop that was acknowledged (G-17)
FINAL = frozenset({"succeeded", "dead", "skipped", "cancelled"})
SAME_TRY = frozenset({"released", "snoozed", "held", "rate_limited", "lost"})

COLUMNS = (
    "id job roster member key standing state paused manual caught run attempt tries losses worker leased_until"
    " due_at slot_at start_at phase_ms on_end done"
)


class Turn(NamedTuple):
    """A turn as a commit left it."""

    id: int
    job: str
    roster: str | None
    member: str | None
    key: str | None
    standing: int
    state: str
    paused: int
    manual: int
    caught: int
    run: int
    attempt: int
    tries: int
    losses: int
    worker: str | None
    leased_until: int | None
    due_at: int | None
    slot_at: int | None
    start_at: int | None
    phase_ms: int
    on_end: int
    done: int


class Line(NamedTuple):
    """A journal row."""

    turn: int
    run: int
    attempt: int
    job: str
    member: str | None
    slot_at: int | None
    worker: str | None
    outcome: str
    reason: str | None
    slots: int


class Started(NamedTuple):
    """A handler was called."""

    turn: int
    run: int
    attempt: int
    at_ms: int


_TURN = f"SELECT {COLUMNS.replace(' ', ', ')} FROM rota_turn WHERE id = ?"
_LINE = "SELECT turn, run, attempt, job, member, slot_at, worker, outcome, reason, slots FROM rota_journal WHERE id = ?"
_MEMBER = "SELECT zone, data FROM rota_member WHERE roster = ? AND key = ?"
_LEASE = "SELECT lease_until FROM rota_worker WHERE incarnation = ?"
_PAUSED = (
    "SELECT scope, name FROM rota_pause WHERE ended_at IS NULL AND (until IS NULL OR until > ?) AND since < ?"
    " AND (scope = 'all' OR (scope = 'job' AND name = ?) OR (scope = 'roster' AND name = ?)"
    " OR (scope = 'member' AND name = ?))"
)
_RUNNING = "SELECT count(*) FROM rota_turn WHERE job = ? AND state = 'running'"


class Watch:
    """Sees each commit of one world."""

    def __init__(self, loop: VirtualLoop, catalog: Catalog, connection: Any, now_ms: Callable[[], int]) -> None:
        self._loop = loop
        self._catalog = catalog
        self._raw = connection
        self.now_ms = now_ms
        self._touched: list[tuple[int, str, int]] = []
        self.turns: dict[int, Turn] = {}
        self.sometimes: Counter[str] = Counter()
        self.violation: str | None = None
        self.last: deque[str] = deque(maxlen=LAST)
        self.events = 0
        self.stopped_at: int | None = None  # an emergency stop was acknowledged at this instant
        self.at_next_claim: list[Callable[[str], None]] = []  # told who claims, between the claim and the start
        self._hash = hashlib.blake2b(digest_size=12)
        self._ended: set[tuple[int, int]] = set()  # attempts that have their end
        self._slots: dict[tuple[int, int], str] = {}  # slots that are accounted for, by turn
        self._claimed_at: dict[int, tuple[int, int]] = {}  # by turn: the run that was claimed last, and when first
        self._places: dict[int, Place] = {}  # by turn: where the member stood when the turn was claimed
        self._starts: dict[tuple[int, int], Started] = {}
        self.ends: dict[int, str] = {}  # the last final outcome of each turn
        connection.set_update_hook(self._hook)

    # -- the trace ---------------------------------------------------------------------------------

    def note(self, *words: object) -> None:
        """Add an event to the trace."""
        text = f"{self._loop.time():.6f} " + " ".join(map(str, words))
        self._hash.update(text.encode())
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

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the tables."""
        return list(self._raw.execute(statement, values).fetchall())

    # -- commits -----------------------------------------------------------------------------------

    def _hook(self, kind: int, _database: str, table: str, row: int) -> None:
        self._touched.append((kind, table, row))

    def rolled_back(self) -> None:
        """What was touched was not touched."""
        self._touched.clear()

    def committed(self, who: str, *, changes: bool) -> None:
        """Judge what this commit has done."""
        touched, self._touched = self._touched, []
        if not touched:
            return
        if not changes:
            self.fail("reads", who, "changed rows in a read:", touched[:3])
        turns = sorted({row for _, table, row in touched if table == "rota_turn"})
        lines = self._lines(touched)
        for turn in turns:
            old = self.turns.get(turn)
            rows = self._raw.execute(_TURN, (turn,)).fetchall()
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

    def _lines(self, touched: Sequence[tuple[int, str, int]]) -> dict[int, list[Line]]:
        found: dict[int, list[Line]] = defaultdict(list)
        for kind, table, row in touched:
            if table != "rota_journal":
                continue
            if kind != INSERT:
                if kind != DELETE:
                    self.fail("I-19", "the journal row", row, "was changed")
                continue
            line = Line(*self._raw.execute(_LINE, (row,)).fetchall()[0])
            found[line.turn].append(line)
        return found

    def _judge(self, who: str, old: Turn | None, new: Turn | None, lines: list[Line]) -> None:
        self.note(who, _change(old, new), *(f"{line.outcome}@{line.slot_at}x{line.slots}" for line in lines))
        self._judge_lines(old, lines)
        if old is None:
            if new is not None and new.state == "running":
                self.fail("I-8", "was born running:", new)
            return
        if old.state == "running" and new is not None and new.state == "running" and new.attempt != old.attempt:
            between = _between(old, new)  # settled and claimed anew in one transaction
            self._ended_well(old, between, lines)
            self._claimed_well(who, between, new)
        elif old.state == "running" and (new is None or new.state != "running"):
            self._ended_well(old, new, lines)
        elif new is not None and new.state == "running" and old.state != "running":
            self._claimed_well(who, old, new)
        elif new is None:
            self._left_well(old, lines)
        if new is not None:
            self._went_on_well(old, new, lines)

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
        spec = self._catalog.jobs[new.job]
        waiting, self.at_next_claim = self.at_next_claim, []
        for call in waiting:
            call(who)
        self._cap_kept(spec)
        self._cooled_off(spec, new, now)
        self._places[new.id] = self._place(new)

    def _cap_kept(self, spec: JobSpec) -> None:
        if spec.cap is None:
            return
        running = self._raw.execute(_RUNNING, (spec.name,)).fetchall()[0][0]
        if running > spec.cap.n:
            self.fail("I-15", spec.name, "has a cap of", spec.cap.n, "and runs", running)
        if running == spec.cap.n:
            self.sometimes["cap full"] += 1

    def _cooled_off(self, spec: JobSpec, new: Turn, now: int) -> None:
        run, at_ms = self._claimed_at.get(new.id, (0, 0))
        if run == new.run:
            return  # a further attempt of the same run
        self._claimed_at[new.id] = (new.run, now)
        if spec.min_gap_ms and run and now - at_ms < spec.min_gap_ms:
            self.fail("I-12", "started", now - at_ms, "ms after the run before; min_gap is", spec.min_gap_ms, new)

    def _place(self, turn: Turn) -> Place:
        rows = self._raw.execute(_MEMBER, (turn.roster, turn.member)).fetchall()
        zone, data = rows[0] if rows else (None, "{}")
        return Place(turn.phase_ms, zone, json.loads(data))

    # -- ends --------------------------------------------------------------------------------------

    def _judge_lines(self, old: Turn | None, lines: Sequence[Line]) -> None:
        for line in lines:
            self.sometimes[line.outcome] += 1
            if line.reason:
                self.sometimes[f"reason: {line.reason.split(';')[0][:40]}"] += 1
            if line.slot_at is not None and line.outcome in FINAL:
                key = (line.turn, line.slot_at)
                ahead = line.outcome == "cancelled" and line.worker is None  # its rule may bring it back: nothing ran
                if key in self._slots:
                    self.fail("I-9", "the slot", line.slot_at, "was", self._slots[key], "already:", line)
                elif not ahead:
                    self._slots[key] = line.outcome
            if line.worker is None:
                continue
            if (line.turn, line.attempt) in self._ended:
                self.fail("I-5", "a second end of an attempt:", line)
            self._ended.add((line.turn, line.attempt))
            if old is None or (old.state, old.attempt, old.worker) != ("running", line.attempt, line.worker):
                self.fail("I-7", "an end without the lease was accepted:", line, old)

    def _ended_well(self, old: Turn, new: Turn | None, lines: Sequence[Line]) -> None:
        own = [line for line in lines if line.attempt == old.attempt and line.worker is not None]
        if len(own) != 1:
            self.fail("I-6", "an attempt ended with", len(own), "journal rows:", old, new)
            return
        outcome = own[0].outcome
        if outcome == "lost" or own[0].reason == "poison":
            self._truly_lost(old)
        if outcome in FINAL:
            self.ends[old.id] = outcome
        if new is None:
            may_go = old.on_end & 1 if old.standing else outcome in FINAL
            if not may_go:
                self.fail("I-1", "a turn went away before its time:", old, own)
            return
        self._counted_well(old, new, outcome)

    def _counted_well(self, old: Turn, new: Turn, outcome: str) -> None:
        """What an end does to the numbers of the run: tries, losses, the run itself."""
        used = new.tries - (old.tries - 1)
        wanted = {"retry": (0, 1, 0), **dict.fromkeys(SAME_TRY, (0, 0, 0)), "lost": (0, 0, 1)}.get(outcome)
        if wanted is None:
            if (new.run, new.tries, new.losses) != (old.run + 1, 0, 0):
                self.fail("I-6", "a run ended and the next did not begin afresh:", outcome, old, new)
        elif (new.run - old.run, used, new.losses - old.losses) != wanted:
            self.fail("I-17", outcome, "should change (run, tries, losses) by", wanted, "but:", old, new)
        if new.losses >= self._catalog.jobs[new.job].max_lost:
            self.fail("I-16", "too many losses:", new)

    def _truly_lost(self, old: Turn) -> None:
        """No live lease is reaped: the worker's is over, or the attempt is past its own last instant."""
        now = self.now_ms()
        rows = self._raw.execute(_LEASE, (old.worker,)).fetchall()
        if rows and rows[0][0] >= now and (old.leased_until or 0) >= now:
            self.fail("G-19", "a live lease was reaped:", old, "worker's lease until", rows[0][0], "now", now)

    def _left_well(self, old: Turn, lines: Sequence[Line]) -> None:
        if old.standing:
            gone = not self._raw.execute(_MEMBER, (old.roster, old.member)).fetchall()
            if not gone:
                self.fail("I-1", "a member's turn went away:", old)
        elif not any(line.outcome == "cancelled" for line in lines):
            self.fail("I-1", "a one-off went away without an end:", old)
        self.ends.setdefault(old.id, "cancelled")

    # -- slots -------------------------------------------------------------------------------------

    def _went_on_well(self, old: Turn, new: Turn, lines: Sequence[Line]) -> None:
        if new.attempt not in {old.attempt, old.attempt + 1} or new.run not in {old.run, old.run + 1}:
            self.fail("I-6", "attempt or run leapt:", old, new)
        if new.caught and not old.caught:
            self.sometimes["spread"] += 1
        spec = self._catalog.jobs[new.job]
        if spec.schedule is None or old.slot_at is None:
            return
        accounted = sum(line.slots for line in lines if line.slot_at is not None and line.outcome in FINAL)
        if new.slot_at == old.slot_at and not accounted:
            return
        if new.slot_at is None:
            self.fail("I-10", "a turn lost its slot:", old, new)
            return
        self._accounted(spec, old, new, accounted)

    def _accounted(self, spec: JobSpec, old: Turn, new: Turn, accounted: int) -> None:
        assert spec.schedule is not None
        assert old.slot_at is not None
        assert new.slot_at is not None
        now = self.now_ms()
        if not accounted and (old.slot_at > now or new.on_end != old.on_end or old.phase_ms != new.phase_ms):
            self.sometimes["moved"] += 1  # a zone, a place: from a slot still to come to another
            if new.slot_at < now - STOP_MS and old.slot_at > now:
                self.fail("G-16", "moved to a slot in the past, now", now, old, new)
            return
        place = self._places.get(old.id) if old.state == "running" else None
        place = place or self._place(old)
        # The old slot is owed in any case: after a change of zone it may not be on the calendar any more.
        owed = 1 + spec.schedule.count_between(old.slot_at, new.slot_at - 1, place)
        if owed != accounted:
            self.fail("I-10", owed, "slots passed and", accounted, "are accounted for:", old, new)
        zone = place.zone or "UTC"
        if not isinstance(spec.schedule, Every) and offset_at(old.slot_at, zone) != offset_at(new.slot_at, zone):
            self.sometimes["clocks changed between two slots"] += 1
        places = [place, self._place(old)] if old.on_end else [place]  # the reaper knows already who moved meanwhile
        if all(spec.schedule.last_slot(new.slot_at, one) != new.slot_at for one in places):
            self.fail("I-11", "is no slot of the schedule:", old, new)

    # -- starts ------------------------------------------------------------------------------------

    def started(self, process: Process, turn: int, run: int, attempt: int) -> None:
        """A handler is called."""
        now = self.now_ms()
        self.note(process.name, "starts", f"{turn}-{run}", attempt)
        if (turn, attempt) in self._starts:
            self.fail("I-3", "an attempt was started twice:", turn, run, attempt)
        self._starts[turn, attempt] = Started(turn, run, attempt, now)
        held = self.turns.get(turn)
        if held is None or (held.state, held.attempt) != ("running", attempt):
            self.sometimes["started after its lease was lost"] += 1
        if self.stopped_at is not None and now > self.stopped_at + STOP_MS:
            self.fail("I-14", "started", now - self.stopped_at, "ms after a stop:", turn, run, attempt)

    def told(self, process: Process, name: str) -> None:
        """An event of the engine."""
        self.sometimes[f"event {name}"] += 1
        if name in {"run.fenced", "store.lost", "store.back", "worker.drained", "error"}:
            self.note(process.name, name)

    def crashed(self, process: Process, task: asyncio.Task[Any]) -> None:
        """A worker or a tick ended with an exception that it should have met."""
        self.fail("crash", process.name, repr(task.exception()))


def _between(old: Turn, new: Turn) -> Turn:
    """A turn after its end and before the claim that came with it."""
    fence = {"attempt": new.attempt - 1, "tries": new.tries - 1, "worker": None, "leased_until": None}
    return new._replace(state="waiting", start_at=old.start_at, **fence)


def _change(old: Turn | None, new: Turn | None) -> str:
    """What is different, in few words."""
    if new is None:
        return f"turn {old.id if old else '?'} gone"
    if old is None:
        return f"turn {new.id} new {new.job} {new.member} due={new.due_at}"
    parts = [
        f"{name}={getattr(old, name)}→{getattr(new, name)}"
        for name in Turn._fields
        if getattr(old, name) != getattr(new, name)
    ]
    return f"turn {new.id} {new.job} " + " ".join(parts)
