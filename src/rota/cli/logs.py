"""Log lines of a command on stderr: text, or one JSON object a line with `ROTA_LOG=json`.

Always true: one event is one line; without `-v` or `ROTA_LOG_LEVEL` only a worker logs, since a tick tells its
failures in its summary.

Not here: which events there are (events.py).
"""

import json
import logging
import sys
from datetime import UTC, datetime

from rota.define.names import checked_choice
from rota.errors import BadSetting
from rota.settings import Settings

LEVELS = ("debug", "info", "warning", "error", "critical")


class Text(logging.Formatter):
    """`08:04:01 warning run.dead …` in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f"{at} {record.levelname.lower():7} {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class Json(logging.Formatter):
    """One object a line, with the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {"at": at.removesuffix("+00:00") + "Z", "level": record.levelname.lower()}
        event = getattr(record, "event", None)
        said = {"event": event, **getattr(record, "fields", {})} if event else {"message": record.getMessage()}
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps({**fields, **said}, ensure_ascii=False, default=str)


def log_to_stderr(settings: Settings, *, verbose: bool, plain_level: str = "critical") -> None:
    """Send rota's log to stderr from `ROTA_LOG_LEVEL` on, else from info with `verbose`, else from `plain_level`."""
    form = checked_choice(settings.log or "text", ("text", "json"), what="ROTA_LOG", error=BadSetting)
    level = settings.log_level or ("info" if verbose else plain_level)
    level = checked_choice(level.lower(), LEVELS, what="ROTA_LOG_LEVEL", error=BadSetting)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    log = logging.getLogger("rota")
    log.handlers[:] = [handler]
    log.setLevel(level.upper())
    log.propagate = False
