"""Judgement from the ledger and the tables alone: the invariants of reliability 7 that a scenario can break.

Asked once, when no process of the system runs any more. Each invariant is a function of the facts and answers a check
with what was allowed, what happened, and out of how many.

Always true: nothing of the library takes part in a judgement; a check without a single case says so by its denominator.

Not here: what one scenario alone asks for (its module).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from tests.chaos.app import EFFECT, PERIOD_S
from tests.chaos.clients import ACKNOWLEDGED, FOUND, MADE, REFUSED, UNKNOWN
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Line
from tests.chaos.report import Check, Row, Tally, spread
from tests.chaos.scenario import PLACES

FINAL = frozenset({"succeeded", "dead", "skipped", "cancelled"})
GIVES_A_START = frozenset({"lost", "retry", "snoozed", "released", "rate_limited", "held"})
MAX_LOST = 3  # of every job here
COLUMNS = "id, turn, run, attempt, job, member, slot_at, due_at, started_at, ended_at, worker, outcome, reason, slots"


class Entry(NamedTuple):
    """A journal row."""

    id: int
    turn: int
    run: int
    attempt: int
    job: str
    member: str | None
    slot_at: int | None
    due_at: int | None
    started_at: int | None
    ended_at: int
    worker: str | None
    outcome: str
    reason: str | None
    slots: int

    @property
    def name(self) -> str:
        """The run's id."""
        return f"{self.turn}-{self.run}"


@dataclass(kw_only=True)
class Facts:
    """What is known when everything has ended."""

    journal: Sequence[Entry]
    turns: Sequence[tuple]  # id, job, member, standing, state, run, attempt, slot_at
    dead: Sequence[tuple]  # turn, run, reason
    effects: Counter[tuple[str, int]]
    audit: Sequence[tuple]  # act, target, by
    lines: Sequence[Line]
    answers: Counter[str]
    acknowledged: set[str]
    pids: dict[str, int]
    earlier: dict[int, Entry] = field(default_factory=dict)
    left: str = ""

    @cached_property
    def attempts(self) -> list[Entry]:
        """The ends of attempts: a passed-over slot is none."""
        return [row for row in self.journal if not (row.outcome == "skipped" and row.worker is None)]

    @cached_property
    def finals(self) -> Counter[str]:
        """Final outcomes of each run."""
        return Counter(row.name for row in self.attempts if row.outcome in FINAL)

    @cached_property
    def starts(self) -> dict[str, list[Line]]:
        """Starts of each run."""
        found: dict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            if line.what == "start":
                found[line.run].append(line)
        return found

    @cached_property
    def outcomes(self) -> Counter[str]:
        """How often each outcome was written for an attempt."""
        return Counter(row.outcome for row in self.attempts)

    @cached_property
    def extra_starts(self) -> int:
        """Starts beyond the first of each run."""
        return sum(len(lines) - 1 for lines in self.starts.values())


async def journal_of(fleet: Fleet) -> list[Entry]:
    """The journal as it stands."""
    return [Entry(*row) for row in await fleet.look(f"SELECT {COLUMNS} FROM rota.journal ORDER BY id")]


async def facts_of(fleet: Fleet, earlier: Sequence[Entry] = ()) -> Facts:
    """Everything that can be known; `earlier` is the journal as it stood while there were faults."""
    answers = fleet.ledger.answers
    effects = await fleet.look(f"SELECT run, attempt, count(*) FROM {EFFECT} GROUP BY run, attempt")
    return Facts(
        journal=await journal_of(fleet),
        turns=await fleet.look("SELECT id, job, member, standing, state, run, attempt, slot_at FROM rota.turn"),
        dead=await fleet.look("SELECT turn, run, reason FROM rota.dead_letter"),
        effects=Counter({(run, attempt): count for run, attempt, count in effects}),
        audit=await fleet.look("SELECT act, target, by FROM rota.audit"),
        lines=list(fleet.ledger.lines()),
        answers=Counter(answer.outcome for answer in answers),
        acknowledged={answer.run for answer in answers if answer.outcome in {ACKNOWLEDGED, FOUND, MADE}},
        pids=dict(fleet.incarnations),
        earlier={row.id: row for row in earlier},
        left=fleet.left,
    )


# -- the invariants ------------------------------------------------------------------------------------


