"""Choosing the day: a limb's stretch of time against the windows of the days, for all places at once.

Always true: an answer is one day number for each place (a column of the day table), with the reason and the share of
its window that the limb covers on the two candidate days; a place's answer does not depend on the other places.

Not here: which limb of which month (festivals), the rules as data (festival_rules), the sentence (why).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from apps.panchangam.almanac import windows
from apps.panchangam.almanac.festival_rules import SHRAVANA_STAR, Method, Rule, Window
from apps.panchangam.almanac.records import DAY_S, EPOCH, DayTable, Floats, Ints, Span
from apps.panchangam.almanac.sky import Sky

Bools: TypeAlias = NDArray[np.bool_]

GHATI_S: Final = 24 * 60  # seconds; an overlap shorter than this does not count for Dussehra
VAISHNAVA_DAWN_S: Final = 96 * 60  # seconds before sunrise by which the tithi before Ekadashi must have ended
DAYS: Final = np.arange(3)  # a tithi (19 to 27 hours) can meet windows of the day it begins on and the two after


class Reason(IntEnum):
    """Why a day was chosen."""

    ONLY = 0
    FIRST = 1
    LAST = 2
    MORE = 3
    EQUAL = 4
    NONE_START = 5
    NONE_NEXT = 6
    HOLDS = 7
    DOES_NOT_HOLD = 8
    WHOLE = 9
    EARLY = 10
    STAR = 11
    STAR_SECOND = 12
    NO_WINDOW = 13
    BHADRA = 14
    DAWN = 15
    DAWN_NEXT = 16
    BEFORE_CUT = 17
    AFTER_CUT = 18
    CIVIL = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The chosen day of each place and what spoke for it; every array has one entry a place."""

    day: Ints  # column of the day table
    reason: Ints
    low: Ints  # column of the earlier candidate day
    share_low: Floats  # 0 to 1 of the window on that day
    share_high: Floats  # and on the day after it


