"""The policies of a job: how often to try again, how many at once, how fast, in what batches, what to make up.

Always true: a policy is frozen, complete when made, and wrong values are a `ConfigError` where it is written; what
users write as "10s" is also there as whole milliseconds, in a field that ends in `_ms`.

Not here: keeping the policies, which is the engine's and the store's work; the dice, which the caller brings.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from rota.define.current import CURRENT
from rota.define.names import MOST_KEY_BYTES, checked_choice
from rota.define.units import Rate, duration_ms, duration_words, rate, shown
from rota.errors import BadInput, ConfigError

Duration = timedelta | str

MOST_TRIES = 1_000  # more is a schedule, not a retry
MOST_RULES = 100  # entries of a list of delays
MOST_AT_ONCE = 1_000_000  # a cap beyond this is none
MOST_BATCH = 1_000  # members in one batch: what one transaction takes well
MOST_CATCH_UP = 10_000  # missed slots made up for one member: a guess
MOST_FACTOR = 1_000
CATCH_UP_KINDS = ("latest", "all", "none")

_PLAIN_JITTER = 0.1
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_HOLE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """How often to try, and how long to wait in between.

    `tries` counts the first one. The wait before try n + 1 is `first × factor^(n - 1)`, at most `max`, times a number
    between 1 and 1 + `jitter`. With `delays` the waits are listed: tries are one more than delays, and jitter is 0
    unless given. Wrong values are a `ConfigError`.

    >>> from rota import Retry
    >>> [Retry(tries=4, jitter=0).delay_ms(used, 0.5) for used in (1, 2, 3, 4)]
    [2000, 4000, 8000, None]
    >>> Retry(delays=["10s", "20s", "40s"]).tries
    4
    """

    tries: int
    factor: float
    jitter: float
    first_ms: int
    max_ms: int
    delays_ms: tuple[int, ...] | None

    def __init__(
        self,
        *,
        tries: int | None = None,
        first: Duration = "2s",
        factor: float = 2,
        max: Duration = "1h",
        jitter: float | None = None,
        delays: Sequence[Duration] | None = None,
    ) -> None:
        listed = None if delays is None else _delays_ms(delays)
        if listed is None:
            tries, jitter = 3 if tries is None else tries, _PLAIN_JITTER if jitter is None else jitter
        else:
            most = len(listed) + 1
            if tries not in (None, most):
                raise ConfigError(
                    f"Retry with {len(listed)} delays is {most} tries, not {shown(tries)}: leave out tries="
                )
            tries, jitter = most, 0.0 if jitter is None else jitter
        values = {
            "tries": _whole(tries, what="tries= of Retry", least=1, most=MOST_TRIES),
            "factor": _number(factor, what="factor= of Retry", least=1, most=MOST_FACTOR),
            "jitter": _number(jitter, what="jitter= of Retry", least=0, most=1),
            "first_ms": duration_ms(first, name="first= of Retry", error=ConfigError),
            "max_ms": duration_ms(max, name="max= of Retry", error=ConfigError),
            "delays_ms": listed,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def delay_ms(self, tries_used: int, dice: float) -> int | None:
        """The wait after this many tries, or None when they are used up; `dice` is in [0, 1)."""
        if tries_used >= self.tries:
            return None
        step = 0 if tries_used < 1 else tries_used - 1
        plain = self._plain_ms(step) if self.delays_ms is None else self.delays_ms[step]
        return plain + int(plain * self.jitter * dice)

    def _plain_ms(self, step: int) -> int:
        try:
            return min(self.max_ms, int(self.first_ms * float(self.factor) ** step))
        except OverflowError:
            return self.max_ms if self.first_ms else 0


def _delays_ms(delays: Sequence[Duration]) -> tuple[int, ...]:
    if isinstance(delays, str) or not isinstance(delays, Sequence):
        raise ConfigError(f'delays= of Retry must be a list such as ["10s", "20s"], not {shown(delays)}')
    if not 1 <= len(delays) <= MOST_RULES:
        raise ConfigError(f"delays= of Retry must have 1 to {MOST_RULES} entries, not {len(delays)}")
    return tuple(duration_ms(delay, name="each of delays= of Retry", error=ConfigError) for delay in delays)


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `n` runs of the job at once, fleet-wide; `by="owner"` or a field of the data makes it so many for each.

    Counted by what the data say when a run is claimed; a run whose member has left meanwhile counts no more.

    >>> from rota import Cap
    >>> Cap(1, by="owner").n
    1
    """

    n: int
    by: str | None = None

    def __post_init__(self) -> None:
        _whole(self.n, what="the number of Cap", least=1, most=MOST_AT_ONCE)
        if self.by is not None and not is_field(self.by):
            raise ConfigError(f'by= of Cap must be "owner" or the name of a data field, not {shown(self.by)}')