def nothing_lost(facts: Facts) -> Iterator[Check]:
    """I-1, I-2: every acknowledged run has its end, or stands in the store."""
    standing = {f"{turn[0]}-{turn[5]}" for turn in facts.turns}
    known = facts.acknowledged
    lost = known - facts.finals.keys() - standing
    stuck = known & standing
    yield Check(name="I-1", what="acknowledged and nowhere", happened=len(lost), of=len(known), example=_some(lost))
    yield Check(name="I-2", what="without an end at quiet", happened=len(stuck), of=len(known), example=_some(stuck))
    unasked = {row.name for row in facts.journal if row.job in {"work", "pay", "grind", "moody"}} - known
    yield Check(name="G-2", what="runs that no client knows of", happened=len(unasked), of=len(facts.finals))


def starts_are_paid_for(facts: Facts) -> Iterator[Check]:
    """I-3: nothing starts again but for a loss or because it asked to."""
    granted = Counter(row.name for row in facts.attempts if row.outcome in GIVES_A_START)
    over = [run for run, lines in facts.starts.items() if len(lines) > 1 + granted[run]]
    what = "runs started more often than they were lost or asked for it"
    yield Check(name="I-3", what=what, happened=len(over), of=len(facts.starts), example=_some(over))
    allowed = sum(granted.values())
    what = "extra starts beside leases lost, retries asked for and runs given back"
    yield Check(
        name="I-3", what=what, happened=facts.extra_starts, of=sum(map(len, facts.starts.values())), allowed=allowed
    )


def effects_are_exact(facts: Facts) -> Iterator[Check]:
    """I-4: an inside effect for each success, none for any other end."""
    paid = {(row.name, row.attempt) for row in facts.attempts if row.job == "pay" and row.outcome == "succeeded"}
    missing = [one for one in paid if facts.effects[one] == 0]
    double = [one for one, count in facts.effects.items() if count > 1]
    wild = [one for one in facts.effects if one not in paid]
    by_run = Counter(run for run, _ in facts.effects)
    twice = [run for run, count in by_run.items() if count > 1]
    yield Check(
        name="I-4", what="successes without their effect", happened=len(missing), of=len(paid), example=_some(missing)
    )
    yield Check(name="I-4", what="double inside effects", happened=len(double) + len(twice), of=len(facts.effects))
    yield Check(
        name="I-4", what="effects of other ends", happened=len(wild), of=len(facts.effects), example=_some(wild)
    )


def one_end_each(facts: Facts) -> Iterator[Check]:
    """I-5, I-6: one end for each attempt, one final outcome for each run, and attempts without a gap."""
    ends = Counter((row.turn, row.attempt) for row in facts.attempts)
    twice = [one for one, count in ends.items() if count > 1]
    yield Check(name="I-5", what="attempts with two ends", happened=len(twice), of=len(ends), example=_some(twice))
    finals = [run for run, count in facts.finals.items() if count > 1]
    yield Check(name="I-5", what="runs with two final outcomes", happened=len(finals), of=len(facts.finals))
    seen: dict[int, set[int]] = defaultdict(set)
    for turn, attempt in ends:
        seen[turn].add(attempt)
    gaps = [turn for turn, attempts in seen.items() if attempts != set(range(1, len(attempts) + 1))]
    what = "turns whose attempts do not add up"
    yield Check(name="I-6", what=what, happened=len(gaps), of=len(seen), example=_some(gaps))


def only_holders_write(facts: Facts) -> Iterator[Check]:
    """I-7, I-8: what ended an attempt is what started it, and an attempt starts once."""
    began: dict[tuple[str, int], list[int]] = defaultdict(list)
    for lines in facts.starts.values():
        for line in lines:
            began[line.run, line.attempt].append(line.pid)
    ended = [row for row in facts.attempts if row.outcome == "succeeded"]
    foreign = [row.name for row in ended if facts.pids.get(row.worker or "") not in began[row.name, row.attempt]]
    what = "successes written by another than who started the attempt"
    yield Check(name="I-7", what=what, happened=len(foreign), of=len(ended), example=_some(foreign))
    twice = [one for one, pids in began.items() if len(pids) > 1]
    yield Check(name="I-8", what="attempts started twice", happened=len(twice), of=len(began), example=_some(twice))


