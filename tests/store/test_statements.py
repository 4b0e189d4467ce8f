"""The one SQL text keeps its rules: short statements, literal states, siblings with a reason, no logic in the database.

Always true: a statement that breaks a rule is named with the rule.

Not here: whether it is fast (test_plans) or right (test_contract).
"""

import re
from importlib import resources

import pytest

from rota.store.sql import Dictionary, statements
from rota.turn.records import Claim

MOST_LINES = 40  # a statement that is longer is two
TEXTS = statements()
SIBLINGS = sorted(name for name in TEXTS if "@" in name)
OTHER = {"postgres": "sqlite", "sqlite": "postgres"}
READS_SESSIONS = {"old_snapshots@postgres"}  # how long another session has been open, by the server's own clock
KNOWN = {
    "finish@postgres",
    "library@postgres",
    "lock_ends@postgres",
    "lock_ends@sqlite",
    "prune_dead@postgres",
    "prune_journal@postgres",
    "prune_keys@postgres",
    "rejudge@postgres",
    "reserve_keys@sqlite",
    "rouse@postgres",
    "runs_of_turns@postgres",
    "schema_lock@postgres",
    "schema_present@postgres",
    "turn_ids_of_members@postgres",
}
_SOURCES = [
    file.read_text(encoding="utf-8")
    for file in resources.files("rota.store").joinpath("queries").iterdir()
    if file.name.endswith(".sql")
]
_BLOCK = re.compile(r"^-- name: (\S+)\s*\n((?:--[^\n]*\n)*)", re.MULTILINE)
COMMENTS = {name: comment for source in _SOURCES for name, comment in _BLOCK.findall(source)}


@pytest.mark.parametrize("name", TEXTS)
def test_a_statement_has_at_most_forty_lines(name):
    assert TEXTS[name].count("\n") < MOST_LINES


@pytest.mark.parametrize("name", TEXTS)
def test_a_state_in_a_condition_is_a_literal_so_that_partial_indexes_serve(name):
    condition = TEXTS[name].split("WHERE", 1)[-1] if "WHERE" in TEXTS[name] else ""
    assert not re.search(r"\bstate\s*(=|<>|!=|IN)\s*\(?\s*:", condition)


@pytest.mark.parametrize("name", TEXTS)
def test_a_statement_reads_no_clock_of_its_own_and_needs_no_help_of_one_database(name):
    text = re.sub(r"'[^']*'", "''", TEXTS[name]).lower()
    assert not re.search(r"\b(now\(|current_timestamp|datetime\(|strftime|unixepoch|random\()", text)
    assert "clock_timestamp" not in text or name in READS_SESSIONS
    assert not re.search(r"\b(trigger|procedure|function)\b", text)
    if "@" not in name:
        assert "::" not in text, "casts are written CAST"
        assert not re.search(r"\b(for update|json_each|unnest|jsonb?_|array\b)", text), "that is what the holes are for"


@pytest.mark.parametrize("name", [name for name in SIBLINGS if not name.startswith("library")])  # its name says all
def test_a_sibling_says_why_it_is_there(name):
    base, _, dialect = name.partition("@")
    twin = f"{base}@{OTHER[dialect]}"
    reasons = [COMMENTS.get(one, "") for one in (name, twin, base)]
    assert any(len(reason.replace("--", "").split()) > 3 for reason in reasons), (
        f"{name} needs a comment with its reason"
    )


def test_the_siblings_are_few_and_known():
    """Each is a statement to keep right twice: a new one is a decision, and stands in this list."""
    assert {name for name in SIBLINGS if _twins(name)} == KNOWN


def _twins(name: str) -> bool:
    """Whether the same is written twice; what only one of the databases has to tell is not a sibling."""
    base, _, dialect = name.partition("@")
    return base in TEXTS or f"{base}@{OTHER[dialect]}" in TEXTS


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_every_statement_compiles_for_both_databases_and_leaves_no_hole(dialect):
    words = Dictionary(dialect, "rota", clock_held=False)
    for name in TEXTS:
        if not name.endswith(f"@{'postgres' if dialect == 'sqlite' else 'sqlite'}"):
            text = words[name.partition("@")[0]].text
            assert not re.search(
                r"\{[a-z]|\brota\.\w|(?<![:\w]):[a-z]", re.sub(r"'[^']*'", "", text).replace('"rota".', "")
            )


@pytest.mark.parametrize("name", ["claim_lane", "claim@postgres", "turns_by_id"])
def test_a_claim_is_read_in_the_order_of_its_record(name):
    """What comes before the member's columns are the fields of `Claim`, in their order."""
    text = TEXTS[name]
    listed = text.rsplit("SELECT", 1)[-1].split("FROM", 1)[0] if name == "turns_by_id" else text.rsplit("RETURNING")[-1]
    columns = [column.strip().rpartition(".")[2] for column in listed.split(",")]
    expected = [{"claimed_at": "{now}"}.get(field, field) for field in Claim._fields]
    assert columns[: len(expected)] == expected[: len(columns)]
    assert len(columns) >= 25
