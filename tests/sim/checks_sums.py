"""Sums: starts against losses, attempts against journal rows, effects against successes, places, and what is kept.

Always true: a ledger is kept for each run that is not finished; a row that is kept for a time goes no sooner.

Not here: the rules of a single step (checks), slots (checks_slots).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tests.sim.checks import DELETE, INSERT, Checker, Watch
from tests.sim.loop import Process
from tests.sim.records import FINAL, Line, Started, Turn

STEP_MS = 3 * 1_800_000  # what has been kept for long enough by a clock that stepped since, a few times half an hour


class Runs(Checker):
    """Attempts of each run (I-3, I-6), and what every run comes to (I-2)."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._open: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
        self.sums: Counter[str] = watch.sometimes

    def claimed(self, who: str, old: Turn, new: Turn) -> None:
        self._open[new.id, new.run]["claims"] += 1
        running = self.watch.spec(new.job).cap
        if running is not None and running.by is None:
            self._cap_kept(new.job, running.n)

    def _cap_kept(self, job: str, most: int) -> None:
        statement = "SELECT count(*) FROM rota_turn WHERE job = ? AND state = 'running'"
        ((running,),) = self.watch.rows(statement, job)
        if running > most:
            self.watch.fail("I-15", job, "has a cap of", most, "and runs", running)
        if running == most:
            self.watch.sometimes["cap full"] += 1

    def started(self, process: Process, start: Started) -> None:
        ledger = self._open[start.turn, start.run]
        ledger["starts"] += 1
        self.watch.sometimes["starts"] += 1
        if ledger["starts"] > 1:
            self.watch.sometimes["further starts"] += 1
        again = sum(ledger[outcome] for outcome in ("retry", "lost", "released", "snoozed", "rate_limited", "held"))
        if ledger["starts"] > 1 + again and not self._lost_meanwhile(start):
            self.watch.fail(
                "I-3", ledger["starts"], "starts of a run that was to be tried again", again, "times:", start
            )

    def _lost_meanwhile(self, start: Started) -> bool:
        """A worker that was frozen for less than a second may start what it has lost meanwhile."""
        held = self.watch.turns.get(start.turn)
        return held is None or (held.state, held.attempt) != ("running", start.attempt)

    def ended(self, old: Turn, new: Turn | None, line: Line) -> None:
        ledger = self._open[old.id, old.run]
        ledger[line.outcome] += 1
        ledger["ends"] += 1
        if ledger["claims"] != ledger["ends"]:
            self.watch.fail("I-6", "claims and ends of a run differ:", dict(ledger), old, line)
        if line.outcome in FINAL:
            self.watch.sometimes["runs"] += 1
            del self._open[old.id, old.run]

    def healed(self) -> None:
        for (turn, run), ledger in self._open.items():
            held = self.watch.turns.get(turn)
            if held is not None and held.run == run and held.state == "running" and ledger["starts"]:
                self.watch.sometimes["still running at the end"] += 1


class Order(Checker):
    """What is due first is claimed first (G-10): of one job and priority, by due instant.

    What the same transaction has put off or ended may be due again and is left for the next.
    """

    FIRST = (
        "SELECT id, due_at FROM rota_turn"
        " WHERE job = ? AND priority = ? AND state = 'waiting' AND paused = 0 AND due_at < ? LIMIT 50"
    )

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._claimed: list[Turn] = []
        self._changed: set[int] = set()

    def went_on(self, old: Turn, new: Turn, lines: Sequence[Line]) -> None:
        self._changed.add(new.id)

    def claimed(self, who: str, old: Turn, new: Turn) -> None:
        spec = self.watch.spec(new.job)
        shares = spec.limits or spec.scope or spec.serial or spec.batch or (spec.cap is not None and spec.cap.by)
        if not shares:
            self._claimed.append(new)

    def committed(self, lines: Sequence[Line]) -> None:
        claimed, self._claimed = self._claimed, []
        changed, self._changed = self._changed, set()
        for turn in claimed:
            passed = self.watch.rows(self.FIRST, turn.job, turn.priority, turn.due_at)
            left = [one for one in passed if one[0] not in changed]
            if left:
                self.watch.fail("G-10", "the turn", left[0], "was due before", turn)


