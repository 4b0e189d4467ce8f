"""Which modules are mutated, and which tests must notice; and the mutants that no test can notice, each with why.

Always true: the tests of a module are those that are about it, the quickest first; what is accepted here is a change
that changes nothing anybody could see.

Not here: the mutants (mutants), running them (`python -m tests.mutation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

SLOTS = ("tests/property/test_slots.py",)
WALLCLOCK = (
    "tests/unit/test_wallclock.py",
    "tests/unit/test_define_schedule.py",
    "tests/property/test_schedule_wallclock.py",
)
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
    Target(module="rota.turn.gates", tests=("tests/unit/test_gates.py", "tests/unit/test_early_room.py")),
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
        ("around = ", "1 → 2 (2)"): "looks at more members for the nearest",
        ("return bisect_right(", "1 → 2 (2)"): "no slot is ever filled above the total",
    },
    "rota.define.schedule": {
        ("_TWO_YEARS_MS", "731 → 732"): "gaps are the same in two years and a day",
        ("_YEARS_LOOKED_AHEAD", "2 → 3"): "how far is looked at first; the gap that is found is the same",
        ("_YEARS_LOOKED_AHEAD", "40 → 41"): "how far is looked at first; the gap that is found is the same",
        ("_YEARS_LOOKED_AHEAD", "400 → 401"): "after 400 years the calendar repeats",
        ("_SINCE_MS", "2026 → 2027"): "gaps are the same in any two years under standing rules",
        ("_SINCE_MS", "1 → 2"): "gaps are the same in any two years under standing rules",
        ("_SINCE_MS", "1 → 2 (2)"): "gaps are the same in any two years under standing rules",
        ("day = self.day if", "1 → 2"): "stands for any weekday: clocks change between two of it, whichever it is",
        (
            "return DayTime(day, self.at if",
            "12 * HOUR_MS → 12 // HOUR_MS",
        ): "any time that changes of the clocks leave in its day",
        ("gap = nominal_gap", "366 → 367"): "how far is looked at first; the gap that is found is the same",
        ("return DayTime(day, self.at if", "12 → 13"): "any time that changes of the clocks leave in its day",
        ("return _wall_clock(_ANY_DAY, 0,", "0 → 1"): "a cron rule has times of its own",
        ("return (LAST_DAY", "return (LAST_DAY - FIRST_DAY) * DAY_MS → return None"): "no date comes once in 400 years",
        (
            "return (LAST_DAY",
            "(LAST_DAY - FIRST_DAY) * DAY_MS → (LAST_DAY - FIRST_DAY) // DAY_MS",
        ): "no date comes once in 400 years",
        ("return (LAST_DAY", "LAST_DAY - FIRST_DAY → LAST_DAY + FIRST_DAY"): "no date comes once in 400 years",
        (
            "if found is None and isinstance(day, str)",
            "found is None and isinstance(day, str) and is_field(day) → found is None and is_field(day)",
        ): "what is a field looks at its type itself: this says it to the type checker",
        (
            "if isinstance(at, str) and is_field(at)",
            "isinstance(at, str) and is_field(at) → is_field(at)",
        ): "what is a field looks at its type itself: this says it to the type checker",
    },
    "rota.define.evenly": {
        ("parts = ", "period_ms < DAY_MS → period_ms <= DAY_MS"): "a day has 24 parts either way",
        ("_STANDARD_AT", "2026 → 2027"): "a year with the same standard time",
        ("_STANDARD_AT", "2026 → 2027 (2)"): "a year with the same standard time",
        ("_STANDARD_AT", "1 → 2"): "a day, or a month, with the same standard time",
        ("_STANDARD_AT", "1 → 2 (2)"): "a day, or a month, with the same standard time",
        ("_STANDARD_AT", "1 → 2 (3)"): "a day, or a month, with the same standard time",
        ("_STANDARD_AT", "7 → 8"): "a month with the same standard time",
    },
    "rota.turn.gates": {
        ("now_ns = now_ms * NS", "now_ms * NS → now_ms // NS"): "used room ends later than both, or both are past",
        ("ahead = start_at", "now_ms * NS → now_ms // NS"): "used room ends later than both, or both are past",
        ("one.spend(start_at", "ahead and start_at is not None → ahead"): "says it to the type checker once more",
        ("self.cooling_until = max(now_ms + delay_ms", "0 → 1"): "both are long past",
        ("delay_ms = min(COOL_MOST_MS", "10 → 11"): "both are above the longest",
    },
    "rota.define.wallclock": {
        (
            "return 0 if offset is None",
            "0 → 1",
        ): "every instant has an offset in every zone: this says it to the type checker",
        ("start, end = ", "1 → 2"): "looks at a day more for changes",
        ("for probe in range(", "start + _PROBE_MS → start - _PROBE_MS"): "looks at a little more",
        ("for probe in range(", "end + _PROBE_MS → end - _PROBE_MS"): "no zone's day ends so late",
        ("return (*found,", "end + _PROBE_MS → end - _PROBE_MS"): "no zone's day ends so late",
        (
            "if best is not None and best <= ",
            "best <= day * DAY_MS - _MOST_OFFSET_MS → best < day * DAY_MS - _MOST_OFFSET_MS",
        ): "looks at a day more",
        (
            "if best is not None and best >= ",
            "best >= (day + 1) * DAY_MS + _MOST_OFFSET_MS → best > (day + 1) * DAY_MS + _MOST_OFFSET_MS",
        ): "looks at a day more",
        ("if best is not None and best >= ", "1 → 2"): "looks at a day more",
        (
            "if index < len(distances)",
            "base + distances[index] < best → base + distances[index] <= best",
        ): "the same slot once more",
        (
            "if index and (best is None",
            "base + distances[index - 1] > best → base + distances[index - 1] >= best",
        ): "the same slot once more",
        ("_MOST_OFFSET_MS", "16 → 17"): "looks at a little more",
        ("_PROBE_MS", "3 → 4"): "no zone changes twice in four hours",
    },
    "rota.define.cron": {
        ("_MOST_MONTHS", "400 → 401"): "after 400 years the calendar repeats",
        ("_MOST_MONTHS", "12 → 13"): "after 400 years the calendar repeats",
        ("_STAND_IN", "2000 → 2001"): "what is parsed does not depend on it",
        ("_STAND_IN", "1 → 2"): "what is parsed does not depend on it",
        ("_STAND_IN", "1 → 2 (2)"): "what is parsed does not depend on it",
        ("month = first.year", "1 → 2"): "begins a month earlier: days before the one asked for are passed over",
        (
            "month = first.year",
            "first.year * _MONTHS + first.month → first.year * _MONTHS - first.month",
        ): "begins up to two years earlier: days before the one asked for are passed over",
        (
            "for back in range(month",
            "max(month - _MOST_MONTHS, _MONTHS) → min(month - _MOST_MONTHS, _MONTHS)",
        ): "goes on for more than 400 years, in which every rule has had a day",
        (
            "month = last.year",
            "last.year * _MONTHS + last.month - 1 → last.year * _MONTHS + last.month + 1",
        ): "begins two months later: days after the one asked for are passed over",
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
