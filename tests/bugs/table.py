"""The 32 deliberate bugs of reliability 6: what each makes wrong, and which suite must notice.

Always true: a bug is one thing wrong, in as few words as that takes; its first suite must find it, and those after it
may.

Not here: how a bug gets into a process (edits), who runs the suites (`python -m tests.bugs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.bugs.edits import Edit

WORLDS = 50  # within so many seeds the simulation must find what it is to find


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What is run with the bug in it: tests, or worlds of the simulation when there are none."""

    name: str
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One bug; `not_yet` says what is missing before it can be made at all."""

    number: int
    sentence: str
    edits: tuple[Edit, ...] = ()
    suites: tuple[Suite, ...] = field(default=())
    not_yet: str = ""


def _tests(name: str, *tests: str) -> Suite:
    return Suite(name=name, tests=tests)


def _contract(store: str) -> Suite:
    return _tests(
        f"contract on {store}", f"tests/store/test_contract.py::test_any_script_on_{store}_does_what_the_model_says"
    )


SIMULATION = Suite(name="simulation")
FENCES = _tests("store, fence by fence", "tests/store/test_fences.py")
RACES = _tests("races", "tests/store/test_races.py")
LETTING_GO = _tests("engine", "tests/engine/test_fences.py")
CLOCKS = _tests("engine, wrong clocks", "tests/engine/test_wrong_clocks.py")
ONE_OFFS = _tests("engine, one-offs", "tests/engine/test_one_offs.py")

# The statements by which an attempt ends, with the words that fence them.
_FENCES = (
    ("settle", "turn.attempt = ends.attempt", "turn.worker = ends.worker"),
    ("settle_well", "turn.attempt = ends.attempt", "turn.worker = ends.worker"),
    ("finish", "turn.attempt = ends.attempt", "turn.worker = ends.worker"),
    ("journal_well", "turn.attempt = ends.attempt", "turn.worker = ends.worker"),
    ("settle_fused", "turn.attempt = ends.fence", "turn.worker = ends.holder"),
    ("finish_fused", "turn.attempt = ends.fence", "turn.worker = ends.holder"),
)
_FENCE = "(id, attempt, worker) IN (SELECT ends.id, ends.attempt, ends.worker"
_NO_ATTEMPT = (
    *(Edit(f"sql {name}", attempt, "true") for name, attempt, _ in _FENCES),
    Edit("sql finish", _FENCE, "(id, worker) IN (SELECT ends.id, ends.worker"),
)
_NO_HOLDER = (
    *(Edit(f"sql {name}", holder, "true") for name, _, holder in _FENCES),
    Edit("sql finish", _FENCE, "(id, attempt) IN (SELECT ends.id, ends.attempt"),
)

_TRANSACTION = """\
        async with self._pump.store.db.borrowed() as connection:
            yield connection
            await self.complete(run, None, connection)
"""
_SETTLED_FIRST = """\
        one, pump = self._running(run), self._pump
        end = pump.end_of(one, None)
        await pump.store.write(lambda: turns.settle([end], pump.incarnation))
        pump.completed[one.claim.id, one.claim.attempt] = end
        async with pump.store.db.borrowed() as connection:
            yield connection
"""
_SETTLED_APART = """\
        async with self._pump.store.db.borrowed() as connection:
            yield connection
        one, pump = self._running(run), self._pump
        end = pump.end_of(one, None)
        settled = await pump.store.write(lambda: turns.settle([end], pump.incarnation))
        if one.claim.id not in settled.accepted:
            raise _lost(run)
        pump.completed[one.claim.id, one.claim.attempt] = end
"""
_LOST_ANSWER = """\
            self.ends = ends + self.ends
            self._unknown = self._repeated = True
            raise
