"""Which modules are mutated, and which tests must notice; and the mutants that no test can notice, each with why.

Always true: the tests of a module are those that are about it, the quickest first; what is accepted here is a change
that changes nothing anybody could see.

Not here: the mutants (mutants), running them (`python -m tests.mutation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

SLOTS = ("tests/property/test_slots.py",)
WALLCLOCK = ("tests/unit/test_define_schedule.py", "tests/property/test_schedule_wallclock.py")
EVERY = ("tests/property/test_schedule_every.py",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One module and its tests; `strings`: its texts are data; `without`: tests too slow for what they add here."""

    module: str
    tests: tuple[str, ...]
    strings: bool = False
    without: str = ""

    @property
    def path(self) -> str:
        """Its file, from the root of the repository."""
        return f"src/{self.module.replace('.', '/')}.py"


TARGETS = (
    Target(module="rota.turn.states", tests=("tests/unit/test_states.py",), strings=True),
    Target(module="rota.turn.slots", tests=SLOTS, without="million or ten_thousand"),
    Target(module="rota.turn.gates", tests=("tests/unit/test_gates.py",)),
    Target(module="rota.define.schedule", tests=("tests/unit/test_define_forms.py", *EVERY, *WALLCLOCK)),
    Target(module="rota.define.evenly", tests=(*EVERY, "tests/unit/test_define_schedule.py")),
    Target(module="rota.define.wallclock", tests=WALLCLOCK),
    Target(module="rota.define.policy", tests=("tests/unit/test_policy.py", "tests/unit/test_define_job.py")),
    Target(module="rota.define.cron", tests=WALLCLOCK),
)

# module: {(the line as it begins, the change): why nobody can notice it}
Reasons = Mapping[tuple[str, str], str]
EQUIVALENT: Mapping[str, Reasons] = {
    "rota.turn.slots": {
        ("ORDERS = 64", "64 → 65"): "how many orders are remembered",
        ("MASK = ", "1 → 2"): "the last of the 64 bits of an offset",
        ("_check_weight(min(weights", "1 → 2"): "a weight for nobody, which only has to be allowed",
        ("weight = next(", "1 → 2"): "a weight for nobody: nothing moves",
        ("if extra >= 0", "extra >= 0 → extra > 0"): "with nothing over both branches say the same",
        ("if extra >= 0", "0 → 1"): "with nothing over both branches say the same",
        ("bits = ", "count - 1 → count + 1"): "one bit more mirrors to the same order, each slot met twice",
        ("around = ", "max(above - 1, 0) → min(above - 1, 0)"): "looks at more members for the nearest",
        ("around = ", "1 → 2"): "looks at more members for the nearest",
    },
    "rota.define.schedule": {
        ("_TWO_YEARS_MS", "731 → 732"): "gaps are the same in two years and a day",
        ("_YEARS_LOOKED_AHEAD", "2 → 3"): "how far is looked at first; the gap that is found is the same",
        ("_YEARS_LOOKED_AHEAD", "40 → 41"): "how far is looked at first; the gap that is found is the same",
        ("_YEARS_LOOKED_AHEAD", "400 → 401"): "after 400 years the calendar repeats",
        ("gap = nominal_gap", "366 → 367"): "how far is looked at first; the gap that is found is the same",
        ("return DayTime(day, self.at if", "12 → 13"): "any time that changes of the clocks leave in its day",
        ("return _wall_clock(_ANY_DAY, 0,", "0 → 1"): "a cron rule has times of its own",
        ("return (LAST_DAY", "return (LAST_DAY - FIRST_DAY) * DAY_MS → return None"): "no date comes once in 400 years",
        (
            "return (LAST_DAY",
            "(LAST_DAY - FIRST_DAY) * DAY_MS → (LAST_DAY - FIRST_DAY) // DAY_MS",
        ): "no date comes once",
    },
    "rota.define.evenly": {
        ("parts = ", "period_ms < DAY_MS → period_ms <= DAY_MS"): "a day has 24 parts either way",
        ("_STANDARD_AT", "2026 → 2027"): "a year with the same standard time",
        ("_STANDARD_AT", "1 → 2"): "a day, or a month, with the same standard time",
        ("_STANDARD_AT", "7 → 8"): "a month with the same standard time",
    },
    "rota.define.wallclock": {
        ("_MOST_OFFSET_MS", "16 → 17"): "looks at a little more",
        ("_PROBE_MS", "3 → 4"): "no zone changes twice in four hours",
        (
            "raise AssertionError",
            "raise AssertionError('the segments around a day cover every reading of that day') → pass",
        ): ("cannot happen"),
    },
    "rota.define.policy": {
        (
            "if isinstance(value, bool) or not isinstance(value, int | float)",
            (
                "isinstance(value, bool) or not isinstance(value, int | float) or (not math.isfinite(value)) → "
                "isinstance(value, bool) or not isinstance(value, int | float)"
            ),
        ): "no bounds hold for what is not finite: the line after it refuses it in the same words",
        ("step = 0 if", "tries_used < 1 → tries_used <= 1"): "after one try the step is 0 either way",
        ("step = 0 if", "1 → 2"): "after one try the step is 0 either way",
    },
}
