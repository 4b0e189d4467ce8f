"""What an attempt may come to other than a plain value: outcomes a handler returns or raises.

Always true: an outcome carries plain values only (text, whole milliseconds), bounded in size; it means the same
whether it was returned or raised, and it survives the way back from another process.

Not here: what happens then to the turn (turn/states) and how a handler's own exception becomes an outcome (engine).
"""

from datetime import timedelta

from rota.define.names import clean_text
from rota.define.units import duration_ms

Duration = timedelta | str


class Outcome(Exception):
    """The base of what a handler may return or raise instead of a plain value.

    `reason` is kept in the journal: text of at most 16 KiB, longer text is cut.

    >>> from rota import Outcome, Skip
    >>> isinstance(Skip("nothing new"), Outcome)
    True
    """

    __slots__ = ("after_ms", "reason")

    def __init__(self, reason: str = "", after: Duration | None = None) -> None:
        self.reason = clean_text(str(reason))
        self.after_ms = None if after is None else duration_ms(after, name=f"after= of {type(self).__name__}")
        super().__init__(reason, after)

    def __str__(self) -> str:
        return self.reason

    def __repr__(self) -> str:
        given = ", ".join(repr(part) for part in self.args if part not in {None, ""})
        return f"{type(self).__name__}({given})"


class Retryable(Outcome):
    """It failed and may work later: a try is used, and the next comes at the retry's delay, never before `after`.

    After the last try the run is dead. `after` is a duration ("30s" or a `timedelta`); anything else is `BadInput`.

    >>> from rota import Retryable
    >>> Retryable("the service answered 503", after="30s").after_ms
    30000
    """

    __slots__ = ()


class RateLimited(Outcome):
    """The service said "too often": the scope cools down for everyone, and the run waits without using a try.

    `after` is how long the service asked to wait. After 24 hours of waiting in all it counts as `Retryable`.

    >>> from rota import RateLimited
    >>> RateLimited("amazon-eu", after="2s").scope
    'amazon-eu'
    """

    __slots__ = ("scope",)

    def __init__(self, scope: str, after: Duration | None = None) -> None:
        super().__init__(f"rate limited: {scope}", after)
        self.scope = clean_text(str(scope))
        self.args = (scope, after)


class Snooze(Outcome):
    """Not now: the same run comes again after this long; no try is used.

    >>> from rota import Snooze
    >>> Snooze("10m").after_ms
    600000
    """

    __slots__ = ()

    after_ms: int

    def __init__(self, after: Duration) -> None:
        super().__init__("", after)
        self.args = (after,)


class Skip(Outcome):
    """Not this time: the next slot is the regular one, a one-off is gone; freshness does not move.

    >>> from rota import Skip
    >>> str(Skip("the shop is closed"))
    'the shop is closed'
    """

    __slots__ = ()

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.args = (reason,)


class Hold(Outcome):
    """A person must act first (a consent was withdrawn): the turn is held until it is unheld.

    >>> from rota import Hold
    >>> str(Hold("consent withdrawn"))
    'consent withdrawn'
    """

    __slots__ = ()

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.args = (reason,)


class Fail(Outcome):
    """It can never work: the run is dead at once, whatever tries are left.

    >>> from rota import Fail
    >>> str(Fail("the account was deleted"))
    'the account was deleted'
    """

    __slots__ = ()

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.args = (reason,)


class PauseJob(Outcome):
    """The job itself is at fault (a bad key): it is paused for everyone, and this turn waits.

    >>> from rota import PauseJob
    >>> str(PauseJob("the API key was refused"))
    'the API key was refused'
    """

    __slots__ = ()

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.args = (reason,)
