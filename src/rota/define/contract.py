"""What the engine may ask of any schedule, and the place of a member that the answer depends on.

Always true: the answers are a pure function of the schedule, the place and the instant in the question; a slot is
never computed from when a run started or ended.

Not here: the schedules themselves (define/evenly, define/schedule), and who gets which place (turn/slots).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member stands in a schedule: its phase in ms, its zone, and its data for rules that read them."""

    phase_ms: int = 0
    zone: str | None = None
    data: Mapping[str, object] = field(default_factory=dict)


class Schedule(ABC):
    """A pure rule: given an instant and a place, which instant is next."""

    __slots__ = ()

    @property
    @abstractmethod
    def period_ms(self) -> int:
        """The nominal period: the distance of two slots as the calendar tells it, the shortest where they differ."""

    @property
    def min_gap_ms(self) -> int:
        """The shortest distance of two slots in two years, changes of the clocks included."""
        return self.period_ms

    @property
    def balanced(self) -> bool:
        """Whether members are spread over slots by load; otherwise the wall clock decides."""
        return False

    @property
    def spread_ms(self) -> int:
        """The window after the nominal time over which members are spread, 0 where there is none."""
        return 0

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a member's data that the rule reads."""
        return ()

    @abstractmethod
    def next_slot(self, after_ms: int, place: Place) -> int | None:
        """The first slot strictly after an instant, or None where none comes any more."""

    @abstractmethod
    def last_slot(self, at_ms: int, place: Place) -> int | None:
        """The newest slot at or before an instant, or None where there is none."""

    @abstractmethod
    def count_between(self, after_ms: int, until_ms: int, place: Place) -> int:
        """How many slots lie in (after, until]."""

    @abstractmethod
    def describe(self) -> str:
        """The rule in words."""

    @abstractmethod
    def signature(self) -> str:
        """A text that changes when, and only when, the slots do."""

    def slots_between(self, after_ms: int, until_ms: int, place: Place, most: int) -> list[int]:
        """The slots in (after, until], ascending; where there are more than `most`, the newest of them."""
        found: list[int] = []
        slot = self.last_slot(until_ms, place)
        while slot is not None and slot > after_ms and len(found) < most:
            found.append(slot)
            slot = self.last_slot(slot - 1, place)
        found.reverse()
        return found

    def min_gap_since(self, at_ms: int) -> int:  # noqa: ARG002 - rules of the wall clock depend on it
        """The shortest distance of two slots in the two years after an instant."""
        return self.period_ms

    def check_member(self, zone: str | None, data: Mapping[str, object]) -> None:  # noqa: B027 - most rules ask nothing
        """Raise `BadInput` where the member lacks what the rule reads from its data."""