class Effects(Checker):
    """Inside effects happen with the success of their attempt or not at all (I-4)."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._fresh: list[tuple[int, int, int]] = []
        self._of_run: set[tuple[int, int]] = set()

    def touched(self, kind: int, table: str, row: int) -> None:
        if table != "sim_effect":
            return
        if kind != INSERT:
            self.watch.fail("I-4", "an effect was changed:", row)
            return
        self._fresh += self.watch.rows("SELECT turn, run, attempt FROM sim_effect WHERE id = ?", row)

    def committed(self, lines: Sequence[Line]) -> None:
        fresh, self._fresh = self._fresh, []
        for turn, run, attempt in fresh:
            self.watch.sometimes["inside effect"] += 1
            if not any((line.turn, line.attempt, line.outcome) == (turn, attempt, "succeeded") for line in lines):
                self.watch.fail(
                    "I-4", "an effect was committed without the success of its attempt:", turn, run, attempt
                )
            if (turn, run) in self._of_run:
                self.watch.fail("I-4", "a run has two effects:", turn, run)
            self._of_run.add((turn, run))


class Places(Checker):
    """No worker runs more handlers at once than it has places, and no tick more of one job (I-15)."""

    def __init__(self, watch: Watch, most: int) -> None:
        super().__init__(watch)
        self._most = most
        self._running: Counter[str] = Counter()

    @staticmethod
    def _where(start: Started) -> str:
        return f"{start.process} {start.job}" if start.process.startswith("t") else start.process

    def started(self, process: Process, start: Started) -> None:
        where = self._where(start)
        self._running[where] += 1
        if self._running[where] > self._most:
            self.watch.fail("I-15", where, "runs", self._running[where], "handlers in", self._most, "places")
        if self._running[where] == self._most:
            self.watch.sometimes["all places taken"] += 1

    def returned(self, process: Process, start: Started) -> None:
        self._running[self._where(start)] -= 1


class Kept(Checker):
    """What is written stays as it is, and goes only when its time is over (I-1, I-19, I-20)."""

    SINCE: Mapping[str, str] = {"rota_journal": "ended_at", "rota_dead_letter": "died_at", "rota_audit": "at"}
    MAY_CHANGE = frozenset({"rota_dead_letter"})  # it is noted there that it was requeued

    def __init__(self, watch: Watch, keep_ms: Mapping[str, int]) -> None:
        """`keep_ms`: how long rows of these tables are kept."""
        super().__init__(watch)
        self._keep_ms = keep_ms
        self._since: dict[tuple[str, int], int] = {}
        self.ended_at: dict[int, int] = {}  # by turn: when its last run ended

    def wrote(self, old: Turn | None, line: Line) -> None:
        self._since["rota_journal", line.id] = line.ended_at
        if line.outcome in FINAL:
            self.ended_at[line.turn] = line.ended_at

    def touched(self, kind: int, table: str, row: int) -> None:
        column = self.SINCE.get(table)
        if column is None:
            return
        if kind == DELETE:
            self._pruned(table, row)
        elif kind == INSERT:
            self._written(table, column, row)
        elif table not in self.MAY_CHANGE:
            self.watch.fail("I-20" if table == "rota_audit" else "I-19", "a row of", table, "was changed:", row)

    def _written(self, table: str, column: str, row: int) -> None:
        found = self.watch.rows(f"SELECT {column} FROM {table} WHERE id = ?", row)
        if found:
            self._since[table, row] = found[0][0]

    def _pruned(self, table: str, row: int) -> None:
        self.watch.sometimes[f"pruned {table.removeprefix('rota_')}"] += 1
        since = self._since.pop((table, row), None)
        now = self.watch.now_ms()
        if since is not None and now - since < self._keep_ms[table] - STEP_MS:
            self.watch.fail("I-19", "a row of", table, "went", now - since, "ms after it was written:", row)