@dataclass(frozen=True, slots=True)
class Limit:
    """A named rate that all runs of all jobs with this name share; `"ads:{region}"` is one for each region.

    A run that finds no room waits for the exact instant at which it has some, without using a try.

    `rate` is "20/s", "30/m", "1000/h" or "50/d"; `burst` is how many may go at once after a pause, one second's worth
    (at least 1) unless given. Wrong values are a `ConfigError`.

    >>> from rota import Limit
    >>> Limit("amazon:{region}", "20/s").burst
    20
    """

    name: str
    rate: str
    burst: int | None = field(default=None, kw_only=True)
    parsed: Rate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_template(self.name, what="the name of a Limit")
        parsed = rate(self.rate, name=f"the rate of Limit {self.name!r}", error=ConfigError)
        burst = max(1, parsed.count * 1_000 // parsed.per_ms) if self.burst is None else self.burst
        object.__setattr__(self, "parsed", parsed)
        object.__setattr__(self, "burst", _whole(burst, what="burst= of Limit", least=1, most=MOST_AT_ONCE))

    async def spend(self, n: int = 1) -> None:
        """Take `n` calls of this limit inside a handler, for calls beyond the first, which the claim has taken.

        The same as `run.spend(limit, n)`. Outside of a handler there is no run to pay for: `BadInput`.

        >>> amazon = Limit("amazon:{region}", "20/s")
        >>> async def handler() -> None:
        ...     await amazon.spend(3)
        """
        run = CURRENT.get()
        if run is None:
            raise BadInput(f"the limit {self.name!r} is spent outside of a handler: only a run has calls to pay for")
        await run.spend(self, n)


@dataclass(frozen=True, slots=True)
class Batch:
    """So many members at once, all must settle, then a pause, then the next ones.

    >>> from rota import Batch
    >>> Batch(10, pause="5s").pause_ms
    5000
    """

    size: int
    pause: Duration = field(default="0s", compare=False)
    pause_ms: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _whole(self.size, what="the size of Batch", least=1, most=MOST_BATCH)
        object.__setattr__(self, "pause_ms", duration_ms(self.pause, name="pause= of Batch", error=ConfigError))


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What becomes of slots that were missed: `latest` (one run for the newest), `all` (oldest first), or `none`.

    A slot older than `window` is not made up; the runs are spread over `spread`; `all` makes up at most `most`.

    >>> from rota import CatchUp
    >>> CatchUp("all", window="7d").window_ms
    604800000
    """

    kind: str = "latest"
    window: Duration | None = field(default=None, kw_only=True, compare=False)
    spread: Duration = field(default="10m", kw_only=True, compare=False)
    most: int = field(default=100, kw_only=True)
    window_ms: int | None = field(init=False, repr=False)
    spread_ms: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        checked_choice(self.kind, CATCH_UP_KINDS, what="the kind of CatchUp", error=ConfigError)
        window = self.window
        window_ms = None if window is None else duration_ms(window, name="window= of CatchUp", error=ConfigError)
        object.__setattr__(self, "window_ms", window_ms)
        object.__setattr__(self, "spread_ms", duration_ms(self.spread, name="spread= of CatchUp", error=ConfigError))
        _whole(self.most, what="most= of CatchUp", least=1, most=MOST_CATCH_UP)

    def describe(self) -> str:
        """The policy in words."""
        if self.kind == "none":
            return "missed slots are not made up"
        what = "the newest missed slot is" if self.kind == "latest" else f"up to {self.most} missed slots are"
        return f"{what} made up, spread over {duration_words(self.spread_ms)}"


def is_field(text: object) -> bool:
    """Whether the text can name a field of a member's data."""
    return isinstance(text, str) and _FIELD.fullmatch(text) is not None


def check_template(text: object, *, what: str) -> str:
    """A name with holes for member data, such as "ads:{region}"."""
    if not isinstance(text, str) or not text.strip() or len(text.encode(errors="replace")) > MOST_KEY_BYTES:
        raise ConfigError(f'{what} must be text such as "amazon" or "amazon:{{region}}", not {shown(text)}')
    rest = _HOLE.sub("", text)
    wrong = [hole for hole in _HOLE.findall(text) if not _FIELD.fullmatch(hole)]
    if wrong or "{" in rest or "}" in rest:
        raise ConfigError(f"{what} may have holes such as {{region}} that name a field, but it is {shown(text)}")
    return text


def filled_template(text: str, values: Mapping[str, object]) -> str | None:
    """The text with its holes filled, or None where a value is missing."""
    if any(values.get(hole) is None for hole in _HOLE.findall(text)):
        return None
    return _HOLE.sub(lambda hole: str(values[hole[1]]), text)


def is_open_template(text: str) -> bool:
    """Whether a name has holes, so that different runs may mean different things by it."""
    return _HOLE.search(text) is not None


def _whole(value: object, *, what: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"{what} must be a whole number from {least:,} to {most:,}, not {shown(value)}")
    return value


def _number(value: object, *, what: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{what} must be a number from {least:,} to {most:,}, not {shown(value)}")
    if not least <= value <= most:
        raise ConfigError(f"{what} must be a number from {least:,} to {most:,}, not {shown(value)}")
    return value
