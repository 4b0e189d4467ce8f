"""Leases, by the true time: whatever the store's clock does, a worker that beats in time loses nothing (G-19).

The store's own columns prove nothing here, for its clock leaps. What is true is when a beat was committed and a claim
made, on the loop's time.

Always true: a clock that steps by less than an hour is believed, as it is promised, so an attempt that has seen such a
step is not judged.

Not here: leases by the store's clock (checks).
"""

from rota.clock import LEAP_MS
from tests.sim.checks import DELETE, Checker, Watch
from tests.sim.plan import Plan
from tests.sim.records import Line, Turn

LEASE_MS = 15_000  # of a worker, at pace 1
NEARLY = 0.99  # of a lease: the store's whole milliseconds

_WORKER = "SELECT incarnation, lease_until - beat_at FROM rota_worker WHERE rowid = ?"


def leap_ms(plan: Plan) -> int:
    """A leap that no lease of this world hides: twice an hour and a lease."""
    return 2 * (LEAP_MS + int(LEASE_MS * plan.pace))


class Leases(Checker):
    """When each worker beat last and each attempt was claimed."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._beats: dict[str, tuple[float, int]] = {}  # by incarnation: when, and for how long
        self._claims: dict[int, tuple[float, int, int]] = {}  # by turn: when, for how long, after how many steps

    def touched(self, kind: int, table: str, row: int) -> None:
        if table == "rota_worker" and kind != DELETE:
            for worker, lease_ms in self.watch.rows(_WORKER, row):
                self._beats[worker] = (self.watch.true_s, lease_ms)

    def claimed(self, who: str, old: Turn, new: Turn) -> None:
        lasts_ms = (new.leased_until or 0) - self.watch.now_ms()
        self._claims[new.id] = (self.watch.true_s, lasts_ms, self.watch.sometimes["clock steps"])

    def ended(self, old: Turn, new: Turn | None, line: Line) -> None:
        if line.outcome != "lost" and line.reason != "poison":
            return
        if old.losses >= self.watch.spec(old.job).max_lost:
            return  # given back once too often by a release that does not know it: its claimer ends it
        now_s = self.watch.true_s
        beaten_s, lease_ms = self._beats.get(old.worker or "", (0.0, 0))
        claimed_s, lasts_ms, steps = self._claims[old.id]
        lives = now_s - beaten_s < lease_ms * NEARLY / 1000 and now_s - claimed_s < lasts_ms * NEARLY / 1000
        if lives and steps == self.watch.sometimes["clock steps"]:
            self.watch.fail("G-19", "reaped", now_s - beaten_s, "s after a beat for", lease_ms, "ms:", old)
        self.watch.sometimes["lost after a leap"] += self.watch.sometimes["leap"] > 0
