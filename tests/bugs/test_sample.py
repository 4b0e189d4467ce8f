"""A few of the deliberate bugs, put in and found, in every run of the tests; all of them are `make bugs`.

Which ones, a seed decides that is printed; `--seed` repeats it.

Always true: at least one is found by the simulation and one by the tests of the store; every bug still fits the code,
whether it is tried or not.

Not here: the bugs (table), the runner (`python -m tests.bugs`).
"""

import random
import secrets

import pytest

from tests.bugs.__main__ import told, tried
from tests.bugs.edits import misfits
from tests.bugs.table import BUGS, SIMULATION

SAMPLE = 6
PLAIN = [bug for bug in BUGS.values() if not bug.not_yet]
SIMULATED = [bug for bug in PLAIN if bug.suites[0] == SIMULATION]
STORED = [bug for bug in PLAIN if bug.suites[0].tests and bug.suites[0].tests[0].startswith("tests/store/")]


def test_there_are_thirty_two_and_each_has_a_suite_or_a_reason():
    assert list(BUGS) == list(range(1, 33))
    assert [bug.number for bug in BUGS.values() if bool(bug.edits and bug.suites) == bool(bug.not_yet)] == []


@pytest.mark.parametrize("bug", [bug for bug in BUGS.values() if bug.edits], ids=lambda bug: str(bug.number))
def test_a_bug_fits_the_code_as_it_is(bug):
    """The code has moved on: say the same wrong thing in its present words, in tests/bugs/table.py."""
    assert misfits(bug.edits) == []


def test_of_some_bugs_each_is_found(seed, capsys):
    chosen_by = secrets.randbelow(10**6) if seed is None else seed
    dice = random.Random(chosen_by)
    must = [dice.choice(SIMULATED), dice.choice(STORED)]
    rest = [bug for bug in PLAIN if bug not in must]
    sample = sorted([*must, *dice.sample(rest, SAMPLE - len(must))], key=lambda bug: bug.number)
    trials = list(tried([(bug, bug.suites[0]) for bug in sample], at_once=2))
    with capsys.disabled():
        print(f"\ndeliberate bugs, sample of seed {chosen_by}", *map(told, trials), sep="\n")
    assert [trial.number for trial in trials if not trial.found] == []
