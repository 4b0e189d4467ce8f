"""The slots of the day: good and bad stretches that follow from the risings and the weekday.

Always true: a slot that the weekday does not have is a span of `nan`; arrays have the shape of the day table's.

Not here: windows that every day has (windows), how slots are written down (document).
"""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from apps.panchangam.almanac import names, windows
from apps.panchangam.almanac.records import DayTable, Floats, Intervals, Ints, Span

EIGHTHS = 8  # of daytime: kalams and choghadiyas
HORAS = 12  # of daytime, and of the night
GHATIS = 60  # of a nakshatra's span, however long it is
GHATIS_LONG = 4  # varjyam and amrit kalam
WEDNESDAY = 3

# By weekday, Sunday first.
_RAHU = np.array([8, 2, 7, 5, 6, 4, 3])
_YAMAGANDA = np.array([5, 4, 3, 2, 1, 7, 6])
_GULIKA = np.array([7, 6, 5, 4, 3, 2, 1])
# Two dur muhurtas; 0 = there is none, above 15 = of the night.
_DUR_FIRST = np.array([14, 9, 4, 8, 6, 4, 1])
_DUR_SECOND = np.array([0, 12, 15 + 7, 0, 12, 9, 2])

# By nakshatra: ghatis after its beginning.
_VARJYAM = np.array(
    [50, 24, 30, 40, 14, 21, 30, 20, 32, 30, 20, 18, 21, 20, 14, 14, 10, 14, 56, 24, 20, 10, 10, 18, 16, 24, 30]
)
_AMRIT = np.array(
    [42, 48, 54, 52, 38, 35, 54, 44, 56, 54, 44, 42, 45, 44, 38, 38, 34, 38, 44, 48, 44, 34, 34, 42, 40, 48, 54]
)


def weekday(day: date) -> int:
    """Give the weekday of a date, 0 = Sunday."""
    return day.isoweekday() % 7


def day_slots(table: DayTable) -> dict[str, Span]:
    """Give every slot of every day of the table, by the name it bears in documents."""
    rise, fall, dawn, dusk = table.sunrise, table.sunset, table.next_sunrise, table.previous_sunset
    week = np.array([weekday(day) for day in table.dates])
    return {
        "rahuKalam": windows.part(rise, fall, _RAHU[week], EIGHTHS),
        "yamaganda": windows.part(rise, fall, _YAMAGANDA[week], EIGHTHS),
        "gulika": windows.part(rise, fall, _GULIKA[week], EIGHTHS),
        "abhijit": _only(windows.abhijit(rise, fall), week != WEDNESDAY),
        "brahmaMuhurta": windows.brahma(dusk, rise),
        "pratahSandhya": windows.pratah_sandhya(dusk, rise),
        "sayamSandhya": windows.sayam_sandhya(fall, dawn),
        "vijaya": windows.vijaya(rise, fall),
        "godhuli": windows.godhuli(fall, dawn),
        "nishita": windows.nishita(fall, dawn),
        "pradosha": windows.pradosha(fall, dawn),
        "durMuhurta1": _dur(table, _DUR_FIRST[week]),
        "durMuhurta2": _dur(table, _DUR_SECOND[week]),
    }


def _only(span: Span, kept: NDArray[np.bool_]) -> Span:
    return Span(np.where(kept, span.start, np.nan), np.where(kept, span.end, np.nan))


def _dur(table: DayTable, number: Ints) -> Span:
    by_day = windows.muhurta(table.sunrise, table.sunset, number)
    by_night = windows.muhurta(table.sunset, table.next_sunrise, number - windows.MUHURTAS)
    night = number > windows.MUHURTAS
    span = Span(*(np.where(night, dark, light) for dark, light in zip(by_night, by_day, strict=True)))
    return _only(span, number > 0)


def edges(table: DayTable, parts: int) -> Floats:
    """Give the edges of equal parts of daytime and then of the night, along a new last axis of 2 * parts + 1."""
    steps = np.arange(parts) / parts
    light = table.sunrise[..., None] + (table.sunset - table.sunrise)[..., None] * steps
    dark = table.sunset[..., None] + (table.next_sunrise - table.sunset)[..., None] * steps
    return np.concatenate([light, dark, table.next_sunrise[..., None]], axis=-1)


def choghadiyas(week: int) -> list[str]:
    """Name the eight choghadiyas of a weekday and the eight of its night."""
    light = [(3 * week + number) % 7 for number in range(EIGHTHS)]
    dark = [(5 + 3 * week - 2 * number) % 7 for number in range(EIGHTHS)]
    return [names.CHOGHADIYAS[number] for number in (*light, *dark)]


def horas(week: int) -> list[str]:
    """Name the lords of the 24 horas of a weekday: the first is the weekday's own."""
    # Three steps along the order of lords lead from a weekday's lord to the next one's, for 24 = 3 (mod 7).
    return [names.HORA_LORDS[(3 * week + number) % 7] for number in range(2 * HORAS)]


def varjyams(nakshatras: Intervals) -> Span:
    """Give the stretch to avoid in each nakshatra."""
    return _ghatis(nakshatras, _VARJYAM)


def amrit_kalams(nakshatras: Intervals) -> Span:
    """Give the good stretch in each nakshatra."""
    return _ghatis(nakshatras, _AMRIT)


def _ghatis(nakshatras: Intervals, after: Ints) -> Span:
    ghati = (nakshatras.end - nakshatras.start) / GHATIS
    start = nakshatras.start + after[nakshatras.index - 1] * ghati
    return Span(start, start + GHATIS_LONG * ghati)
