"""ISO 8601 text of instants on a place's clock, thousands at a time.

Always true: instants are rounded to whole seconds here and nowhere else, half a second up; a missing instant (`nan`)
is `null`; the text of each instant is ready to stand in JSON, quotes included.

Not here: what the instants mean.
"""

from datetime import UTC, datetime
from functools import cache

import numpy as np
from numpy.typing import NDArray

from apps.panchangam.almanac.records import DAY_S, INDIAN_OFFSET_S, INDIAN_ZONE, Floats, zone_of

WIDTH = len('"2026-01-01T00:00:00+05:30"')
NULL = b"null"
INDIAN_SUFFIX = b'+05:30"'


def iso_texts(instants: Floats, zone: str) -> NDArray[np.bytes_]:
    """Give the JSON text of each instant, in an array of the same shape."""
    missing = np.isnan(instants)
    if zone == INDIAN_ZONE:
        known = instants[~missing]
        filler = known[0] if known.size else 0.0  # any of the others, so that the span of dates stays short
        return _fixed(np.where(missing, filler, instants), missing)
    texts = [NULL if gone else _quoted(at, zone) for at, gone in zip(instants.flat, missing.flat, strict=True)]
    return np.array(texts, dtype=f"S{WIDTH}").reshape(instants.shape)


def rounded(instant: float) -> int:
    """Round to whole seconds as the texts do."""
    return int(np.floor(instant + 0.5))


def _quoted(instant: float, zone: str) -> bytes:
    return f'"{datetime.fromtimestamp(rounded(instant), UTC).astimezone(zone_of(zone)).isoformat()}"'.encode()


def _fixed(instants: Floats, missing: NDArray[np.bool_]) -> NDArray[np.bytes_]:
    """Write Indian time by table: the dates that occur once each, the seconds of a day once for the process."""
    seconds = np.floor(instants + (INDIAN_OFFSET_S + 0.5)).astype(np.int64)
    day, second = np.divmod(seconds, int(DAY_S))
    first = day.min()
    dates = np.datetime_as_string(np.arange(first, day.max() + 1).astype("datetime64[D]"))
    dates = np.char.add(np.char.add('"', dates), "T").astype("S12")
    out = np.empty((*seconds.shape, WIDTH), dtype=np.uint8)
    out[..., :12] = dates.view(np.uint8).reshape(-1, 12)[day - first]
    out[..., 12:20] = _clock_times()[second]
    out[..., 20:] = np.frombuffer(INDIAN_SUFFIX, dtype=np.uint8)
    texts = out.view(f"S{WIDTH}")[..., 0]
    if missing.any():
        texts[missing] = NULL
    return texts


@cache
def _clock_times() -> NDArray[np.uint8]:
    """Give HH:MM:SS of every second of a day, as rows of bytes."""
    second = np.arange(int(DAY_S))
    digits = np.empty((len(second), 8), dtype=np.uint8)
    for column, value in ((0, second // 3_600), (3, second // 60 % 60), (6, second % 60)):
        digits[:, column] = ord("0") + value // 10
        digits[:, column + 1] = ord("0") + value % 10
    digits[:, [2, 5]] = ord(":")
    return digits
