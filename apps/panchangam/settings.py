"""What the environment says to the almanac; the only place of this system that reads it.

Always true: read once for each process; a variable that cannot be taken is a BadSetting that names it and says what it
may be; an empty variable counts as unset.

Not here: what a setting does.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from apps.panchangam.cities import TIERS
from rota.errors import BadSetting

MOST_DAYS = 366  # a year ahead: 500 cities of it are 1.6 GB of documents
STORE = "sqlite:///.rota/rota.db"  # where rota keeps its store when nobody says otherwise

_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off"})
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True, kw_only=True)
class PanchangamSettings:
    """How the nightly run is done, and where its documents go.

    >>> PanchangamSettings.read({"CITY_PRECOMPUTE": "IN_TOP10"}).city_precompute
    'IN_TOP10'
    """

    sched_enabled: bool = True
    city_precompute: str = "IN_TOP200"
    precompute_days: int = 30
    precompute_time: str = "02:30"  # Indian Standard Time
    redis_url: str | None = None
    database_url: str | None = None
    store_url: str | None = None  # None: rota finds its store itself

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> "PanchangamSettings":
        """Give the settings of this process, or of a mapping. Raises BadSetting."""
        given = os.environ if environment is None else environment
        known = {name: text for name, value in given.items() if (text := value.strip())}
        database = _database(known.get("DATABASE_URL"))
        return cls(
            sched_enabled=_flag("SCHED_ENABLED", known.get("SCHED_ENABLED", "true")),
            city_precompute=_tier(known.get("CITY_PRECOMPUTE", "IN_TOP200")),
            precompute_days=_days(known.get("PRECOMPUTE_DAYS", "30")),
            precompute_time=_time(known.get("PRECOMPUTE_TIME", "02:30")),
            redis_url=_redis(known.get("REDIS_URL")),
            database_url=database,
            store_url=_shared_store(known.get("ROTA_DB", STORE), database),
        )


def _flag(name: str, text: str) -> bool:
    word = text.lower()
    if word not in _YES | _NO:
        raise BadSetting(f"Expected {name} to be true or false, found {text!r}; write SCHED_ENABLED=false to pause.")
    return word in _YES


def _tier(text: str) -> str:
    word = text.upper()
    if word not in TIERS:
        raise BadSetting(f"Expected CITY_PRECOMPUTE to be one of {', '.join(TIERS)}, found {text!r}; choose one.")
    return word


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_DAYS):
        raise BadSetting(f"Expected PRECOMPUTE_DAYS to be 1 to {MOST_DAYS} days, found {text!r}; the default is 30.")
    return int(text)


def _time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise BadSetting(f"Expected PRECOMPUTE_TIME to be HH:MM on the Indian clock, found {text!r}; try 02:30.")
    return text


def _redis(url: str | None) -> str | None:
    if url is not None and not url.startswith(("redis://", "rediss://", "unix://")):
        raise BadSetting(f"Expected REDIS_URL to begin with redis:// or rediss://, found {_scheme(url)}; correct it.")
    return url


def _database(url: str | None) -> str | None:
    """Take the address of a database in the form that SQLAlchemy reads."""
    if url is None or url.startswith((_SQLITE, "postgresql://")):
        return url
    if url.startswith("postgres://"):
        return "postgresql://" + url.removeprefix("postgres://")
    raise BadSetting(
        f"Expected DATABASE_URL to begin with sqlite:/// or postgresql://, found {_scheme(url)}; correct it."
    )


def _scheme(url: str) -> str:
    """Say what kind of address it is and nothing more: the rest may hold a password."""
    scheme, colon, _ = url.partition("://")
    return f"{scheme}://…" if colon else "no scheme"


def _shared_store(store: str, database: str | None) -> str | None:
    """Make rota use the standard SQLite module for its file where the tables are in the same one.

    Two copies of the SQLite library in one process drop each other's locks on a file (design 10).
    """
    if database is None or not database.startswith(_SQLITE) or not store.startswith(_SQLITE):
        return None
    path, _, options = store.partition("?")
    same = _file(path) == _file(database.partition("?")[0])
    if not same or "driver=" in options:
        return None
    return f"{path}?{options}&driver=sqlite3" if options else f"{path}?driver=sqlite3"


def _file(url: str) -> Path:
    return Path(url.removeprefix(_SQLITE)).resolve()
