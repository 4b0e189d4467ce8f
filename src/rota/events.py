"""Structured events: one list of names, one place that tells them.

An event is told after what it speaks of has happened, to the log (`rota` logger, the name as the message,
the fields as `extra`) and to whoever called `rota.listen(f)`. A listener can change nothing and its errors
end here.

Always true: a success is below debug for the log, so the hot path pays nothing when nobody listens.

Not here: metrics and spans, which are listeners.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

NAMES: Final = frozenset(
    {
        "run.started",
        "run.succeeded",
        "run.retry",
        "run.dead",
        "run.lost",
        "run.released",
        "run.held",
        "run.skipped",
        "run.fenced",
        "member.joined",
        "member.left",
        "job.paused",
        "job.resumed",
        "stop",
        "resume",
        "worker.started",
        "worker.drained",
        "worker.lost",
        "store.lost",
        "store.back",
        "loop.blocked",
        "error",
    }
)

_LEVELS: Final[Mapping[str, int]] = {
    "run.dead": logging.ERROR,
    "run.lost": logging.WARNING,
    "run.fenced": logging.WARNING,
    "run.held": logging.WARNING,
    "job.paused": logging.WARNING,
    "stop": logging.WARNING,
    "worker.lost": logging.WARNING,
    "store.lost": logging.WARNING,
    "loop.blocked": logging.WARNING,
    "error": logging.ERROR,
    "run.started": logging.NOTSET,
    "run.succeeded": logging.NOTSET,
    "run.retry": logging.INFO,
}

_log = logging.getLogger("rota")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that has happened: its name, when (aware, UTC), and its fields."""

    name: str
    at: datetime
    fields: Mapping[str, Any]


Listener = Callable[[Event], None]


class Events:
    """Tells events to the log and to listeners."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    @property
    def heard(self) -> bool:
        """Whether anybody listens: the hot path asks before it makes an event of a success."""
        return bool(self._listeners)

    def listen(self, listener: Listener) -> None:
        """Tell this listener every event from now on."""
        self._listeners.append(listener)

    def tell(self, name: str, at_ms: int, /, **fields: Any) -> None:
        """Tell an event."""
        level = _LEVELS.get(name, logging.INFO)
        if level and _log.isEnabledFor(level):
            words = " ".join(f"{key}={value}" for key, value in fields.items() if value is not None)
            _log.log(level, "%s %s", name, _one_line(words), extra={"event": name, "fields": fields})
        if not self._listeners:
            return
        event = Event(name=name, at=datetime.fromtimestamp(at_ms / 1000, UTC), fields=fields)
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 -- the one place: a listener can change nothing
                _log.exception("a listener failed on the event %s", name)


def _one_line(words: str) -> str:
    """One event is one log line without control characters, whatever a key or an error text holds."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in words)
