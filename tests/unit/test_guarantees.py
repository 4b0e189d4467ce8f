"""The page of guarantees: every promise has its row, every test it names exists, a figure comes from a record."""

import json
import re
from pathlib import Path

import pytest

from tests.guarantees import page
from tests.guarantees.promises import PROMISES

TESTS = Path(__file__).parents[1]
NAMED = sorted({test for one in PROMISES for test in one.tests})


def test_every_promise_has_its_row_in_order() -> None:
    assert [one.name for one in PROMISES] == [f"G-{number}" for number in range(1, 35)]


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_the_page_names_exists(named: str) -> None:
    file, _, function = named.partition("::")
    text = (TESTS / file).read_text(encoding="utf-8")
    assert re.search(rf"^ *(async )?def {function}\b", text, re.MULTILINE)


def test_a_promise_without_a_proof_says_so() -> None:
    assert [one.name for one in PROMISES if not one.tests and not one.scenarios and not one.open] == []


def test_what_happened_comes_from_the_record_and_a_zero_stands_beside_what_it_is_a_zero_of(tmp_path: Path) -> None:
    check = {"name": "I-1", "what": "lost", "happened": 0, "of": 4711, "allowed": 0, "rule": "at most", "holds": True}
    record = {"scenario": "C-1", "title": "kill -9", "store": "postgres", "form": "short", "verdict": "held"}
    wish = {"what": "recovery", "wished": "≤ 5 s", "reached": "3 s", "met": True}
    found = {"seconds": 24.2, "skipped": None, "checks": [check], "figures": [wish, wish | {"met": False}]}
    (tmp_path / "c-1.json").write_text(json.dumps(record | found))
    said = "recovery: 3 s (wished ≤ 5 s); recovery: 3 s (not met: wished ≤ 5 s); held in 1 checks: lost: 0 of 4,711"
    text = page.page(tmp_path)
    assert f"| C-1 | kill -9 | postgres | short, 24 s | held | {said} |" in text
    assert "C-1: held in 1 of 1 runs" in text
    assert "C-3: not run yet" in text


def test_a_violation_is_not_hidden_by_a_run_that_held(tmp_path: Path) -> None:
    for number, verdict in enumerate(("held", "violated", "skipped")):
        record = {"scenario": "C-1", "title": "kill", "store": "postgres", "form": str(number), "verdict": verdict}
        whole = record | {"seconds": 1, "skipped": "no strace" if verdict == "skipped" else None, "checks": []}
        (tmp_path / f"{number}.json").write_text(json.dumps(whole))
    assert "C-1: **violated** in 1 of 3 runs" in page.page(tmp_path)
