"""The states of a turn and the events that lead from one to another, as data.

Always true: a turn is waiting, running or held, and only the events of `TRANSITIONS` change that. SQL guards, the
documents and the oracle of the tests are derived from this table or checked against it. The attempt number goes up
at every claim and never down; every event by which a worker ends an attempt is guarded by it.

Not here: the statements that carry an event out (store), what an attempt came to (define/outcome), and due, late,
retrying, paused, fresh or stale, which are ways of looking at a row.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final, Literal, get_args

from rota.errors import ConfigError

__all__ = [
    "GONE",
    "HELD",
    "JOURNAL_OUTCOMES",
    "RUNNING",
    "STATES",
    "TRANSITIONS",
    "WAITING",
    "JournalOutcome",
    "State",
    "Target",
    "Transition",
    "allowed",
    "markdown_table",
    "mermaid",
    "transition",
]

State = Literal["waiting", "running", "held"]
Target = Literal["waiting", "running", "held", "gone"]
JournalOutcome = Literal[
    "succeeded",
    "retry",
    "dead",
    "rate_limited",
    "snoozed",
    "skipped",
    "held",
    "released",
    "lost",
    "cancelled",
]

WAITING: Final = "waiting"
RUNNING: Final = "running"
HELD: Final = "held"
GONE: Final = "gone"  # not a state: the row is deleted
STATES: Final[tuple[State, ...]] = get_args(State)
JOURNAL_OUTCOMES: Final[tuple[JournalOutcome, ...]] = get_args(JournalOutcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One event: from where, to where, under which conditions, by whom, and what changes with it.

    No state in `sources` means that the event makes the row. `outcomes` are the journal's words for an attempt or a
    run that the event ends; most events have one, and those that end nothing have none.
    """

    event: str
    sources: tuple[State, ...]
    targets: tuple[Target, ...]
    guard: tuple[str, ...] = ()
    by: tuple[str, ...]
    also: tuple[str, ...] = ()
    outcomes: tuple[JournalOutcome, ...] = ()


SAME_ATTEMPT = "same attempt"
TRY_GIVEN_BACK = "try given back"
NEXT_SLOT = "next slot, or gone if one-off"

