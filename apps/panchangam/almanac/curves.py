"""Smooth curves through grid samples: values at any instant, and the instants at which they reach multiples.

Always true: a cell's cubic depends only on the eight samples around it, so two ranges that share a cell agree on it;
time is TT seconds since the Unix epoch.

Not here: what the samples mean (ephemeris).
"""

import numpy as np

from apps.panchangam.almanac.ephemeris import STEP_S, Samples, samples
from apps.panchangam.almanac.records import Floats, Ints

MARGIN = 3  # samples lost at each end to the slopes
NEWTON_STEPS = 3  # from a linear guess: the third changes nothing above a microsecond


def cubic(values: Floats) -> Floats:
    """Give the four coefficients of each cell's cubic (shape 4 x cells), slopes by sixth-order differences."""
    slope: Floats = (
        45 * (values[..., 4:-2] - values[..., 2:-4])
        - 9 * (values[..., 5:-1] - values[..., 1:-5])
        + (values[..., 6:] - values[..., :-6])
    ) / 60
    y0: Floats = values[..., 3:-4]
    y1: Floats = values[..., 4:-3]
    m0, m1 = slope[..., :-1], slope[..., 1:]
    rise = y1 - y0
    return np.stack([y0, m0, 3 * rise - 2 * m0 - m1, m0 + m1 - 2 * rise], axis=-2)


def crossings(values: Floats, step: float) -> tuple[Ints, Floats]:
    """Give k and the place, in cells from the first inner sample, where a rising curve reaches each k * step."""
    inner = values[MARGIN:-MARGIN]
    numbers = np.arange(np.ceil(inner[0] / step), np.ceil(inner[-1] / step), dtype=np.int64)
    targets = numbers * step
    cell = np.searchsorted(inner, targets, side="right") - 1
    return numbers, cell + _root(cubic(values)[:, cell], targets)


def reach(values: Floats, targets: Floats) -> Floats:
    """Give the place, in cells from the first inner sample, where each rising curve (a row) reaches its target."""
    inner = values[:, MARGIN:-MARGIN]
    cell: Ints = (inner <= targets[:, None]).sum(axis=1) - 1
    coefficients = cubic(values)[np.arange(len(cell)), :, cell].T
    return cell + _root(coefficients, targets)


def at_place(values: Floats, place: Floats) -> Floats:
    """Give each curve (a row) at its place, in cells from the first inner sample."""
    cell = place.astype(np.int64)
    x = place - cell
    c0, c1, c2, c3 = _rows(cubic(values)[np.arange(len(cell)), :, cell].T)
    return c0 + x * (c1 + x * (c2 + x * c3))


def _root(coefficients: Floats, targets: Floats) -> Floats:
    """Give where in its cell each cubic reaches its target, from a linear guess by Newton's method."""
    c0, c1, c2, c3 = _rows(coefficients)
    x = (targets - c0) / (c1 + c2 + c3)
    for _ in range(NEWTON_STEPS):
        x = x - (c0 + x * (c1 + x * (c2 + x * c3)) - targets) / (c1 + x * (2 * c2 + 3 * x * c3))
    return x


def _rows(coefficients: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    return coefficients[0], coefficients[1], coefficients[2], coefficients[3]


class Curves:
    """All channels over the inner grid numbers first … last."""

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.start = first * float(STEP_S)
        self.raw: Samples = samples(first - MARGIN, last + MARGIN)
        self._cubics = {name: cubic(values) for name, values in self.raw._asdict().items()}

    def cell(self, tt: Floats | float) -> tuple[Ints, Floats]:
        """Give the cell of each instant and how far it is through it, 0 to 1."""
        x = (np.asarray(tt, dtype=np.float64) - self.start) / STEP_S
        number = x.astype(np.int64)
        return number, x - number

    def cubic(self, channel: str) -> Floats:
        """Give the coefficients of a channel, shape 4 x cells."""
        return self._cubics[channel]

    def inner(self, channel: str) -> Floats:
        """Give a channel's samples without the margins."""
        values: Floats = getattr(self.raw, channel)[MARGIN:-MARGIN]
        return values

    def value(self, channel: str, tt: Floats | float) -> Floats:
        """Give a channel at instants within the range."""
        number, x = self.cell(tt)
        c0, c1, c2, c3 = _rows(self._cubics[channel][:, number])
        return c0 + x * (c1 + x * (c2 + x * c3))

    def crossings(self, values: Floats, step: float) -> tuple[Ints, Floats]:
        """Give k and the instant at which a rising channel (or sum of channels) reaches each k * step."""
        numbers, place = crossings(values, step)
        return numbers, self.start + place * STEP_S