def slots_are_accounted_for(facts: Facts) -> Iterator[Check]:
    """I-9, I-10, I-11: each slot has one end or a reason, and slots of `every(T)` are exactly T apart."""
    next_slot = {turn[0]: turn[7] for turn in facts.turns if turn[1] == "visit"}
    rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row in facts.journal:
        if row.job == "visit" and row.outcome in FINAL and row.slot_at is not None:
            rows[row.turn].append((row.slot_at, row.slots))
    total = Counter[str]()
    for turn, found in rows.items():
        total.update(_walked(sorted(found), next_slot.get(turn)))
    of = total["slots"]
    yield Check(name="I-9", what="slots with two ends", happened=total["twice"], of=of)
    yield Check(name="I-10", what="slots without a run or a reason", happened=total["missing"], of=of)
    yield Check(name="I-11", what=f"slots that are not {PERIOD_S:.3f} s apart", happened=total["crooked"], of=of)


def _walked(found: Sequence[tuple[int, int]], next_slot: int | None) -> Counter[str]:
    """One member's slots from the first to the one it waits for; a row may stand for many that were passed over."""
    period_ms = PERIOD_S * 1000
    total, expected = Counter[str](), found[0][0]
    for slot_at, slots in [*found, *([(next_slot, 0)] if next_slot is not None else [])]:
        total["crooked"] += (slot_at - found[0][0]) % period_ms != 0
        total["missing"] += max(0, slot_at - expected) // period_ms
        total["twice"] += min(slots, max(0, expected - slot_at) // period_ms)
        total["slots"] += slots
        expected = max(expected, slot_at + slots * period_ms)
    return total


def nothing_early(facts: Facts) -> Iterator[Check]:
    """I-13: nothing starts before it is due, by the store's clock; of a lost attempt only its reaper tells."""
    attempts = [row for row in facts.attempts if row.outcome != "lost" and row.reason != "poison"]
    begun = [row for row in attempts if row.started_at is not None and row.due_at is not None]
    early = [row.name for row in begun if row.started_at < row.due_at]
    yield Check(
        name="I-13", what="starts before their due time", happened=len(early), of=len(begun), example=_some(early)
    )


def places_are_kept(facts: Facts) -> Iterator[Check]:
    """I-15: no worker runs more at once than it has places."""
    inside: Counter[int] = Counter()
    most: Counter[int] = Counter()
    for line in facts.lines:
        inside[line.pid] += 1 if line.what == "start" else -1
        most[line.pid] = max(most[line.pid], inside[line.pid])
    over = [pid for pid, count in most.items() if count > PLACES]
    what = f"workers that ever ran more than {PLACES} at once"
    yield Check(name="I-15", what=what, happened=len(over), of=len(most), example=_some(over))


def losses_are_bounded(facts: Facts) -> Iterator[Check]:
    """I-16: three losses, and it is poison."""
    losses = Counter(row.name for row in facts.attempts if row.outcome == "lost" or row.reason == "poison")
    over = [run for run, count in losses.items() if count > MAX_LOST]
    poison = [f"{turn}-{run}" for turn, run, reason in facts.dead if reason == "poison"]
    early = [run for run in poison if losses[run] != MAX_LOST]
    yield Check(name="I-16", what=f"runs lost more than {MAX_LOST} times", happened=len(over), of=len(losses))
    yield Check(name="I-16", what=f"poison after other than {MAX_LOST} losses", happened=len(early), of=len(poison))


def no_try_is_used(facts: Facts) -> Iterator[Check]:
    """I-17: only what asked for another try used one."""
    asked = {"moody"}
    tried = [row for row in facts.attempts if row.outcome == "retry" and row.job not in asked]
    dead = [row for row in facts.attempts if row.outcome == "dead" and row.reason != "poison"]
    of = len(facts.attempts)
    example = _some(f"{row.name} {row.reason}" for row in tried)
    yield Check(name="I-17", what="tries used by runs that never fail", happened=len(tried), of=of, example=example)
    example = _some(f"{row.name} {row.reason}" for row in dead)
    yield Check(name="I-17", what="dead for another reason than poison", happened=len(dead), of=of, example=example)


def everything_heals(facts: Facts) -> Iterator[Check]:
    """I-18: when the faults are over, nothing stays late or without an end."""
    yield Check(
        name="I-18", what="late when it should have healed", happened=bool(facts.left), of=1, example=facts.left
    )


def the_past_stands(facts: Facts) -> Iterator[Check]:
    """I-19: what was written of finished runs while there were faults is still so."""
    now = {row.id: row for row in facts.journal}
    changed = [row.name for row in facts.earlier.values() if now.get(row.id) != row]
    yield Check(name="I-19", what="journal rows changed later", happened=len(changed), of=len(facts.earlier))


INVARIANTS: tuple[Callable[[Facts], Iterator[Check]], ...] = (
    nothing_lost,
    starts_are_paid_for,
    effects_are_exact,
    one_end_each,
    only_holders_write,
    slots_are_accounted_for,
    nothing_early,
    places_are_kept,
    losses_are_bounded,
    no_try_is_used,
    everything_heals,
    the_past_stands,
)


def judged(facts: Facts, *, without: Sequence[str] = ()) -> Tally:
    """The tally of a scenario: every invariant, and the counts and samples that every table shows.

    `without` are functions of `INVARIANTS`, by name, whose promise the scenario breaks on purpose.
    """
    tally = Tally()
    for invariant in INVARIANTS:
        if invariant.__name__ not in without:
            tally.check(*invariant(facts))
    tally.counts.update({f"answers {name}": count for name, count in facts.answers.items()})
    tally.counts.update({f"outcome {name}": count for name, count in facts.outcomes.items()})
    tally.counts["poison"] = sum(reason == "poison" for *_, reason in facts.dead)
    tally.counts["extra starts"] = facts.extra_starts
    tally.counts["starts"] = sum(map(len, facts.starts.values()))
    tally.counts["skipped slots"] = sum(row.slots for row in facts.journal if row.outcome == "skipped")
    tally.counts["effects"] = sum(facts.effects.values())
    tally.sample("start − due", _start_delays(facts))
    tally.sample("lateness of visits", _lateness(facts))
    tally.sample("start gap of visits", _start_gaps(facts))
    return tally


def _start_delays(facts: Facts) -> Iterator[float]:
    """Of first attempts, by the store's clock."""
    for row in facts.attempts:
        if row.attempt == 1 and row.started_at is not None and row.due_at is not None:
            yield (row.started_at - row.due_at) / 1000


def _lateness(facts: Facts) -> Iterator[float]:
    for row in facts.attempts:
        if row.job == "visit" and row.started_at is not None and row.slot_at is not None:
            yield (row.started_at - row.slot_at) / 1000


def _start_gaps(facts: Facts) -> Iterator[float]:
    """Between starts of one member's different runs."""
    last: dict[str, tuple[str, int]] = {}
    for line in facts.lines:
        if line.what == "start" and line.job == "visit":
            before = last.get(line.argument)
            if before is None or before[0] != line.run:
                if before is not None:
                    yield (line.at_ns - before[1]) / 1e9
                last[line.argument] = (line.run, line.at_ns)


def shared_rows(tally: Tally) -> list[Row]:
    """The lines that every table begins with."""
    counts = tally.counts
    answers = [f"{name} {counts[f'answers {name}']:,}" for name in (ACKNOWLEDGED, REFUSED, UNKNOWN)]
    unknown = f" → found done {counts[f'answers {FOUND}']:,}, absent {counts[f'answers {MADE}']:,}"
    ends = ("succeeded", "retry", "snoozed", "lost", "released", "dead", "cancelled")
    runs = "  ".join(f"{name} {counts[f'outcome {name}']:,}" for name in ends)
    rows: list[Row] = [
        ("requests", "   ".join(answers) + unknown),
        ("runs", f"{runs} (poison {counts['poison']:,})   skipped slots {counts['skipped slots']:,}"),
        ("starts", f"{counts['starts']:,}   extra {counts['extra starts']:,}   inside effects {counts['effects']:,}"),
    ]
    gaps, late = tally.samples.get("start gap of visits", []), tally.samples.get("lateness of visits", [])
    if gaps:
        exactly = f"slots {PERIOD_S:.3f} s exactly   smallest start gap {min(gaps):.3f} s"
        rows.append(("gap", f"{exactly}   largest lateness {max(late):.3f} s   of {len(late):,}"))
    return rows


def recovery_row(tally: Tally, what: str) -> Row:
    """How long it took until work went on."""
    return ("recovery", f"{spread(tally.samples.get('recovery', [])).words()}   ({what})")


def _some(names: object) -> str:
    listed = list(names)  # type: ignore[call-overload]
    return f"such as {', '.join(str(one) for one in listed[:3])}" if listed else ""
