"""One log line for each request, and silence from the libraries below, which would log whole URLs and headers.

Always true: a line holds method, host, path template, status or fault, duration and attempt; never a query, a header,
a body, credentials, or a path from a user.

Not here: where log lines go (the application, or the command line).
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import httpx2

from rota.http.address import is_host

HIDDEN: Final = "{id}"  # stands for a part of a path that may name somebody or something
UNTOLD: Final = "/…"  # stands for a whole path
_PLAIN_PART = re.compile(r"(?:[A-Za-z]{1,24}[_.-]?){1,3}|v\d{1,2}|\d{4}-\d\d-\d\d", re.ASCII)
_LONGEST_PLAIN: Final = 24  # letters of a path's part; longer ones are tokens, not words
_BELOW: Final = ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))

_log = logging.getLogger("rota.http")
_ours: ContextVar[bool] = ContextVar("rota_http_request", default=False)


class _NotOurs(logging.Filter):
    """Drops what the libraries below say while they work for us; what they say for others passes."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - the form of every filter
        """Whether the line is logged."""
        return not _ours.get()


for _name in _BELOW:
    logging.getLogger(_name).addFilter(_NotOurs())


@contextmanager
def silence() -> Iterator[None]:
    """Keep the libraries below from logging what happens inside."""
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def path_of(url: httpx2.URL, template: str | None, *, caged: bool) -> str:
    """The path as it may be told: the template; else with everything replaced that does not look like a plain word."""
    if template is not None:
        return template
    if caged or not url.host:
        return UNTOLD  # the address is a user's, where a private calendar's path is its key; or it is no address
    return "/".join(part if _is_plain(part) else HIDDEN for part in url.path.split("/"))


def host_of(url: httpx2.URL) -> str:
    """The host as it may be told."""
    return url.host if is_host(url.host) else "…"


def _is_plain(part: str) -> bool:
    return len(part) <= _LONGEST_PLAIN and (not part or _PLAIN_PART.fullmatch(part) is not None)


def tell(request: httpx2.Request, path: str, came: int | str, took_ms: int, attempt: int | None) -> None:
    """Log one request: `came` is the status, or a word for what kept it from coming."""
    if not _log.isEnabledFor(logging.INFO):
        return
    key = "status" if isinstance(came, int) else "fault"
    method, host = request.method, host_of(request.url)
    fields = {"method": method, "host": host, "path": path, key: came, "ms": took_ms, "attempt": attempt}
    words = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    _log.info("http.request %s", words, extra={"event": "http.request", "fields": fields})


def warn(text: str, *words: object) -> None:
    """Say what went wrong beside a request."""
    _log.warning(text, *words)
