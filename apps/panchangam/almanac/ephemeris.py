"""Apparent places of Sun and Moon from the JPL kernel DE421, on a grid fixed in absolute time.

Always true: a sample depends on its grid number alone, never on the range it was asked with; angles are degrees,
unwrapped along the last axis; longitudes are sidereal (Lahiri), taken from the mean equinox so that nutation cancels.

Not here: interpolation between samples (curves), what happens at a place on the ground (horizon).
"""

import atexit
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, NamedTuple

import erfa
import numpy as np
from jplephem.spk import SPK

from apps.panchangam.almanac.records import DAY_S, Floats, Ints

if TYPE_CHECKING:
    from jplephem.spk import Segment

KERNEL = "de421.bsp"  # JPL DE421, 1899-07-29 to 2053-10-09
STEP_S = 10_800  # seconds; at 3 h the interpolation of the Moon is good to 0.0007 arcsec
PER_DAY = 8  # samples
JD_1970 = 2_440_587.5  # days
GRID_FIRST = -25_723 * PER_DAY  # the first whole sample of the kernel: 1899-07-29 TT
GRID_LAST = 30_597 * PER_DAY  # and its last: 2053-10-09
J2000 = 2_451_545.0  # days, TT
CENTURY = 36_525.0  # days
LIGHT_KM_PER_DAY = 299_792.458 * DAY_S
AU_KM = 149_597_870.7
EARTH_RADIUS_KM = 6_378.137
ARCSEC = 1 / 3_600  # degrees
REFRACTION = 34 / 60  # degrees at the horizon, as the published almanacs take it
SUN_RADIUS = 959.63 * ARCSEC  # degrees at 1 au
SUN_PARALLAX = 8.794 * ARCSEC  # degrees
MOON_RADIUS = 0.2725  # of the parallax
TT_MINUS_TAI_S = 32.184  # seconds
LEAP_ERA_S = 63_072_000  # Unix seconds of 1972-01-01, when whole leap seconds began
TURN = 360.0  # degrees


class Longitudes(NamedTuple):
    """Sidereal longitudes of Sun and Moon at grid points, degrees."""

    sun: Floats
    moon: Floats


class Samples(NamedTuple):
    """Everything the almanac needs at grid points; the hour angles are those of Greenwich."""

    sun: Floats  # sidereal longitude
    moon: Floats
    tropical: Floats  # what makes a sidereal longitude an apparent one on the true equinox
    sun_hour: Floats
    sun_sin_declination: Floats
    sun_sin_altitude: Floats  # of the centre, when the upper limb touches the horizon
    moon_hour: Floats
    moon_sin_declination: Floats
    moon_sin_altitude: Floats


class _Apparent(NamedTuple):
    """Apparent vectors on the mean ecliptic and equinox of date, kilometres, the last axis being the sample."""

    sun: Floats
    moon: Floats


@cache
def _kernel() -> tuple["Segment", ...]:
    """Open the kernel once: barycentre to Earth-Moon, that to Earth, barycentre to Sun, Earth-Moon to Moon."""
    with as_file(files("skyfield_data") / "data" / KERNEL) as path:
        spk = SPK.open(str(path))
    atexit.register(spk.close)
    return spk[0, 3], spk[3, 399], spk[0, 10], spk[3, 301]


@cache
def _leap_table() -> tuple[Floats, Floats]:
    """Give the Unix seconds at which UTC changed, from 1972 on, and TT - UTC after each change."""
    table = erfa.leap_seconds.get()
    table = table[table["year"] >= 1972]
    months = (table["year"] - 1970) * 12 + table["month"] - 1
    starts = months.astype("datetime64[M]").astype("datetime64[s]").astype(np.float64)
    return starts, table["tai_utc"] + TT_MINUS_TAI_S


