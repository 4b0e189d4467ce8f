"""The operations behind the operators' verbs on turns (run now, hold, unhold, cancel, requeue) and their audit rows.

What the schedule of a job says comes in as `Rules`, so nothing here knows a job.

Always true: an act and its audit row are one transaction; turns are locked in the order of their ids before they are
looked at; a running turn is never changed, only wished to stop; every slot that an act passes over gets a journal row.

Not here: pauses and stops (pauses.py), who may do what, and the words for targets (operate.py).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from rota.define.units import duration_words, instant_text
from rota.errors import Conflict, NotFound
from rota.store.consequences import lead
from rota.store.port import Op, Row, query
from rota.store.sql import Call
from rota.turn.records import BEGUN, Line


class Deed(NamedTuple):
    """Who does what to which target, and why: what the audit keeps of an act."""

    by: str
    act: str
    target: str
    reason: str | None


class Standing(NamedTuple):
    """A turn as an act finds it; the order is that of the columns of `turns_for_act`."""

    id: int
    job: str
    roster: str | None
    member: str | None
    key: str | None
    standing: int
    state: str
    due_at: int | None
    slot_at: int | None
    manual: int
    caught: int
    run: int
    attempt: int
    tries: int
    start_at: int | None
    phase_ms: int
    done: int
    failing_since: int | None
    zone: str | None
    data: str | None
    now: int

    @property
    def owed(self) -> bool:
        """Whether the slot of the current run has come."""
        return self.slot_at is not None and self.slot_at <= self.now

    @property
    def run_id(self) -> str:
        """The id of the current run, as handles show it."""
        return f"{self.id}-{self.run}"


class Which(NamedTuple):
    """The turns an act is for: one by its id (and, if said, its run), those of a member, or a job's only one."""

    turn: int | None = None
    run: int | None = None
    job: str | None = None
    roster: str | None = None
    member: str | None = None


class Change(NamedTuple):
    """What a turn is after an act."""

    turn_id: int
    state: str
    due_at: int | None
    slot_at: int | None
    manual: int
    caught: int
    next_run: int
    reason: str | None


class Acted(NamedTuple):
    """The turns an act changed, those it found running, and how many it found at all."""

    changed: list[Standing]
    running: list[Standing]
    found: int


class Started(NamedTuple):
    """The run that a manual start made or found."""

    turn: int
    run: int
    created: bool


class Letter(NamedTuple):
    """A dead letter as a requeue finds it."""

    id: int
    turn: int
    run: int
    job: str
    roster: str | None
    member: str | None
    key: str | None
    args: str | None
    requeued_at: int | None
    requeued_as: str | None
    now: int


class Requeued(NamedTuple):
    """A dead letter and the run that it became."""

    letter: int
    turn: int
    run: int


class Rules(Protocol):
    """What the declarations of jobs say, asked by an act."""

    def next_slot(self, turn: Standing, after_ms: int) -> int | None:
        """The turn's first slot after an instant."""
        ...

    def passed(self, turn: Standing) -> tuple[int | None, int]:
        """The newest slot that has come, and how many from the turn's own on came before it."""
        ...

    def leaders(self, job: str) -> int:
        """The bits of all that the job follows; 0 for a job with a schedule."""
        ...

    def followers(self, job: str) -> Sequence[tuple[str, int, int]]:
        """Who follows the job: name, the bit of this leader, the bits of all."""
        ...

    def min_gap_ms(self, job: str) -> int:
        """The cool-off between starts, 0 where there is none."""
        ...

    def priority(self, job: str) -> int:
        """The priority of a call that says none."""
        ...


def recorded(deed: Deed, count: int, detail: Mapping[str, Any] | None = None) -> Op[None]:
    """Write the audit row of an act."""
    text = msgspec.json.encode(detail).decode() if detail else None
    yield Call("audit", {**deed._asdict(), "count": count, "detail": text})


def find(which: Which, rules: Rules | None = None) -> Op[list[Standing]]:
    """The turns asked for, locked; with `rules` those that follow them are locked too, all in one order."""
    if which.turn is not None:
        rows: Sequence[Row] = [(which.turn,)]
    elif which.member is not None:
        rows = yield from query("turns_of", roster=which.roster, member=which.member, job=which.job)
    else:
        rows = yield from query("turn_alone", job=which.job)
    ids = {row[0] for row in rows}
    following = (yield from _followers(which, rules)) if rules is not None else []
    found = [turn for turn in (yield from locked([*ids, *following])) if turn.id in ids]
    if which.run is not None:
        found = [turn for turn in found if turn.run == which.run]
    return found


