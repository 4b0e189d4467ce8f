"""The table of events, pair by pair, against what the documents of the design say about each event.

Always true: the expected pairs below are written by hand and not derived from the table.

Not here: whether the statements of the store obey the table (tests/store).
"""

import re

import pytest

from rota.errors import ConfigError
from rota.turn.states import (
    GONE,
    HELD,
    JOURNAL_OUTCOMES,
    RUNNING,
    STATES,
    TRANSITIONS,
    WAITING,
    allowed,
    markdown_table,
    mermaid,
    transition,
)

NOWHERE = None  # no turn yet

EXPECTED = {
    "join": ({NOWHERE}, {WAITING}),
    "enqueue": ({NOWHERE}, {WAITING}),
    "claim": ({WAITING}, {RUNNING}),
    "postpone": ({WAITING}, {WAITING}),
    "succeed": ({RUNNING}, {WAITING, GONE}),
    "retry": ({RUNNING}, {WAITING}),
    "die": ({RUNNING}, {WAITING, HELD, GONE}),
    "snooze": ({RUNNING}, {WAITING}),
    "skip": ({RUNNING}, {WAITING, GONE}),
    "rate_limited": ({RUNNING}, {WAITING}),
    "hold": ({WAITING, RUNNING}, {HELD}),
    "release": ({RUNNING}, {WAITING}),
    "unhold": ({HELD}, {WAITING}),
    "lose": ({RUNNING}, {WAITING, HELD, GONE}),
    "extend": ({RUNNING}, {RUNNING}),
    "run_now": ({WAITING, HELD}, {WAITING}),
    "cancel": ({WAITING, HELD}, {WAITING, GONE}),
    "stop": ({RUNNING}, {WAITING, GONE}),
    "leave": ({WAITING, HELD}, {GONE}),
}

ENDS = {
    "succeed": {"succeeded"},
    "retry": {"retry"},
    "die": {"dead"},
    "snooze": {"snoozed"},
    "skip": {"skipped"},
    "rate_limited": {"rate_limited"},
    "hold": {"held"},
    "release": {"released"},
    "lose": {"lost", "dead"},
    "cancel": {"cancelled"},
    "stop": {"cancelled"},
}


@pytest.mark.parametrize("state", [NOWHERE, *STATES])
@pytest.mark.parametrize("event", EXPECTED)
def test_an_event_exists_in_exactly_the_states_of_the_design(event, state):
    assert allowed(event, state) is (state in EXPECTED[event][0])


@pytest.mark.parametrize("event", EXPECTED)
def test_an_event_leads_to_exactly_the_states_of_the_design(event):
    assert set(transition(event).targets) == EXPECTED[event][1]


def test_the_table_has_each_event_once_and_no_other():
    assert [step.event for step in TRANSITIONS] == list(EXPECTED)


def test_a_turn_has_three_states():
    assert STATES == ("waiting", "running", "held")


def test_the_journal_knows_ten_outcomes():
    assert JOURNAL_OUTCOMES == (
        "succeeded", "retry", "dead", "rate_limited", "snoozed", "skipped", "held", "released", "lost", "cancelled",
    )  # fmt: skip


def test_each_event_that_ends_something_has_its_journal_outcome_and_each_outcome_its_event():
    assert {step.event: set(step.outcomes) for step in TRANSITIONS if step.outcomes} == ENDS
    assert {outcome for step in TRANSITIONS for outcome in step.outcomes} == set(JOURNAL_OUTCOMES)


def test_whatever_leaves_running_is_fenced_by_the_attempt_or_is_a_loss():
    leaving = {step.event for step in TRANSITIONS if RUNNING in step.sources and step.targets != (RUNNING,)}
    fenced = {step.event for step in TRANSITIONS if any("same attempt" in guard for guard in step.guard)}
    assert leaving == fenced | {"lose"}


def test_only_a_claim_starts_a_run():
    assert [step.event for step in TRANSITIONS if RUNNING in step.targets and RUNNING not in step.sources] == ["claim"]


def test_an_unknown_event_is_refused_with_the_events_there_are():
    with pytest.raises(ConfigError, match="found 'finish'; the events are join, enqueue, claim"):
        allowed("finish", WAITING)


def test_the_table_for_the_documents_has_one_row_for_each_event_and_six_cells_in_each():
    head, rule, *rows = markdown_table().splitlines()
    assert head == "| event | from | to | guard | by | also |"
    assert rule == "| --- | --- | --- | --- | --- | --- |"
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(EXPECTED)
    assert {row.count("|") for row in rows} == {7}
    assert (
        "| die | running | waiting or held or gone | same attempt; no tries left, or Fail | worker "
        "| dead letter; next slot or hold by policy, gone if one-off; journal: dead |"
    ) in rows


def test_the_diagram_has_an_arrow_for_each_way_there_is_and_no_other():
    head, *lines = mermaid().splitlines()
    drawn = set()
    for line in lines:
        source, target, events = re.fullmatch(r" {4}(\S+) --> (\S+): (.+)", line).groups()
        drawn |= {(source, target, event) for event in events.split(", ")}
    assert head == "stateDiagram-v2"
    assert drawn == {
        (source or "[*]", "[*]" if target == GONE else target, event)
        for event, (sources, targets) in EXPECTED.items()
        for source in sources
        for target in targets
    }


@pytest.mark.parametrize(
    "row",
    [
        "| join | – | waiting | (job, roster, member) is new | caller, sync | due = slot |",
        (
            "| claim | waiting | running | due ≤ now; not paused; room under cap, limits and gate | tick, worker"
            " | attempt + 1; tries + 1; worker |"
        ),
        (
            "| skip | running | waiting or gone | same attempt | handler"
            " | try given back; next slot, or gone if one-off; freshness does not move; journal: skipped |"
        ),
        "| unhold | held | waiting | – | operator | due = now; slots unmoved |",
        (
            "| lose | running | waiting or held or gone | its worker's lease is over, or its own leased_until"
            " | any tick, any worker"
            " | losses + 1; try given back; due = now; as die, reason poison, after max_lost; journal: lost or dead |"
        ),
        (
            "| cancel | waiting, held | waiting or gone | – | operator"
            " | next slot, or gone if one-off; journal: cancelled |"
        ),
    ],
    ids=lambda row: row.split()[1],
)
def test_a_row_of_the_table_tells_the_whole_of_an_event(row):
    assert row in markdown_table().splitlines()
