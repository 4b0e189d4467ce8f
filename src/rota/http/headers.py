"""What a service says in the headers of its answers: when to come again, and how fast.

Always true: garbage is None, never an error and never a guess; what comes out is within its bounds.

Not here: what follows from it (verdict.py), the jitter that keeps many from coming back at once (engine).
"""

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from rota.define.units import duration_ms

MOST_RATE: Final = 1_000_000.0  # calls in a second: a service that says more has made a mistake
LEAST_RATE: Final = 1 / 86_400  # calls in a second: one a day; a service that says less says no
_LONGEST_DIGITS: Final = 12  # of a number of seconds: more digits than any wait has
_SECONDS = re.compile(r"\d+(?:\.\d*)?", re.ASCII)


def retry_after(value: str | None, now: datetime, *, most: timedelta | str = "15m") -> timedelta | None:
    """How long a `Retry-After` header asks to wait, in either of its forms: seconds, or an HTTP date.

    At most `most` (a duration), at least nothing: an instant that has passed is no wait. None for what is no such
    header: absent, negative, garbage. `now` is an aware datetime. `BadInput` for a wrong `most`.

    >>> from datetime import UTC, datetime
    >>> now = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)
    >>> str(retry_after("120", now)), str(retry_after("Wed, 21 Oct 2026 07:28:30 GMT", now))
    ('0:02:00', '0:00:30')
    >>> retry_after("-5", now) is None, str(retry_after("999999999", now))
    (True, '0:15:00')
    """
    longest = timedelta(milliseconds=duration_ms(most, name="most= of retry_after"))
    text = "" if value is None else value.strip()
    if _SECONDS.fullmatch(text):
        whole = text.partition(".")[0].lstrip("0")
        return longest if len(whole) > _LONGEST_DIGITS else min(timedelta(seconds=float(text)), longest)
    then = http_date(text)
    return None if then is None else min(max(then - now, timedelta()), longest)


def http_date(text: str | None) -> datetime | None:
    """The instant of an HTTP date in any of its three forms, in UTC; None where the text is none."""
    if not text:
        return None
    try:
        found = parsedate_to_datetime(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def calls_per_second(value: str | None) -> float | None:
    """The number of a header that holds how many calls may be made in a second, such as "0.0167"."""
    try:
        found = float(value or "")
    except ValueError:
        return None
    return found if math.isfinite(found) and LEAST_RATE <= found <= MOST_RATE else None
