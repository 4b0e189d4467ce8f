"""Places, and the attempts that fill them.

Always true: a claim takes half of a lane's places at most, so that one half runs while the next is claimed.

Not here: claiming and ending (pump.py).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from rota.define.job import JobSpec
from rota.engine.admit import asks
from rota.turn.records import Claim

if TYPE_CHECKING:
    from asyncio import Task, TimerHandle

BATCH: Final = 1000  # the most turns of one claim (G-25)


class Lane:
    """Some jobs and the places they may fill together: a queue of a worker, or one job of a tick."""

    def __init__(self, specs: Iterable[JobSpec], places: int) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.asks = asks(self.specs.values())
        self.places = places
        self.used = 0
        self.share = min(BATCH, (places + 1) // 2)
        self.left: int | None = None  # how many more may be claimed at all; None: as many as come
        self.deep: set[str] = set()  # limited jobs with more due than a claim has looked at
        self.more = False  # the last claim got all it asked for: there is probably more

    @property
    def most(self) -> int:
        """Places that a batch may fill at the very most."""
        return self.places if self.left is None else min(self.places, self.left)

    @property
    def whole(self) -> int:
        """Places that a batch may fill, which is claimed at once or not at all."""
        return self.places - self.used if self.left is None else min(self.places - self.used, self.left)

    @property
    def free(self) -> int:
        """Places that a claim may fill now: half of them at most, so that one half runs while the next is claimed."""
        free = min(self.places - self.used, self.share)
        return free if self.left is None else min(free, self.left)


class Running:
    """An attempt on its way: its claim, its task, and why it was cancelled if it was."""

    __slots__ = (
        "begun",
        "claim",
        "deadline_s",
        "from_s",
        "group",
        "known_s",
        "lane",
        "paid",
        "probes",
        "seen_s",
        "spec",
        "started_at",
        "started_s",
        "task",
        "timer",
        "why",
    )

    def __init__(self, claim: Claim, spec: JobSpec, lane: Lane, started_s: float) -> None:
        self.claim = claim
        self.spec = spec
        self.lane = lane
        self.started_s = started_s
        self.known_s = started_s  # when the claim's answer came: a look at the store before that may not show it
        self.started_at: int | None = None
        self.seen_s = started_s  # when the store's `claimed_at` was now, as nearly as is known
        self.from_s = 0.0  # it waits for this instant, at which it has room under its limits
        self.deadline_s = 0.0
        self.begun = False
        self.task: Task[None] | None = None
        self.timer: TimerHandle | None = None
        self.why: Exception | None = None
        self.probes: tuple[str, ...] = ()  # scopes for which this run shows whether they work again
        self.paid: set[str] | None = None  # buckets of which the claim took a call that the handler has not made yet
        self.group: list[Running] | None = None  # the batch that one call of the handler works on
