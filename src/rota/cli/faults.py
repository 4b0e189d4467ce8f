"""What a refusal looks like from outside: an exit code, one sentence, or a problem object.

Always true: nobody sees a traceback unless asked for with `-v`; a code of `errors.py` has one exit code, one title.

Not here: the sentences themselves, which come with the errors.
"""

import logging
import os
import sys
import traceback
from typing import Any, Final, NamedTuple

import click

from rota.errors import RotaError

DONE: Final = 0
BAD: Final = 1  # done, but the answer is bad
USAGE: Final = 2
NOT_FOUND: Final = 3
DECLINED: Final = 5
STORE: Final = 6
CONFLICT: Final = 7
SOFTWARE: Final = 70  # a fault of rota's own, as in sysexits.h
AGAIN: Final = 75
INTERRUPTED: Final = 130
TERMINATED: Final = 143


class Declined(Exception):
    """Nobody agreed: `--yes` is missing, or the question was answered otherwise."""


class _Kind(NamedTuple):
    """What a code stands for."""

    problem: str
    title: str
    status: int
    exit: int


_KINDS: Final = {
    "config": _Kind("wrong-configuration", "The application or a setting is wrong", 500, USAGE),
    "duplicate-job": _Kind("wrong-configuration", "The application or a setting is wrong", 500, USAGE),
    "bad-setting": _Kind("wrong-configuration", "The application or a setting is wrong", 500, USAGE),
    "bad-input": _Kind("invalid-field", "A field is not valid", 422, USAGE),
    "usage": _Kind("wrong-usage", "The command line is wrong", 422, USAGE),
    "not-found": _Kind("not-found", "There is nothing of this name", 404, NOT_FOUND),
    "declined": _Kind("confirmation-missing", "This needs to be confirmed", 422, DECLINED),
    "store": _Kind("store-unusable", "The store cannot be used", 503, STORE),
    "store-unavailable": _Kind("store-unavailable", "The store cannot be reached", 503, STORE),
    "schema-mismatch": _Kind("schema-mismatch", "The store is of another age", 503, STORE),
    "conflict": _Kind("changed-meanwhile", "Something changed meanwhile", 409, CONFLICT),
    "lease-lost": _Kind("changed-meanwhile", "Something changed meanwhile", 409, CONFLICT),
    "illegal-transition": _Kind("already-running", "Not in this state", 409, CONFLICT),
    "error": _Kind("fault", "Something went wrong inside rota", 500, SOFTWARE),
}


def code_of(fault: BaseException) -> str:
    """The stable word for a fault."""
    if isinstance(fault, RotaError):
        return fault.code
    if isinstance(fault, Declined):
        return "declined"
    return "usage" if isinstance(fault, click.ClickException) else "error"


def exit_of(fault: BaseException) -> int:
    """The exit code for a fault."""
    return _KINDS[code_of(fault)].exit


def sentence(fault: BaseException) -> str:
    """The fault for people."""
    if isinstance(fault, click.ClickException):
        return fault.format_message()
    if isinstance(fault, RotaError | Declined):
        return str(fault)
    where = traceback.extract_tb(fault.__traceback__)
    place = f" ({where[-1].filename}:{where[-1].lineno})" if where else ""
    return f"this should not happen: {type(fault).__name__}: {fault}{place}; run it again with -v for the traceback"


def problem(fault: BaseException) -> dict[str, Any]:
    """The fault for programs, in the form of the HTTP API (RFC 9457)."""
    kind = _KINDS[code_of(fault)]
    return {
        "type": f"urn:rota:problem:{kind.problem}",
        "title": kind.title,
        "status": kind.status,
        "detail": sentence(fault),
        "code": code_of(fault),
        "exit": kind.exit,
    }


def leave_at_once(code: int) -> None:
    """End the process without waiting for threads and coroutines, which will never end by themselves."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
