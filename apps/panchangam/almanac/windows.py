"""The named windows of a day, from its risings and settings.

Always true: each function takes instants or arrays of them (Unix seconds UTC) and gives a Span of the same shape;
where an instant is `nan`, so is the window.

Not here: the slots that depend on the weekday (slots), the choice of a festival's day (festivals).
"""

from apps.panchangam.almanac.records import Floats, Ints, Span

MUHURTAS = 15  # of a day, and of a night


def part(start: Floats, end: Floats, number: int | Ints, of: int) -> Span:
    """Give the part with this number, counted from 1, of a stretch cut into equal parts."""
    step = (end - start) / of
    return Span(start + (number - 1) * step, start + number * step)


def muhurta(start: Floats, end: Floats, number: int | Ints) -> Span:
    """Give the muhurta with this number (1 to 15) of a day or a night."""
    return part(start, end, number, MUHURTAS)


def pratah(sunrise: Floats, sunset: Floats) -> Span:
    """First fifth of daytime."""
    return part(sunrise, sunset, 1, 5)


def sangava(sunrise: Floats, sunset: Floats) -> Span:
    """Second fifth of daytime."""
    return part(sunrise, sunset, 2, 5)


def madhyahna(sunrise: Floats, sunset: Floats) -> Span:
    """Third fifth of daytime."""
    return part(sunrise, sunset, 3, 5)


def aparahna(sunrise: Floats, sunset: Floats) -> Span:
    """Fourth fifth of daytime."""
    return part(sunrise, sunset, 4, 5)


def sayahna(sunrise: Floats, sunset: Floats) -> Span:
    """Last fifth of daytime."""
    return part(sunrise, sunset, 5, 5)


def purvahna(sunrise: Floats, sunset: Floats) -> Span:
    """First half of daytime."""
    return part(sunrise, sunset, 1, 2)


def pradosha(sunset: Floats, next_sunrise: Floats) -> Span:
    """First fifth of the night."""
    return part(sunset, next_sunrise, 1, 5)


def nishita(sunset: Floats, next_sunrise: Floats) -> Span:
    """Eighth of the fifteen muhurtas of the night."""
    return muhurta(sunset, next_sunrise, 8)


def midnight(sunset: Floats, next_sunrise: Floats) -> Floats:
    """Give the middle of the night, an instant."""
    return (sunset + next_sunrise) / 2


def arunodaya(previous_sunset: Floats, sunrise: Floats) -> Span:
    """Last 2/15 of the night before, about 96 minutes."""
    return Span(sunrise - (sunrise - previous_sunset) * 2 / MUHURTAS, sunrise)


def brahma(previous_sunset: Floats, sunrise: Floats) -> Span:
    """Last muhurta but one of the night before."""
    return muhurta(previous_sunset, sunrise, 14)


def pratah_sandhya(previous_sunset: Floats, sunrise: Floats) -> Span:
    """Last tenth of the night before."""
    return part(previous_sunset, sunrise, 10, 10)


def sayam_sandhya(sunset: Floats, next_sunrise: Floats) -> Span:
    """First tenth of the night."""
    return part(sunset, next_sunrise, 1, 10)


def godhuli(sunset: Floats, next_sunrise: Floats) -> Span:
    """First thirtieth of the night."""
    return part(sunset, next_sunrise, 1, 30)


def abhijit(sunrise: Floats, sunset: Floats) -> Span:
    """Eighth muhurta of the day; whether the weekday has it is the caller's to know."""
    return muhurta(sunrise, sunset, 8)


def vijaya(sunrise: Floats, sunset: Floats) -> Span:
    """Eleventh muhurta of the day."""
    return muhurta(sunrise, sunset, 11)