def _followers(which: Which, rules: Rules) -> Op[list[int]]:
    """The turns that follow those asked for, as far as they are not asked for themselves."""
    leaders = [(which.job, which.roster, which.member)]
    if which.turn is not None:
        leaders = [(row[1], row[2], row[3]) for row in (yield from query("turns_by_id", [(which.turn,)]))]
    led = {(one, *whose) for job, *whose in leaders if job is not None for one, _, _ in rules.followers(job)}
    found = (yield Call("followers", {}, sorted(led, key=str))) if led else []
    return [row[3] for row in found if row[3] is not None]


def locked(ids: Sequence[int]) -> Op[list[Standing]]:
    """Turns by id, locked."""
    rows = yield Call("turns_for_act", {}, [(one,) for one in sorted(set(ids))])
    return [Standing(*row) for row in rows]


def run_now(which: Which, rules: Rules, deed: Deed) -> Op[Started | None]:
    """Pull a turn's next run forward to now; None where there is no such turn."""
    found = yield from find(which)
    if not found:
        return None
    turn = found[0]
    change, lines, created = _pulled(turn, rules, turn.now)
    if change is not None:
        yield from _write([change], lines)
    yield from recorded(deed, int(created), {"run": turn.run_id, "created": created})
    return Started(turn.id, turn.run, created)


def _pulled(turn: Standing, rules: Rules, due_at: int) -> tuple[Change | None, list[Line], bool]:
    """What a manual start makes of a turn, and whether it is a new run."""
    if turn.state == "running":
        return None, [], False
    if turn.state == "held":
        if turn.tries == 0:
            _check_gap(turn, rules, due_at)
        change, lines = _let_go(turn, rules, due_at)
        return change, lines, True
    if turn.manual or turn.owed or (turn.due_at is not None and turn.due_at <= turn.now):
        if turn.due_at is not None and turn.due_at <= due_at:
            return None, [], False
        if turn.tries == 0 and turn.caught != BEGUN:
            _check_gap(turn, rules, due_at)
        caught = max(turn.caught, 1 - turn.manual)  # a person has said when, so no catch-up spreads this run again
        change = Change(turn.id, "waiting", due_at, turn.slot_at, turn.manual, caught, 0, None)
        return change, [], False
    _check_gap(turn, rules, due_at)
    return Change(turn.id, "waiting", due_at, turn.slot_at, 1, 0, 0, None), [], True


def _check_gap(turn: Standing, rules: Rules, due_at: int) -> None:
    """Refuse a start inside the cool-off after the one before (G-14)."""
    gap_ms = rules.min_gap_ms(turn.job)
    if not gap_ms or turn.start_at is None or due_at >= turn.start_at + gap_ms:
        return
    left = duration_words(turn.start_at + gap_ms - due_at)
    since = duration_words(turn.now - turn.start_at)
    raise Conflict(f"{turn.job} started {since} ago and wants {duration_words(gap_ms)} in between: try again in {left}")


def _let_go(turn: Standing, rules: Rules, due_at: int) -> tuple[Change, list[Line]]:
    """A held turn that is due again; the slots that came meanwhile are accounted for, the newest is the run's."""
    if not turn.standing or not turn.owed:
        manual = turn.standing
        return Change(turn.id, "waiting", due_at, turn.slot_at, manual, 0, 0, None), []
    newest_at, missed = rules.passed(turn)
    lines = [_line(turn, "skipped", "held", turn.slot_at, missed)] if missed else []
    return Change(turn.id, "waiting", due_at, newest_at, 0, max(turn.caught, 1), 0, None), lines


def hold(which: Which, deed: Deed) -> Op[Acted]:
    """Keep waiting turns from running until a person lets them go."""
    found = yield from find(which)
    waiting = [turn for turn in found if turn.state == "waiting"]
    changes = [
        Change(turn.id, "held", turn.due_at, turn.slot_at, turn.manual, turn.caught, 0, deed.reason) for turn in waiting
    ]
    return (yield from _finish(deed, found, waiting, changes, []))


def unhold(which: Which, rules: Rules, deed: Deed) -> Op[Acted]:
    """Let held turns go: due now, slots unmoved; a follower whose leaders have not ended waits for them."""
    found = yield from find(which)
    held = [turn for turn in found if turn.state == "held"]
    changes: list[Change] = []
    lines: list[Line] = []
    for turn in held:
        mask = rules.leaders(turn.job) if turn.standing else 0
        begun = turn.tries or turn.manual or turn.caught == BEGUN or turn.failing_since is not None
        if mask and not begun and turn.done & mask != mask:
            changes.append(Change(turn.id, "waiting", None, turn.slot_at, 0, 0, 0, None))
            continue
        due_at = turn.now if turn.owed or turn.tries else max(turn.now, _room_at(turn, rules))  # not inside a cool-off
        change, more = _let_go(turn, rules, due_at)
        changes.append(change)
        lines += more
    return (yield from _finish(deed, found, held, changes, lines))