class Calendar:
    """The day table without holes, its windows, and the sky above it.

    Where the Sun does not rise or set, the day begins at local midnight and has its sunset half way to the next.
    """

    def __init__(self, sky: Sky, table: DayTable) -> None:
        self.sky = sky
        self.table = table
        self.rows = np.arange(len(table.places))
        half = (table.end - table.begin) / 2
        self.sunrise = table.begin
        self.next_sunrise = table.end
        self.sunset = np.where(np.isnan(table.sunset) | table.polar, table.begin + half, table.sunset)
        self.previous_sunset = np.where(np.isnan(table.previous_sunset), table.begin - half, table.previous_sunset)
        self._windows: dict[str, Span] = {}

    @cached_property
    def daytime(self) -> Floats:
        """Length of each day from sunrise to sunset, in seconds."""
        return self.sunset - self.sunrise

    def window(self, name: Window) -> Span:
        """Give the window's beginning and end on every day; an instant begins and ends at once."""
        if name not in self._windows:
            self._windows[name] = self._window(name)
        return self._windows[name]

    def _window(self, name: Window) -> Span:
        instants = {"sunrise": self.sunrise, "sunset": self.sunset, "moonrise": self.table.moonrise}
        if name in instants:
            return Span(instants[name], instants[name])
        if name == "midnight":
            middle = windows.midnight(self.sunset, self.next_sunrise)
            return Span(middle, middle)
        if name == "nine_muhurtas":
            return Span(self.sunrise, self.sunrise + self.daytime * 9 / windows.MUHURTAS)
        if name == "arunodaya":
            return windows.arunodaya(self.previous_sunset, self.sunrise)
        if name in ("pradosha", "nishita"):
            return getattr(windows, name)(self.sunset, self.next_sunrise)  # type: ignore[no-any-return]
        return getattr(windows, name)(self.sunrise, self.sunset)  # type: ignore[no-any-return]

    def day_of(self, instant: float) -> Ints:
        """Give the column of the Hindu day, sunrise to sunrise, that contains an instant."""
        return np.asarray(np.count_nonzero(self.sunrise <= instant, axis=1) - 1)

    def civil_day_of(self, instant: float) -> Ints:
        """Give the column of the civil date of an instant in each place's zone."""
        epoch_day = (self.table.dates[0] - EPOCH).days
        local = np.array([instant + place.offset_s(instant) for place in self.table.places])
        return (local // DAY_S).astype(np.int64) - epoch_day


@dataclass(frozen=True, slots=True, kw_only=True)
class Limb:
    """One stretch of a limb: a tithi, a nakshatra, or the instant of an entry into a sign (both ends equal)."""

    begins_at: float
    ends_at: float


def choose(rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose the day of a rule for every place."""
    return _METHODS[rule.method](rule, limb, calendar)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meeting:
    """Where a limb meets one window on the day it begins and the two after."""

    home: Ints  # the Hindu day on which the limb begins
    columns: Ints  # (places, 3)
    share: Floats  # (places, 3)

    @property
    def touch(self) -> Bools:
        return self.share > 0

    def choice(self, offset: Ints, reason: Ints) -> Choice:
        """Close with a day and a reason; the candidates shown are the touched day and the one after."""
        touch = self.touch
        low = np.where(~touch[:, 0] & touch[:, 2], 1, 0)
        rows = np.arange(len(low))
        return Choice(
            day=self.home + offset,
            reason=reason,
            low=self.home + low,
            share_low=self.share[rows, low],
            share_high=self.share[rows, low + 1],
        )


def _meet(limb: Limb, window: Window, calendar: Calendar) -> _Meeting:
    """Measure how much of a window the limb covers on each of the three days; an instant is covered or not."""
    home = calendar.day_of(limb.begins_at)
    columns = home[:, None] + DAYS
    span = calendar.window(window)
    rows = calendar.rows[:, None]
    start, end = span.start[rows, columns], span.end[rows, columns]
    if span.start is span.end:
        share = ((limb.begins_at <= start) & (start < limb.ends_at)).astype(np.float64)
    else:
        overlap = np.minimum(end, limb.ends_at) - np.maximum(start, limb.begins_at)
        share = np.clip(overlap, 0, None) / (end - start)
    return _Meeting(home=home, columns=columns, share=share)


def _first(touch: Bools) -> Ints:
    return np.asarray(touch.argmax(axis=1))


def _last(touch: Bools) -> Ints:
    return np.asarray(touch.shape[1] - 1 - touch[:, ::-1].argmax(axis=1))


def _settle(rule: Rule, meeting: _Meeting) -> tuple[Ints, Ints]:
    """Apply what a rule says of two days and of none: the offset from the day of beginning, and the reason."""
    touch = meeting.touch
    count = touch.sum(axis=1)
    first = _first(touch)
    if rule.two == "more":
        best = meeting.share.max(axis=1, keepdims=True)
        equal = (touch & (meeting.share == best)).sum(axis=1) > 1
        several, reason = meeting.share.argmax(axis=1), np.where(equal, Reason.EQUAL, Reason.MORE)
    elif rule.two == "last":
        several, reason = _last(touch), np.full(len(first), Reason.LAST)
    else:
        several, reason = first, np.full(len(first), Reason.FIRST)
    lack, lack_reason = (1, Reason.NONE_NEXT) if rule.none == "next" else (0, Reason.NONE_START)
    offset = np.where(count == 0, lack, np.where(count == 1, first, several))
    return offset, np.where(count == 0, lack_reason, np.where(count == 1, Reason.ONLY, reason))


def _by_window(rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose by the rule's window alone."""
    meeting = _meet(limb, rule.window, calendar)
    return meeting.choice(*_settle(rule, meeting))


def _by_sunrise(limb: Limb, calendar: Calendar) -> Ints:
    """Give the offset of the first day at whose sunrise the limb is current, else of the day on which it begins."""
    return _first(_meet(limb, "sunrise", calendar).touch)


def _holds3(_rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose the sunrise day on which the limb lasts three muhurtas, else the day on which it begins."""
    meeting = _meet(limb, "pratah", calendar)
    holds = meeting.share >= 1
    return meeting.choice(_first(holds), np.where(holds.any(axis=1), Reason.HOLDS, Reason.DOES_NOT_HOLD))


def _ram_navami(rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose the second of two days if either window is wholly covered; on none, the sunrise day."""
    meeting = _meet(limb, rule.window, calendar)
    offset, reason = _settle(rule, meeting)
    touch = meeting.touch
    whole = (touch.sum(axis=1) > 1) & (meeting.share >= 1).any(axis=1)
    none = ~touch.any(axis=1)
    offset = np.where(whole, _last(touch), np.where(none, _by_sunrise(limb, calendar), offset))
    return meeting.choice(offset, np.where(whole, Reason.WHOLE, np.where(none, Reason.NO_WINDOW, reason)))


def _nag_panchami(rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose the sunrise day, or the day before if the limb is short there and came early on the day before."""
    meeting = _meet(limb, rule.window, calendar)
    offset, reason = _settle(rule, meeting)
    day = meeting.home + offset
    rows = calendar.rows
    three = calendar.daytime * 3 / windows.MUHURTAS
    ends_early = limb.ends_at < calendar.sunrise[rows, day] + three[rows, day]
    came_early = limb.begins_at <= calendar.sunrise[rows, day - 1] + three[rows, day - 1]
    early = meeting.touch.any(axis=1) & ends_early & came_early
    return meeting.choice(offset - early, np.where(early, Reason.EARLY, reason))


def _govardhan(rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose the day after the beginning if the limb lasts nine muhurtas there, else the day of the beginning."""
    meeting = _meet(limb, rule.window, calendar)
    holds = meeting.share[:, 1] >= 1
    return meeting.choice(holds.astype(np.int64), np.where(holds, Reason.HOLDS, Reason.DOES_NOT_HOLD))


def _star_covers(star: int, limb: Limb, window: Window, meeting: _Meeting, calendar: Calendar) -> Bools:
    """Tell for each of the three days whether the Moon stands in a nakshatra during part of the window."""
    stars = calendar.sky.nakshatras
    near = (stars.index == star) & (stars.end > limb.begins_at - 2 * DAY_S) & (stars.start < limb.ends_at + 2 * DAY_S)
    span = calendar.window(window)
    rows = calendar.rows[:, None]
    start, end = span.start[rows, meeting.columns], span.end[rows, meeting.columns]
    covers = np.zeros(meeting.columns.shape, dtype=np.bool_)
    for begins_at, ends_at in zip(stars.start[near], stars.end[near], strict=True):
        covers |= (begins_at < end) & (start < ends_at)
    return covers


def _dussehra(rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose by aparahna with at least a ghati of it, and by Shravana where that leaves a choice."""
    meeting = _meet(limb, rule.window, calendar)
    span = calendar.window(rule.window)
    rows = calendar.rows[:, None]
    lengths = (span.end - span.start)[rows, meeting.columns]
    counted = np.where(meeting.share * lengths >= GHATI_S, meeting.share, 0)
    meeting = _Meeting(home=meeting.home, columns=meeting.columns, share=counted)
    offset, reason = _settle(rule, meeting)
    touch = meeting.touch
    count = touch.sum(axis=1)
    star = _star_covers(SHRAVANA_STAR, limb, rule.window, meeting, calendar)
    starred = (star & touch).sum(axis=1)
    by_star = (count > 1) & (starred == 1)
    offset = np.where(by_star, _first(star & touch), np.where((count > 1) & (starred > 1), _first(touch), offset))
    reason = np.where(by_star, Reason.STAR, np.where((count > 1) & (starred > 1), Reason.FIRST, reason))
    none = count == 0
    offset = np.where(none, _by_sunrise(limb, calendar), offset)
    reason = np.where(none, Reason.NO_WINDOW, reason)
    second = (count == 1) & _star_on_second(limb, meeting, star, calendar)
    return meeting.choice(offset + second, np.where(second, Reason.STAR_SECOND, reason))


def _star_on_second(limb: Limb, meeting: _Meeting, star: Bools, calendar: Calendar) -> Bools:
    """Tell whether the day after the only one holds Dashami for three muhurtas and has Shravana, the first not."""
    first = np.minimum(_first(meeting.touch), len(DAYS) - 2)
    rows = calendar.rows
    day = meeting.home + first + 1
    three_later = calendar.sunrise[rows, day] + calendar.daytime[rows, day] * 3 / windows.MUHURTAS
    return np.asarray((limb.ends_at >= three_later) & star[rows, first + 1] & ~star[rows, first])


def _holika(rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose by pradosha; move a day on where Bhadra spoils it past midnight and Purnima holds on the next day."""
    meeting = _meet(limb, rule.window, calendar)
    offset, reason = _settle(rule, meeting)
    bhadra_ends_at = bhadra_end(limb, calendar.sky)
    rows = calendar.rows
    day = meeting.home + offset
    # Bhadra begins with Purnima: if it lasts past midnight, it covers part of the pradosha that Purnima meets.
    past_midnight = bhadra_ends_at > calendar.window("midnight").start[rows, day]
    holds = limb.ends_at >= calendar.sunrise[rows, day + 1] + calendar.daytime[rows, day + 1] * 7 / 8
    moved = (meeting.touch.sum(axis=1) == 1) & past_midnight & holds
    return meeting.choice(offset + moved, np.where(moved, Reason.BHADRA, reason))


def bhadra_end(purnima: Limb, sky: Sky) -> float:
    """Give the end of Bhadra, the karana Vishti, which is the first half of Purnima."""
    halves = sky.karanas
    middle = (purnima.begins_at + purnima.ends_at) / 2
    return float(halves.end[np.abs(halves.end - middle).argmin()])


def _vaishnava(rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose the Vaishnava day of Ekadashi: Dashami must be over 96 minutes before the sunrise, else a day later."""
    meeting = _meet(limb, rule.window, calendar)
    touch = meeting.touch
    offset = np.where(touch.any(axis=1), _last(touch), 0)
    two = touch.sum(axis=1) > 1
    clear = limb.begins_at <= calendar.sunrise[calendar.rows, meeting.home + offset] - VAISHNAVA_DAWN_S
    late = ~two & ~clear
    reason = np.where(two, Reason.LAST, np.where(late, Reason.DAWN_NEXT, Reason.DAWN))
    return meeting.choice(offset + late, reason)


def _cut(rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose the civil date of an instant if it comes before the window begins on it, else the next."""
    day = calendar.civil_day_of(limb.begins_at)
    before = limb.begins_at <= calendar.window(rule.window).start[calendar.rows, day]
    return Choice(
        day=np.where(before, day, day + 1),
        reason=np.where(before, Reason.BEFORE_CUT, Reason.AFTER_CUT),
        low=day,
        share_low=before.astype(np.float64),
        share_high=(~before).astype(np.float64),
    )


def _civil(_rule: Rule, limb: Limb, calendar: Calendar) -> Choice:
    """Choose the civil date of an instant."""
    day = calendar.civil_day_of(limb.begins_at)
    whole = np.ones(len(day))
    return Choice(day=day, reason=np.full(len(day), Reason.CIVIL), low=day, share_low=whole, share_high=whole * 0)


_METHODS: Final[dict[Method, Callable[[Rule, Limb, Calendar], Choice]]] = {
    "window": _by_window,
    "star": _by_window,
    "holds3": _holds3,
    "ram_navami": _ram_navami,
    "nag_panchami": _nag_panchami,
    "govardhan": _govardhan,
    "dussehra": _dussehra,
    "holika": _holika,
    "vaishnava": _vaishnava,
    "cut": _cut,
    "civil": _civil,
}
