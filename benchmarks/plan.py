"""How much of everything one run does: the full measure, or the quick one.

Always true: quick and full measure the same things in the same way; only counts and rounds differ.

Not here: the measures themselves.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Counts of one run."""

    rounds: int
    one_offs: int  # jobs of a drain; Huey, a tenth as fast, gets a sixth
    members: int  # of a drain of standing turns
    enqueued: int  # one-offs of an enqueue run
    samples: int  # of a latency run
    joins: tuple[int, ...]  # sizes of rosters
    idle_s: float
    starts: int  # cold processes
    limited: int  # runs under a limit of 200 a second
    due: int  # members of a limited job that are due at once
    window_s: float  # of that job that is looked at
    long: bool = False  # 200 batches with a pause of 5 s, which take 17 minutes


FULL = Plan(
    rounds=3,
    one_offs=60_000,
    members=30_000,
    enqueued=50_000,
    samples=200,
    joins=(10_000, 100_000, 1_000_000),
    idle_s=20.0,
    starts=9,
    limited=10_000,
    due=100_000,
    window_s=60.0,
)
QUICK = Plan(
    rounds=1,
    one_offs=18_000,
    members=10_000,
    enqueued=15_000,
    samples=60,
    joins=(10_000, 50_000),
    idle_s=8.0,
    starts=5,
    limited=2_000,
    due=20_000,
    window_s=12.0,
)
