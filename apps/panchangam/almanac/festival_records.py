"""Occurrences written down: one record for each festival and place, ready for JSON.

Always true: what all places share of an occurrence (rule, interval, sentences) is written once and referred to; a
record is the same whether it was made for one place or for thousands; instants are rounded to seconds here only.

Not here: which occurrences there are (festival_events), documents of a month (festivals).
"""

from collections.abc import Iterator
from datetime import date
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from apps.panchangam.almanac.festival_days import GHATI_S, Bools, Calendar, Reason, bhadra_end
from apps.panchangam.almanac.festival_events import Occurrence
from apps.panchangam.almanac.iso import NULL, iso_texts
from apps.panchangam.almanac.observances import EKADASHI_IDS, SMARTA_IDS, name_on
from apps.panchangam.almanac.overrides import overrides
from apps.panchangam.almanac.records import Floats
from apps.panchangam.almanac.why import percent, rule_text, sentence, window_name

Record: TypeAlias = dict[str, Any]
Span: TypeAlias = dict[str, str | None]


class _Key(NamedTuple):
    """What a record depends on, its spans apart; days are columns of the day table, shares per cents."""

    zone: str
    ordinal: int
    day: int
    reason: int
    low: int
    low_share: int
    high_share: int
    last_school: bool
    in_bhadra: bool
    short_dwadashi: bool


_NAMED_BY_WEEKDAY: Final = frozenset({"pradosh_vrat", "sankashti_chaturthi"})
_LAST_SCHOOL: Final = frozenset({"diwali"})  # another school takes the last day that has a ghati of the window
_BHADRA_TOLD: Final = frozenset({"raksha_bandhan", "holika_dahan"})


def records_of(occurrence: Occurrence, calendar: Calendar, first: int, last: int) -> Iterator[tuple[int, int, Record]]:
    """Give (place, ordinal, record) for every place whose date lies between two ordinals, both included."""
    ordinals = occurrence.ordinals
    inside = np.flatnonzero((ordinals >= first) & (ordinals <= last)).tolist()
    if not inside:
        return
    writer = _Writer(occurrence, calendar)
    for place in inside:
        yield place, int(ordinals[place]), writer.record(place)