# Polynomials of TT - UT in seconds by Espenak and Meeus: from a year on, in years since an epoch.
_DELTA_T = (
    (1961.0, 1975.0, (45.45, 1.067, -1 / 260, -1 / 718)),
    (1941.0, 1950.0, (29.07, 0.407, -1 / 233, 1 / 2547)),
    (1920.0, 1920.0, (21.20, 0.84493, -0.076100, 0.0020936)),
    (-np.inf, 1900.0, (-2.79, 1.494119, -0.0598939, 0.0061966, -0.000197)),
)


def delta_s(unix: Floats | float) -> Floats:
    """Give TT - UTC in seconds; before 1972 it is TT - UT, after the last leap second it stays."""
    unix = np.asarray(unix, dtype=np.float64)
    starts, values = _leap_table()
    place = np.searchsorted(starts, unix, side="right") - 1
    result = np.asarray(values[np.maximum(place, 0)])
    early = unix < LEAP_ERA_S
    if early.any():
        years = 1970 + unix / (365.25 * DAY_S)
        old = np.select(
            [years >= start for start, _, _ in _DELTA_T],
            [np.polynomial.polynomial.polyval(years - epoch, terms) for _, epoch, terms in _DELTA_T],
        )
        result = np.where(early, old, result)
    return result


def to_tt(unix: Floats | float) -> Floats:
    """Turn Unix seconds UTC into TT seconds since the Unix epoch."""
    return unix + delta_s(unix)


def to_unix(tt: Floats | float) -> Floats:
    """Turn TT seconds since the Unix epoch into Unix seconds UTC."""
    return tt - delta_s(tt - delta_s(tt))


def ayanamsa(tt: Floats | float) -> Floats:
    """Give the mean Lahiri ayanamsa in degrees at TT seconds since the Unix epoch."""
    t = (JD_1970 - J2000 + np.asarray(tt, dtype=np.float64) / DAY_S) / CENTURY
    return (85_885.5324 + t * (5_028.79659 + t * (1.10554 + t * 0.000013))) * ARCSEC


def longitudes(grid: Ints) -> Longitudes:
    """Give sidereal longitudes at grid numbers (STEP_S seconds TT each), unwrapped along the last axis."""
    shape = grid.shape
    flat = grid.reshape(-1)
    apparent = _apparent(flat)
    shift = ayanamsa(_seconds(flat))
    sun, moon = (np.degrees(np.arctan2(v[1], v[0])) - shift for v in apparent)
    return Longitudes(_unwrap(sun.reshape(shape)), _unwrap(moon.reshape(shape)))


def samples(first: int, last: int) -> Samples:
    """Give all channels at the grid numbers first … last, both included."""
    grid = np.arange(first, last + 1)
    apparent = _apparent(grid)
    shift = ayanamsa(_seconds(grid))
    psi, epsilon, sidereal = _equator(first, last)
    sun, moon = (np.degrees(np.arctan2(v[1], v[0])) for v in apparent)
    sun_hour, sun_sin, sun_km = _equatorial(apparent.sun, psi, epsilon, sidereal)
    moon_hour, moon_sin, moon_km = _equatorial(apparent.moon, psi, epsilon, sidereal)
    sun_up = SUN_PARALLAX - REFRACTION - SUN_RADIUS * AU_KM / sun_km
    parallax = np.degrees(np.arcsin(EARTH_RADIUS_KM / moon_km))
    moon_up = parallax * (1 - MOON_RADIUS) - REFRACTION
    return Samples(
        sun=_unwrap(sun - shift),
        moon=_unwrap(moon - shift),
        tropical=shift + np.degrees(psi),
        sun_hour=_unwrap(sun_hour),
        sun_sin_declination=sun_sin,
        sun_sin_altitude=np.sin(np.radians(sun_up)),
        moon_hour=_unwrap(moon_hour),
        moon_sin_declination=moon_sin,
        moon_sin_altitude=np.sin(np.radians(moon_up)),
    )