def cancel(which: Which, rules: Rules, deed: Deed) -> Op[Acted]:
    """End runs that have not started; those that run are wished to stop. A one-off goes and its key is freed."""
    found = yield from find(which, rules)
    running = [turn for turn in found if turn.state == "running"]
    idle = [turn for turn in found if turn.state == "held" or (turn.state == "waiting" and turn.due_at is not None)]
    changes: list[Change] = []
    lines: list[Line] = []
    for turn in idle:
        lines.append(_line(turn, "cancelled", deed.reason, None if turn.manual else turn.slot_at))
        if turn.standing:
            change, more = _passed_over(turn, rules)
            changes.append(change)
            lines += more
    gone = [turn for turn in idle if not turn.standing]
    yield Call("drop_idle", {}, [(turn.id,) for turn in gone])
    yield Call("free_keys", {}, [(turn.job, turn.key, turn.id) for turn in gone if turn.key is not None])
    yield Call("wish_cancel", {}, [(turn.id,) for turn in running])
    yield from _told_followers(idle, rules)
    yield Call("add_rollup", {"worker": ""}, _counted(lines))
    acted = yield from _finish(deed, found, [*running, *idle], changes, lines)
    return acted._replace(changed=idle)


def _passed_over(turn: Standing, rules: Rules) -> tuple[Change, list[Line]]:
    """A turn whose current run is over without having started: it waits for its next slot."""
    if rules.leaders(turn.job):  # a follower has no slots of its own: what its leaders said is used up with the run
        return Change(turn.id, "waiting", None, None, 0, 0, 1, None), []
    if turn.manual or turn.slot_at is None:
        due_at = turn.slot_at
        return Change(turn.id, "waiting", due_at, turn.slot_at, 0, 0, 1, None), []
    lines = []
    if turn.owed:
        newest_at, missed = rules.passed(turn)
        if missed:  # the cancelled run is the first of them; what came after it until now is passed over with it
            reason = "held" if turn.state == "held" else "cancelled"
            lines = [_line(turn, "skipped", reason, newest_at, missed)]
    next_at = rules.next_slot(turn, max(turn.slot_at, turn.now))
    return Change(turn.id, "waiting", next_at, next_at, 0, 0, 1, None), lines


def _told_followers(ended: Sequence[Standing], rules: Rules) -> Op[None]:
    """A run that was due has ended by being cancelled: its followers go on."""
    rows = [
        (job, turn.roster, turn.member, bit, 0, leaders, None if turn.manual else turn.slot_at)
        for turn in ended
        if turn.standing and (turn.tries or turn.state == "held" or (turn.due_at or 0) <= turn.now)
        for job, bit, leaders in rules.followers(turn.job)
    ]
    yield from lead(rows)


def _counted(lines: Sequence[Line]) -> list[tuple[object, ...]]:
    """Roll-up rows of what an act ended or passed over: nothing of it ran."""
    sums: dict[str, list[int]] = {}
    for line in lines:
        row = sums.setdefault(line.job, [0, 0])
        row[line.outcome != "skipped"] += line.slots
    return [(job, 0, 0, 0, 0, skipped, other, 0, 0) for job, (skipped, other) in sorted(sums.items())]


def _finish(
    deed: Deed, found: Sequence[Standing], meant: Sequence[Standing], changes: Sequence[Change], lines: Sequence[Line]
) -> Op[Acted]:
    """Write what an act came to; where it met nothing, there is nothing to record."""
    yield from _write(changes, lines)
    if meant:
        jobs = sorted({turn.job for turn in meant})
        yield from recorded(deed, len(meant), {"jobs": jobs, "runs": [turn.run_id for turn in meant[:100]]})
    return Acted(list(meant), [turn for turn in found if turn.state == "running"], len(found))


def _write(changes: Sequence[Change], lines: Sequence[Line]) -> Op[None]:
    yield Call("act", {}, changes)
    yield Call("write_journal", {}, lines)


def _line(turn: Standing, outcome: str, reason: str | None, slot_at: int | None, slots: int = 1) -> Line:
    """A journal row for what never started."""
    who = (turn.job, turn.roster, turn.member)
    when = (slot_at, turn.due_at, None)
    return Line(turn.id, turn.run, turn.attempt, *who, *when, None, outcome, reason, None, None, slots)