class _Writer:
    """Writes the records of one occurrence; what places share is kept between them."""

    def __init__(self, occurrence: Occurrence, calendar: Calendar) -> None:
        self.occurrence = occurrence
        self.calendar = calendar
        self.first = calendar.table.dates[0].toordinal()
        self.zones = [place.zone for place in calendar.table.places]
        self.shared: dict[_Key, Record] = {}
        self.keys = self._keys()
        self.spans: dict[str, list[Span | None]] = {"window": self._windows()}
        if occurrence.rule.id in EKADASHI_IDS:
            self.spans["parana"] = self._paranas()

    def record(self, place: int) -> Record:
        """Write the record of one place."""
        key = self.keys[place]
        shared = self.shared.get(key)
        if shared is None:
            shared = self.shared[key] = self._shared(key)
        return shared | {name: spans[place] for name, spans in self.spans.items()}

    def _keys(self) -> list[_Key]:
        """Give for each place what its record depends on, the window's instants apart."""
        choice = self.occurrence.choice
        columns = (
            self.zones,
            self.occurrence.ordinals.tolist(),
            choice.day.tolist(),
            choice.reason.tolist(),
            choice.low.tolist(),
            [percent(share) for share in choice.share_low.tolist()],
            [percent(share) for share in choice.share_high.tolist()],
            self._last_school().tolist(),
            self._in_bhadra().tolist(),
            self._short_dwadashi().tolist(),
        )
        return [_Key(*values) for values in zip(*columns, strict=True)]

    def _shared(self, key: _Key) -> Record:
        """Write all of a record but its spans."""
        rule, limb = self.occurrence.rule, self.occurrence.limb
        day = date.fromordinal(key.ordinal)
        kind = "nakshatra" if rule.star else "tithi" if rule.tithi else "sankranti"
        official = overrides().get((rule.id, day.year), ())
        return {
            "id": rule.id,
            "name": name_on(rule, day.weekday()) if rule.id in _NAMED_BY_WEEKDAY else rule.name,
            "date": day.isoformat(),
            "kind": rule.kind,
            "region": rule.region,
            "rule": _rule_text(rule),
            "interval": {
                "kind": kind,
                "name": self.occurrence.limb_name,
                "start": _text(limb.begins_at, key.zone),
                "end": _text(limb.ends_at, key.zone),
            },
            "why": self._why(key, day),
            "notes": self._notes(key),
            "official": [
                {"date": entry.date.isoformat(), "region": entry.region, "source": entry.source} for entry in official
            ],
        }

    def _why(self, key: _Key, day: date) -> Record:
        """Say why the day was chosen."""
        rule = self.occurrence.rule
        chosen, low = (date.fromordinal(self.first + column) for column in (key.day, key.low))
        reason = Reason(key.reason)
        text = sentence(reason, self.occurrence.limb_name, rule.window, (chosen, low), (key.low_share, key.high_share))
        if chosen != day:
            text += f" {rule.name} is kept on {day}."
        candidates = [
            {"date": low.isoformat(), "percent": key.low_share},
            {"date": date.fromordinal(low.toordinal() + 1).isoformat(), "percent": key.high_share},
        ]
        return {"sentence": text, "candidates": candidates if rule.tithi or rule.star else []}

    def _notes(self, key: _Key) -> list[str]:
        """Tell of other schools and of Bhadra."""
        rule = self.occurrence.rule
        notes = [rule.note] if rule.note else []
        if key.last_school:
            other = date.fromordinal(self.first + key.day + 1)
            notes.append(
                f"Another school takes the last day that has at least a ghati (24 minutes) of {rule.window}: {other}."
            )
        if key.in_bhadra:
            until = _text(bhadra_end(self.occurrence.limb, self.calendar.sky), key.zone)
            notes.append(f"Bhadra, the first half of Purnima, lasts until {until}.")
        if rule.id in SMARTA_IDS and key.reason == Reason.FIRST:
            second = date.fromordinal(self.first + key.day + 1)
            notes.append(f"Ekadashi has two sunrises; some almanacs keep the second, {second}.")
        if key.short_dwadashi:
            before = date.fromordinal(self.first + key.day - 1)
            notes.append(f"Dwadashi is over before the next sunrise; some almanacs keep the day before, {before}.")
        return notes

    def _last_school(self) -> Bools:
        """Tell where the first of two days was chosen although the second has a ghati of the window too."""
        rule, choice = self.occurrence.rule, self.occurrence.choice
        if rule.id not in _LAST_SCHOOL:
            return np.zeros(len(choice.day), dtype=np.bool_)
        span = self.calendar.window(rule.window)
        length = (span.end - span.start)[self.calendar.rows, choice.day + 1]
        return np.asarray((choice.day == choice.low) & (choice.share_high * length >= GHATI_S))

    def _in_bhadra(self) -> Bools:
        """Tell where Bhadra still lasts at the sunrise of the chosen day."""
        day = self.occurrence.choice.day
        if self.occurrence.rule.id not in _BHADRA_TOLD:
            return np.zeros(len(day), dtype=np.bool_)
        sunrise = self.calendar.sunrise[self.calendar.rows, day]
        return np.asarray(sunrise < bhadra_end(self.occurrence.limb, self.calendar.sky))

    def _short_dwadashi(self) -> Bools:
        """Tell where Ekadashi at sunrise is followed by a Dwadashi that does not reach the next sunrise."""
        choice = self.occurrence.choice
        if self.occurrence.rule.id not in SMARTA_IDS:
            return np.zeros(len(choice.day), dtype=np.bool_)
        over = self._dwadashi()[1] <= self.calendar.next_sunrise[self.calendar.rows, choice.day]
        return np.asarray(over & (choice.reason == Reason.ONLY))

    def _dwadashi(self) -> tuple[float, float]:
        """Give the tithi after the occurrence's."""
        tithis = self.calendar.sky.tithis
        at = int(np.searchsorted(tithis.start, self.occurrence.limb.ends_at - 1))
        return float(tithis.start[at]), float(tithis.end[at])

    def _windows(self) -> list[Span | None]:
        """Give the rule's window on the chosen day of each place."""
        rule, day = self.occurrence.rule, self.occurrence.choice.day
        if rule.method == "civil":
            return [None] * len(day)
        span = self.calendar.window(rule.window)
        rows = self.calendar.rows
        starts = _texts(span.start[rows, day], self.zones)
        ends = starts if span.start is span.end else _texts(span.end[rows, day], self.zones)
        name = window_name(rule.window)
        return [
            {"name": name, "start": start, "end": end} if start else None
            for start, end in zip(starts, ends, strict=True)
        ]

    def _paranas(self) -> list[Span | None]:
        """Give the time to break the fast: next day, after the first quarter of Dwadashi and before its end.

        Where Dwadashi is over before that sunrise, the fast is broken after sunrise and there is no end.
        """
        begins_at, ends_at = self._dwadashi()
        quarter = begins_at + (ends_at - begins_at) / 4
        sunrise = self.calendar.next_sunrise[self.calendar.rows, self.occurrence.choice.day]
        over = ends_at <= sunrise
        starts = _texts(np.where(over, sunrise, np.maximum(sunrise, quarter)), self.zones)
        ends = _texts(np.where(over, np.nan, ends_at), self.zones)
        return [{"start": start, "end": end} for start, end in zip(starts, ends, strict=True)]


_rule_text = cache(rule_text)


def _texts(instants: Floats, zones: list[str]) -> list[str | None]:
    """Write an instant for each place on its own clock."""
    if len(set(zones)) == 1:
        return [_unquoted(text) for text in iso_texts(instants, zones[0]).tolist()]
    return [_text(at, zone) for at, zone in zip(instants.tolist(), zones, strict=True)]


def _text(instant: float, zone: str) -> str | None:
    """Write one instant."""
    return _unquoted(iso_texts(np.array([instant]), zone).tolist()[0])


def _unquoted(text: bytes) -> str | None:
    return None if text == NULL else text[1:-1].decode("ascii")