def _seconds(grid: Ints) -> Floats:
    return grid.astype(np.float64) * STEP_S


def _unwrap(angles: Floats) -> Floats:
    return np.unwrap(angles, period=TURN, axis=-1)


def _apparent(grid: Ints) -> _Apparent:
    """Light time, aberration, and the turn to the mean ecliptic of date."""
    days = grid / PER_DAY
    tdb = (JD_1970, days)  # TDB - TT stays below 2 ms: 0.001 arcsec of the Moon
    (emb, emb_v), (earth, earth_v), (sun, sun_v), (moon, moon_v) = (
        segment.compute_and_differentiate(*tdb) for segment in _kernel()
    )
    here, here_v = emb + earth, emb_v + earth_v
    rotation = erfa.ecm06(*tdb)

    def seen(position: Floats, velocity: Floats) -> Floats:
        ray = position - here
        light = np.sqrt((ray * ray).sum(axis=0)) / LIGHT_KM_PER_DAY
        turned: Floats = np.einsum("nij,jn->in", rotation, ray + (here_v - velocity) * light)
        return turned

    return _Apparent(seen(sun, sun_v), seen(emb + moon, emb_v + moon_v))


def _equatorial(vector: Floats, psi: Floats, epsilon: Floats, sidereal: Floats) -> tuple[Floats, Floats, Floats]:
    """Give Greenwich hour angle in degrees, sine of declination, and distance in kilometres."""
    distance = np.sqrt((vector * vector).sum(axis=0))
    longitude = np.arctan2(vector[1], vector[0]) + psi
    flat = np.hypot(vector[0], vector[1])
    x, y, z = flat * np.cos(longitude), flat * np.sin(longitude), vector[2]
    cos, sin = np.cos(epsilon), np.sin(epsilon)
    ascension = np.arctan2(y * cos - z * sin, x)
    return np.degrees(sidereal - ascension), (y * sin + z * cos) / distance, distance


def _equator(first: int, last: int) -> tuple[Floats, Floats, Floats]:
    """Give nutation in longitude, true obliquity and apparent sidereal time, radians, at first … last."""
    day, after = first // PER_DAY, last // PER_DAY + 1
    psi, epsilon = erfa.nut00b(JD_1970, np.arange(day - 1, after + 2, dtype=np.float64))
    cut = slice(first - day * PER_DAY, last - day * PER_DAY + 1)
    psi, epsilon = (_by_the_day(series)[cut] for series in (psi, epsilon))
    tt = _seconds(np.arange(first, last + 1))
    universal = to_unix(tt) / DAY_S  # UT1 and UTC differ by less than 0.9 s
    epsilon = epsilon + erfa.obl06(JD_1970, tt / DAY_S)
    sidereal = erfa.gmst06(JD_1970, universal, JD_1970, tt / DAY_S) + psi * np.cos(epsilon)
    return psi, epsilon, sidereal


# Lagrange weights of four daily values at each eighth of the middle day: its fastest large term takes 9 days, so
# the error is below 0.001 arcsec, at an eighth of the cost.
_EIGHTHS = np.arange(PER_DAY)[:, None] / PER_DAY
_WEIGHTS = np.hstack(
    [
        -_EIGHTHS * (_EIGHTHS - 1) * (_EIGHTHS - 2) / 6,
        (_EIGHTHS + 1) * (_EIGHTHS - 1) * (_EIGHTHS - 2) / 2,
        -(_EIGHTHS + 1) * _EIGHTHS * (_EIGHTHS - 2) / 2,
        (_EIGHTHS + 1) * _EIGHTHS * (_EIGHTHS - 1) / 6,
    ]
)


def _by_the_day(daily: Floats) -> Floats:
    """Spread daily values over the eighths of each day but the outermost."""
    quads = np.lib.stride_tricks.sliding_window_view(daily, 4)
    return (quads @ _WEIGHTS.T).reshape(-1)