TRANSITIONS: Final = (
    Transition(
        event="join",
        sources=(),
        targets=(WAITING,),
        guard=("(job, roster, member) is new",),
        by=("caller", "sync"),
        also=("due = slot",),
    ),
    Transition(
        event="enqueue",
        sources=(),
        targets=(WAITING,),
        guard=("key is new",),
        by=("caller",),
        also=("due = given time, or now",),
    ),
    Transition(
        event="claim",
        sources=(WAITING,),
        targets=(RUNNING,),
        guard=("due ≤ now", "not paused", "room under cap, limits and gate"),
        by=("tick", "worker"),
        also=("attempt + 1", "tries + 1", "worker"),
    ),
    Transition(
        event="postpone",
        sources=(WAITING,),
        targets=(WAITING,),
        guard=("no room under a limit, or scope cooling",),
        by=("claim",),
        also=("due = the instant with room", "no try"),
    ),
    Transition(
        event="succeed",
        sources=(RUNNING,),
        targets=(WAITING, GONE),
        guard=(SAME_ATTEMPT,),
        by=("worker",),
        also=(NEXT_SLOT, "run + 1", "tries = 0", "freshness"),
        outcomes=("succeeded",),
    ),
    Transition(
        event="retry",
        sources=(RUNNING,),
        targets=(WAITING,),
        guard=(SAME_ATTEMPT, "tries left"),
        by=("worker",),
        also=("due = now + delay",),
        outcomes=("retry",),
    ),
    Transition(
        event="die",
        sources=(RUNNING,),
        targets=(WAITING, HELD, GONE),
        guard=(SAME_ATTEMPT, "no tries left, or Fail"),
        by=("worker",),
        also=("dead letter", "next slot or hold by policy, gone if one-off"),
        outcomes=("dead",),
    ),
    Transition(
        event="snooze",
        sources=(RUNNING,),
        targets=(WAITING,),
        guard=(SAME_ATTEMPT,),
        by=("handler",),
        also=(TRY_GIVEN_BACK, "due later"),
        outcomes=("snoozed",),
    ),
    Transition(
        event="skip",
        sources=(RUNNING,),
        targets=(WAITING, GONE),
        guard=(SAME_ATTEMPT,),
        by=("handler",),
        also=(TRY_GIVEN_BACK, NEXT_SLOT, "freshness does not move"),
        outcomes=("skipped",),
    ),
    Transition(
        event="rate_limited",
        sources=(RUNNING,),
        targets=(WAITING,),
        guard=(SAME_ATTEMPT,),
        by=("handler",),
        also=(TRY_GIVEN_BACK, "due later", "the scope cools"),
        outcomes=("rate_limited",),
    ),
    Transition(
        event="hold",
        sources=(WAITING, RUNNING),
        targets=(HELD,),
        guard=("same attempt, if running",),
        by=("operator, if waiting", "handler, if running"),
        also=(TRY_GIVEN_BACK, "reason"),
        outcomes=("held",),
    ),
    Transition(
        event="release",
        sources=(RUNNING,),
        targets=(WAITING,),
        guard=(SAME_ATTEMPT,),
        by=("worker leaving",),
        also=("due = now", TRY_GIVEN_BACK),
        outcomes=("released",),
    ),
    Transition(
        event="unhold",
        sources=(HELD,),
        targets=(WAITING,),
        by=("operator",),
        also=("due = now", "slots unmoved"),
    ),
    Transition(
        event="lose",
        sources=(RUNNING,),
        targets=(WAITING, HELD, GONE),
        guard=("its worker's lease is over, or its own leased_until",),
        by=("any tick", "any worker"),
        also=("losses + 1", TRY_GIVEN_BACK, "due = now; as die, reason poison, after max_lost"),
        outcomes=("lost", "dead"),
    ),
    Transition(
        event="extend",
        sources=(RUNNING,),
        targets=(RUNNING,),
        guard=("worker alive",),
        by=("worker",),
        also=("learns of a wish to cancel",),
    ),
    Transition(
        event="run_now",
        sources=(WAITING, HELD),
        targets=(WAITING,),
        by=("member's owner", "operator"),
        also=("due = now", "slots unmoved"),
    ),
    Transition(
        event="cancel",
        sources=(WAITING, HELD),
        targets=(WAITING, GONE),
        by=("operator",),
        also=(NEXT_SLOT,),
        outcomes=("cancelled",),
    ),
    Transition(
        event="stop",
        sources=(RUNNING,),
        targets=(WAITING, GONE),
        guard=(SAME_ATTEMPT, "wish noted"),
        by=("worker",),
        also=(NEXT_SLOT,),
        outcomes=("cancelled",),
    ),
    Transition(
        event="leave",
        sources=(WAITING, HELD),
        targets=(GONE,),
        by=("roster",),
        also=("a running one goes when it ends",),
    ),
)

_BY_EVENT: Final = {step.event: step for step in TRANSITIONS}


def transition(event: str) -> Transition:
    """Return the row of an event."""
    if event not in _BY_EVENT:
        raise ConfigError(f"expected an event of a turn, found {event!r}; the events are {', '.join(_BY_EVENT)}")
    return _BY_EVENT[event]


def allowed(event: str, state: State | None) -> bool:
    """Tell whether an event exists for a turn in this state; None stands for no turn yet."""
    sources = transition(event).sources
    return state in sources if sources else state is None


def markdown_table() -> str:
    """Return the table of events for the documents."""
    head = ("event", "from", "to", "guard", "by", "also")
    rows = [head, ("---",) * len(head), *(_cells(step) for step in TRANSITIONS)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def mermaid() -> str:
    """Return the diagram of states for the documents: one arrow for each pair of states, its events on it."""
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for step in TRANSITIONS:
        for source in step.sources or ("[*]",):
            for target in step.targets:
                arrows[source, "[*]" if target == GONE else target].append(step.event)
    lines = [f"    {source} --> {target}: {', '.join(events)}\n" for (source, target), events in arrows.items()]
    return "stateDiagram-v2\n" + "".join(lines)


def _cells(step: Transition) -> tuple[str, ...]:
    journal = [f"journal: {' or '.join(step.outcomes)}"] if step.outcomes else []
    return (
        step.event,
        ", ".join(step.sources) or "–",
        " or ".join(step.targets),
        "; ".join(step.guard) or "–",
        ", ".join(step.by),
        "; ".join([*step.also, *journal]),
    )
