"""What an answer, or the lack of one, means for the run: an outcome for each status and each fault.

Always true: an outcome names method, host, path template, status and at most one error word of the service; never a
query, a header, credentials or a body. A request that may have been executed and must not be executed twice is
`Ambiguous`, whatever went wrong.

Not here: sending and receiving (exchange.py), what becomes of the turn (engine).
"""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import httpcore2
import httpx2

from rota.define.names import clean_text
from rota.define.outcome import Fail, Hold, Outcome, PauseJob, RateLimited, Retryable
from rota.http.address import Refused
from rota.http.options import Credentials

MOST_ERROR_BYTES: Final = 65_536  # of the body of a refusal: enough for any error object
_MOST_ERRORS: Final = 10  # of a list of errors that are looked at
_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]{1,47}\d{0,4}", re.ASCII)
_WORD_FIELDS: Final = ("code", "reason", "type", "status", "error")
_TEXT_FIELDS: Final = ("message", "error_description", "detail")
_TOO_OFTEN: Final = frozenset({"ratelimitexceeded", "userratelimitexceeded", "quotaexceeded", "rate_limit_exceeded"})
_USED_UP = re.compile(  # money and not pace; a bare "quota exceeded" is what Amazon and Google call pace
    r"insufficient[_ ](quota|credits|funds|balance)|billing[_ ]hard[_ ]limit|exceeded your current quota", re.ASCII
)


class Ambiguous(Hold):
    """A request that must not be repeated may have been executed: nobody knows, so the run is held.

    `ref` says which: what the request was given as `ref=`, else method, host and path. A handler that can find out (ask
    the service for the order by its reference) catches it and decides; when none does, the run is held, never tried
    again blindly. Give such requests an `Idempotency-Key` header and this cannot happen.

    >>> from rota.http import Ambiguous
    >>> Ambiguous("order 4711").ref
    'order 4711'
    """

    __slots__ = ("ref",)

    def __init__(self, ref: str) -> None:
        super().__init__(f"it may have been executed, or not: {ref}")
        self.ref = clean_text(str(ref))
        self.args = (ref,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is known of a request that may be told to anybody."""

    label: str  # "GET api.example.com/orders/{id}"
    ref: str
    scope: str
    repeatable: bool
    credentials: Credentials


UNREACHED: Final = (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.PoolTimeout)  # nothing was sent
FAULTS: Final = (  # everything that may keep an answer from coming whole
    Refused,
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
    httpx2.DecodingError,
    httpx2.InvalidURL,
    OSError,  # and TimeoutError, the deadline of the whole request
    RecursionError,
)
_SAID: Final = (
    (httpcore2.ConnectTimeout, "no connection in time"),
    (httpcore2.ConnectError, "no connection"),
    (httpcore2.PoolTimeout, "no connection was free in time"),
    (httpcore2.TimeoutException, "no answer in time"),
    (TimeoutError, "not done within the deadline"),
    (asyncio.CancelledError, "called off before the answer came"),
    (httpx2.DecodingError, "the body cannot be decompressed"),
    (httpcore2.RemoteProtocolError, "the answer broke off or is no HTTP"),
)


def of_fault(asked: Asked, fault: BaseException, *, sent: bool) -> Outcome:
    """What follows when no whole answer came; `sent`: the service may have seen the request."""
    if isinstance(fault, Refused):
        return Fail(f"{asked.label} refused: {fault}")
    if isinstance(fault, httpcore2.LocalProtocolError | httpcore2.UnsupportedProtocol | httpx2.InvalidURL):
        return Fail(f"{asked.label} cannot be sent: its URL or headers are not HTTP")
    said = next((text for kind, text in _SAID if isinstance(fault, kind)), "the connection broke")
    if sent and not isinstance(fault, UNREACHED):
        return unclear(asked, said)
    return Retryable(f"{asked.label}: {said}")


def unclear(asked: Asked, said: str) -> Outcome:
    """What follows when the service has seen the request and we do not know what came of it."""
    return Retryable(f"{asked.label}: {said}") if asked.repeatable else Ambiguous(asked.ref)


def of_status(asked: Asked, status: int, after: timedelta | None, body: bytes) -> Outcome:
    """What follows from a status that is neither a success nor expected."""
    words, used_up = read_error(body)
    said = f"{asked.label} answered {status}" + (f" ({words[0]})" if words else "")
    if status == 402 or (used_up and status in {403, 429}):  # noqa: PLR2004 - statuses are their own names
        return _limited(asked, after) if after is not None else _refused_us(asked, said)
    if status == 429 or (status == 403 and (after is not None or not _TOO_OFTEN.isdisjoint(map(str.lower, words)))):  # noqa: PLR2004
        return _limited(asked, after)
    if status in {401, 403}:
        return _refused_us(asked, said)
    if status in {408, 425} or (status >= 500 and status not in {501, 505}):  # noqa: PLR2004
        return Retryable(said, after)
    return Fail(said)


def _limited(asked: Asked, after: timedelta | None) -> Outcome:
    """A wait of nothing is taken for none said: coming back at once, all day long, uses no try and helps nobody."""
    return RateLimited(asked.scope, after or None)


def _refused_us(asked: Asked, said: str) -> Outcome:
    """The application's own key is the job's fault; a consent is for its person to renew; else the address is wrong."""
    match asked.credentials:
        case "app":
            return PauseJob(said)
        case "user":
            return Hold(said)
        case "none":
            return Fail(said)


def read_error(body: bytes) -> tuple[list[str], bool]:
    """The error words of a JSON body, best first, and whether it says that what was paid for is used up."""
    try:
        found: Any = json.loads(body) if len(body) <= MOST_ERROR_BYTES else None
    except (ValueError, RecursionError):
        return [], False
    errors = list(_errors(found))
    words = [text for error in errors for text in _texts(error, _WORD_FIELDS) if _WORD.fullmatch(text)]
    told = [text.lower() for error in errors for text in _texts(error, _WORD_FIELDS + _TEXT_FIELDS)]
    return words, any(_USED_UP.search(text) for text in told)


def _errors(found: object) -> Iterator[dict[str, Any]]:
    """The objects that services put errors in: nested ones first, since they say more."""
    if not isinstance(found, dict):
        return
    inner = found.get("error")
    if isinstance(inner, dict):
        yield from _errors(inner)
    listed = found.get("errors")
    if isinstance(listed, list):
        yield from (each for each in listed[:_MOST_ERRORS] if isinstance(each, dict))
    yield found


def _texts(error: dict[str, Any], fields: tuple[str, ...]) -> Iterator[str]:
    yield from (value for field in fields if isinstance(value := error.get(field), str))