def letters(
    *, id: int | None = None, run: tuple[int, int] | None = None, error: str | None, most: int
) -> Op[list[Letter]]:
    """Dead letters by their id, by the run that died, or the open ones of a cause; locked."""
    if id is not None:
        rows = yield from query("dead_by_id", id=id)
    elif run is not None:
        rows = yield from query("dead_by_run", turn=run[0], run=run[1])
    else:
        rows = yield from query("dead_by_error", error=error, most=most)
    return [Letter(*row) for row in rows]


def requeue(
    find_letters: Callable[[], Op[list[Letter]]], rules: Rules, deed: Deed, *, spread_ms: int, alone: bool
) -> Op[list[Requeued]]:
    """Make new runs of dead letters: one-offs as new turns, members' as manual runs. Each only once.

    `alone`: one was asked for by name, so what stands against it is an error; of many, those whose member has left
    stay, and those inside a cool-off start when it is over.
    """
    found = yield from find_letters()
    if alone:
        _check_letter(found)
    homes = yield from _homes(found)
    turns = {turn.id: turn for turn in (yield from locked(list(homes.values())))}
    step = spread_ms // len(found) if found else 0
    calls: list[tuple[Letter, int]] = []
    changes: list[Change] = []
    lines: list[Line] = []
    made: list[Requeued] = []
    pulled: set[int] = set()
    for place, letter in enumerate(found):
        due_at = letter.now + place * step
        turn = turns.get(homes.get(letter.id, 0))
        if turn is not None:
            due_at = due_at if alone else max(due_at, _room_at(turn, rules))
            if turn.id not in pulled:  # several of its runs may have died: they collapse into one run
                pulled.add(turn.id)
                change, more, _ = _pulled(turn, rules, due_at)
                changes += [change] if change is not None else []
                lines += more
            made.append(Requeued(letter.id, turn.id, turn.run))
        elif letter.member is None:
            calls.append((letter, due_at))
        elif alone:
            raise Conflict(
                f"{letter.roster}/{letter.member} has left, so its dead letter {letter.id} has nobody to run for"
            )
    made += yield from _called_again(calls, rules)
    yield from _write(changes, lines)
    yield Call("mark_requeued", {}, [(one.letter, f"{one.turn}-{one.run}") for one in made])
    yield from recorded(deed, len(made), {"letters": [one.letter for one in made[:100]]})
    return made


def _check_letter(found: Sequence[Letter]) -> None:
    if not found:
        raise NotFound("there is no dead letter of that id: `rota runs ls --state dead` lists them")
    letter = found[0]
    if letter.requeued_at is not None:
        when = instant_text(letter.requeued_at)
        raise Conflict(f"the dead letter {letter.id} was requeued already at {when}, as run {letter.requeued_as}")


def _homes(found: Sequence[Letter]) -> Op[dict[int, int]]:
    """The standing turn that each dead letter belongs to, where there is one."""
    members = [(one.id, one.job, one.roster, one.member) for one in found if one.member is not None]
    others = [(one.id, one.job) for one in found if one.member is None]
    rows = [*(yield Call("standing_turns", {}, members)), *(yield Call("lone_turns", {}, others))]
    return {row[0]: row[1] for row in rows}


def _room_at(turn: Standing, rules: Rules) -> int:
    """The first instant after the turn's cool-off; any, where it has none (the clock may have stepped back since)."""
    gap_ms = rules.min_gap_ms(turn.job)
    return turn.start_at + gap_ms if gap_ms and turn.start_at is not None else 0


def _called_again(calls: Sequence[tuple[Letter, int]], rules: Rules) -> Op[list[Requeued]]:
    """Dead one-offs as new turns with the same arguments; a key that is still remembered stands for the new run."""
    yield Call("add_lanes", {}, sorted({(letter.job, rules.priority(letter.job)) for letter, _ in calls}))
    rows = [
        (place, letter.job, letter.key, letter.args, due_at, rules.priority(letter.job))
        for place, (letter, due_at) in enumerate(calls)
    ]
    ids = sorted(row[0] for row in (yield Call("enqueue_again", {}, rows)))
    pairs = list(zip(calls, ids, strict=True))
    again = [(letter.job, letter.key, letter.turn, fresh) for (letter, _), fresh in pairs if letter.key is not None]
    yield Call("repoint_keys", {}, again)
    return [Requeued(letter.id, fresh, 1) for (letter, _), fresh in pairs]
