"""The only place that reads the environment: one frozen record, read once for each process.

Always true: unset is None, never a default in disguise; an argument wins over the environment, the
environment over the default; a variable that cannot be read is a `BadSetting` that names it.

Not here: what a setting does.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from rota.errors import BadSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says; each field is the variable `ROTA_<FIELD>`, except those noted.

    >>> Settings.read({"ROTA_DB": "sqlite:///shop.db"}).db
    'sqlite:///shop.db'
    """

    app: str | None = None
    db: str | None = None
    env: str | None = None
    secret: str | None = None
    log: str | None = None
    log_level: str | None = None
    tz: str | None = None
    redis_url: str | None = None
    queues: str | None = None
    concurrency: int | None = None
    lease: str | None = None
    poll: str | None = None
    drain_grace: str | None = None
    retain: str | None = None
    no_color: bool = False
    force_color: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """The settings of this process, or of a mapping.

        Raises BadSetting when a number is not one.
        """
        given = os.environ if environment is None else environment
        found: dict[str, object] = {}
        for field in fields(cls):
            if field.name in {"no_color", "force_color"}:
                found[field.name] = bool(given.get(field.name.upper()))
                continue
            variable = f"ROTA_{field.name.upper()}"
            value = given.get(variable) or None
            if value is not None and field.name == "concurrency":
                found[field.name] = _whole(variable, value)
            else:
                found[field.name] = value
        return cls(**found)  # type: ignore[arg-type]


_MOST_PLACES = 10_000  # handlers at once in one process: far above what a loop can serve


def _whole(variable: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= _MOST_PLACES:
        message = f"{variable} is {value!r}: expected a whole number from 1 to {_MOST_PLACES}"
        raise BadSetting(message)
    return int(value)