"""
_BEGIN = """\
            if self._begins(one):
                came = await attempt.run("""
_QUEUE_THEN_BEGIN = """\
            while sum(other.started_at is not None for other in self.running.values()) >= one.lane.places:
                await asyncio.sleep(0.05)
            if self._begins(one):
                came = await attempt.run("""
_FIRST_READING = "return tuple(sorted({first_reading(wall, segments) for wall in walls}))"
_BOTH_READINGS = (
    "return tuple(sorted({first_reading(wall, segments) for wall in walls} | {wall - offset for start, end, offset"
    " in segments for wall in walls if start <= wall - offset < end}))"
)
_PICKED_ONCE = "FROM known WHERE turn.id = ANY (ARRAY(SELECT picked.id FROM picked)) AND turn.id = known.id"
_PICKED_FOR_EACH_ROW = """\
FROM (SELECT lanes.*, one.zone, one.data, one.owner, one.weight FROM lanes LEFT JOIN rota.member one ON false) AS known
     WHERE EXISTS (SELECT 1 FROM (SELECT soon.id FROM rota.turn soon
                                   WHERE soon.job = known.job AND soon.priority = known.priority
                                     AND soon.state = 'waiting' AND soon.paused = 0
                                     AND soon.due_at <= {now} AND soon.due_at <= CAST(:cutoff_at AS bigint)
                                   ORDER BY soon.due_at, soon.id
                                   LIMIT least(CAST(:most AS bigint), known.room)
                                   FOR UPDATE SKIP LOCKED) AS first WHERE first.id = turn.id)"""
_STOP = "pause.scope = 'all' OR"
_LATE_STOP = "(pause.scope = 'all' AND pause.since < {now} - 5000) OR"

_ALL = (
    Bug(
        number=1,
        sentence="no attempt in the settle's WHERE",
        edits=_NO_ATTEMPT,
        suites=(FENCES, SIMULATION),
    ),
    Bug(
        number=2,
        sentence="incarnation ignored",
        edits=_NO_HOLDER,
        suites=(FENCES, _contract("sqlite"), SIMULATION),
    ),
    Bug(
        number=3,
        sentence="extend ignores attempt",
        edits=(
            Edit(
                "rota.engine.pump", "if held.attempts.get(turn) != one.claim.attempt:", "if turn not in held.attempts:"
            ),
        ),
        suites=(LETTING_GO, SIMULATION),
    ),
    Bug(
        number=4,
        sentence="rows-affected not looked at",
        edits=(
            Edit(
                "rota.store.turns",
                "accepted = {turn for turn, _ in answered}",
                "accepted = {end.claim.id for end in ends}",
            ),
        ),
        suites=(SIMULATION,),
    ),
    Bug(
        number=5,
        sentence="lease from worker's clock",
        edits=(
            Edit("sql beat", "{now} + :lease_ms", ":lease_ms"),
            Edit(
                "rota.engine.keeper",
                "lambda: extend(self._identity,",
                "lambda: partial(extend, own=clock.now_ms())(self._identity,",
            ),
            Edit(
                "rota.engine.keeper",
                "small: tuple[str, ...]) -> Op[Held]:",
                "small: tuple[str, ...], own: int = 0) -> Op[Held]:",
            ),
            Edit(
                "rota.engine.keeper",
                "turns.beat(identity.incarnation, identity.lease_ms,",
                "turns.beat(identity.incarnation, own + identity.lease_ms,",
            ),
        ),
        suites=(CLOCKS, SIMULATION),
    ),
    Bug(
        number=6,
        sentence="reap by worker's clock",
        edits=(
            Edit("sql lost_ids", "{now}", ":own"),
            Edit(
                "rota.engine.chores",
                "reaping.lost(REAP_MOST, silent)",
                "reaping.lost(REAP_MOST, silent, self._store.clock.now_ms())",
            ),
            Edit(
                "rota.store.reaping", "silent: Sequence[Silent] = ())", "silent: Sequence[Silent] = (), own: int = 0)"
            ),
            Edit("rota.store.reaping", 'query("lost_ids", most=most)', 'query("lost_ids", most=most, own=own)'),
        ),
        suites=(CLOCKS, SIMULATION),
    ),
    Bug(
        number=7,
        sentence="no unique (job, roster, member)",
        edits=(
            Edit(
                "rota.store.sql",
                'found = [one.strip() for one in filled.split(";") if one.strip()]',
                'found = [one.strip() for one in filled.split(";") if one.strip() and "turn_member" not in one]',
            ),
        ),
        suites=(FENCES,),
    ),
    Bug(
        number=8,
        sentence="next slot from now",
        edits=(
            Edit(
                "rota.engine.settle",
                "return spec.schedule.next_slot(claim.slot_at, place_of(claim, spec))",
                "return spec.schedule.next_slot(claim.claimed_at, place_of(claim, spec))",
            ),
        ),
        suites=(SIMULATION,),
    ),
    Bug(
        number=9,
        sentence="next slot from last end",
        edits=(
            Edit(
                "rota.engine.settle",
                "slot_at = next_slot(spec, claim) if claim.standing else None\n    return Well(",
                "slot_at = next_slot(spec, claim) if claim.standing else None\n"
                "    if slot_at is not None and not claim.manual:\n"
                "        slot_at = (started_at or claim.claimed_at) + busy_ms + slot_at - (claim.slot_at or 0)\n"
                "    return Well(",
            ),
        ),
        suites=(SIMULATION,),
    ),
    Bug(
        number=10,
        sentence="settle before commit of inside effects",
        edits=(Edit("rota.engine.port", _TRANSACTION, _SETTLED_FIRST),),
        suites=(SIMULATION,),
    ),
    Bug(
        number=11,
        sentence="inside effects committed separately",
        edits=(Edit("rota.engine.port", _TRANSACTION, _SETTLED_APART),),
        suites=(SIMULATION,),
    ),
    Bug(
        number=12,
        sentence="retry of an unknown enqueue without looking",
        edits=(
            Edit(
                "rota.store.turns",
                "if item.key is None or (keyed[pair] is item and pair not in known):",
                "if item.key is None or keyed[pair] is item:",
            ),
        ),
        suites=(SIMULATION,),
    ),
    Bug(
        number=13,
        sentence="claim more than free places and start later",
        edits=(
            Edit(
                "rota.engine.lane",
                "free = min(self.places - self.used, self.share)",
                "free = 3 * self.places - self.used",
            ),
            Edit("rota.engine.pump", _BEGIN, _QUEUE_THEN_BEGIN),
        ),
        suites=(SIMULATION,),
    ),
    Bug(
        number=14,
        sentence="stop flag cached 5 s",
        edits=(
            Edit("sql lanes", _STOP, _LATE_STOP),
            Edit("sql claim", _STOP, _LATE_STOP),
            Edit("sql survey", _STOP, _LATE_STOP),
        ),
        suites=(RACES, SIMULATION),
    ),
    Bug(
        number=15,
        sentence="no check between claim and start",
        edits=(Edit("rota.engine.attempt", "FRESH_S: Final = 1.0 ", "FRESH_S: Final = 1e9 "),),
        suites=(SIMULATION,),
    ),
    Bug(
        number=16,
        sentence="drain counts as a try",
        edits=(
            Edit(
                "rota.engine.settle",
                "one.same_run(delay_ms=None, due_at=one.claim.due_at, back=True)",
                "one.same_run(delay_ms=None, due_at=one.claim.due_at, back=False)",
            ),
        ),
        suites=(SIMULATION,),
    ),
    Bug(
        number=17,
        sentence="lost counts for ever (no poison limit)",
        edits=(
            Edit("rota.engine.settle", "if self.claim.losses + 1 >= self.spec.max_lost:", "if self.claim.losses < 0:"),
        ),
        suites=(SIMULATION,),
    ),
    Bug(
        number=18,
        sentence="unknown job name fails the run",
        edits=(
            Edit(
                "sql give_back",
                "UPDATE rota.turn SET state = 'waiting', worker = NULL, leased_until = NULL, losses = losses + 1, "
                "tries = tries - 1,\n       caught = 2",
                "DELETE FROM rota.turn",
            ),
            Edit(
                "rota.store.reaping",
                '*who, *when, worker, "lost", why, None, None, 1)',
                '*who, *when, worker, "dead", why, None, None, 1)',
            ),
        ),
        suites=(LETTING_GO, SIMULATION),
    ),
    Bug(
        number=19,
        sentence="task kept only by the loop",
        edits=(
            Edit(
                "rota.engine.pump",
                "one.task = loop.create_task(self._attempt(one))",
                "one.task = __import__('weakref').proxy(loop.create_task(self._attempt(one)))",
            ),
        ),
        suites=(LETTING_GO,),
    ),
    Bug(
        number=20,
        sentence="cancelled connection returned to the pool",
        edits=(
            Edit(
                "rota.store.postgres",
                "connection.terminate()  # its protocol state is unknown",
                "self._idle.append(connection)",
            ),
        ),
        suites=(RACES,),
    ),
    Bug(
        number=21,
        sentence="`except Exception` around settle swallowing",
        edits=(Edit("rota.engine.pump", _LOST_ANSWER, "            return None\n"),),
        suites=(_tests("engine, leaving", "tests/engine/test_leaving.py"), SIMULATION),
    ),
    Bug(
        number=22,
        sentence="catch-up counts the same slot twice at a fold",
        edits=(Edit("rota.define.wallclock", _FIRST_READING, _BOTH_READINGS),),
        suites=(_tests("slots by a walk", "tests/property/test_schedule_wallclock.py"), SIMULATION),
    ),
    Bug(
        number=23,
        sentence="limit before skipping broken rows",
        edits=(Edit("rota.engine.tick", "well = self._count.ended - failed", "well = self._count.ended"),),
        suites=(_tests("engine, tick", "tests/engine/test_tick.py"),),
    ),
    Bug(
        number=24,
        sentence="cap counted without the lock",
        edits=(Edit("sql lock_jobs", "{lock of job}", ""),),
        suites=(RACES,),
    ),
    Bug(
        number=25,
        sentence="inner `LIMIT` not materialised",
        edits=(Edit("sql claim", _PICKED_ONCE, _PICKED_FOR_EACH_ROW),),
        suites=(RACES, _contract("postgresql")),
    ),
    Bug(
        number=26,
        sentence="deferred SQLite transaction",
        edits=(
            Edit("rota.store.sqlite", 'READ, WRITE = "BEGIN", "BEGIN IMMEDIATE"', 'READ, WRITE = "BEGIN", "BEGIN"'),
        ),
        suites=(_tests("store, two writers", "tests/store/test_two_writers.py"),),
    ),
    Bug(number=27, sentence="owner filter missing on one detail route", not_yet="no route exists"),
    Bug(number=28, sentence="GET that changes", not_yet="no route exists"),
    Bug(number=29, sentence="one value unescaped", not_yet="no page exists"),
    Bug(
        number=30,
        sentence="redirect not re-checked",
        edits=(
            Edit(
                "rota.http.exchange",
                "            check_url(url, caged=self.bounds.caged)",
                "            if left == self.bounds.redirects:\n"
                "                check_url(url, caged=self.bounds.caged)",
            ),
        ),
        suites=(_tests("http", "tests/http/test_cage.py"),),
    ),
    Bug(
        number=31,
        sentence="ids reused after deletion",
        edits=(Edit("rota.store.sql", '"id": "integer PRIMARY KEY AUTOINCREMENT"', '"id": "integer PRIMARY KEY"'),),
        suites=(SIMULATION, ONE_OFFS),
    ),
    Bug(
        number=32,
        sentence="key forgotten when the run ends",
        edits=(Edit("sql free_keys", "{now} + known.remember_ms", "{now}"),),
        suites=(SIMULATION, ONE_OFFS),
    ),
)

BUGS: Mapping[int, Bug] = {bug.number: bug for bug in _ALL}
