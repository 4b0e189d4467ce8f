"""The options of a job, each checked by itself.

Always true: a wrong value is a `ConfigError` that names the job and the option, with the nearest valid word.

Not here: how options depend on each other and on the handler (define/job).
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict, cast

from rota.define.contract import Schedule
from rota.define.names import checked_choice, checked_name, nearest
from rota.define.policy import CATCH_UP_KINDS, Batch, Cap, CatchUp, Limit, Retry, check_template
from rota.define.units import duration_ms, shown
from rota.errors import BadInput, ConfigError, RotaError

Duration = timedelta | str

LEAST_PRIORITY, MOST_PRIORITY = -100, 100
MOST_LOST = 100  # losses before a run is called poison: more would be no guard


class JobOptions(TypedDict, total=False):
    """What `@rota.job(...)` takes."""

    name: str | None
    each: object
    schedule: Schedule | None
    after: object
    if_failed: str
    queue: str
    priority: int
    retry: Retry
    timeout: Duration
    cap: int | Cap | None
    serial: str | None
    limit: Limit | Sequence[Limit]
    scope: str | None
    batch: Batch | None
    run_in: str | None
    catch_up: str | CatchUp
    min_gap: Duration | None
    max_lost: int
    after_death: str
    first_run: str
    target: Duration | None
    grace: Duration | None
    keep: str
    journal: str
    redact: Sequence[str]
    secret: Sequence[str]


DEFAULTS: dict[str, Any] = {
    "name": None,
    "each": None,
    "schedule": None,
    "after": None,
    "if_failed": "run",
    "queue": "default",
    "priority": 0,
    "retry": Retry(),
    "timeout": "10m",
    "cap": None,
    "serial": None,
    "limit": (),
    "scope": None,
    "batch": None,
    "run_in": None,
    "catch_up": "latest",
    "min_gap": None,
    "max_lost": 3,
    "after_death": "next",
    "first_run": "slot",
    "target": None,
    "grace": None,
    "keep": "none",
    "journal": "all",
    "redact": (),
    "secret": (),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "if_failed": ("run", "skip"),
    "after_death": ("next", "hold"),
    "first_run": ("slot", "now"),
    "keep": ("none", "latest"),
    "journal": ("all", "failures", "none"),
}


def with_defaults(given: Mapping[str, Any], job: str) -> dict[str, Any]:
    """All options, those not given at their defaults; unknown ones and wrong words are refused."""
    for option in given:
        if option not in DEFAULTS:
            raise ConfigError(f"{job} has an unknown option {option!r}{nearest(option, DEFAULTS)}")
    values = {**DEFAULTS, **given}
    for option, choices in _CHOICES.items():
        checked_choice(values[option], choices, what=f"{option}= of {job}", error=ConfigError)
    return values


def policies(values: Mapping[str, Any], job: str) -> dict[str, Any]:
    """The options that stand by themselves, checked."""
    limits = values["limit"]
    return {
        "if_failed": values["if_failed"],
        "queue": checked_name(values["queue"], what=f"queue of {job}", error=ConfigError),
        "priority": checked_priority(values["priority"], what=f"priority= of {job}", error=ConfigError),
        "retry": _instance(values["retry"], Retry, "retry", job),
        "timeout_ms": duration_ms(values["timeout"], name=f"timeout= of {job}", least=1, error=ConfigError),
        "cap": _cap(values["cap"], job),
        "serial": None if values["serial"] is None else check_template(values["serial"], what=f"serial= of {job}"),
        "limits": tuple(
            _instance(limit, Limit, "limit", job)
            for limit in (limits if isinstance(limits, list | tuple) else (limits,))
        ),
        "scope": None if values["scope"] is None else check_template(values["scope"], what=f"scope= of {job}"),
        "batch": None if values["batch"] is None else _instance(values["batch"], Batch, "batch", job),
        "run_in": values["run_in"],
        "catch_up": _catch_up(values["catch_up"], job),
        "max_lost": _whole(values["max_lost"], 1, MOST_LOST, what=f"max_lost= of {job}", error=ConfigError),
        "after_death": values["after_death"],
        "first_run": values["first_run"],
        "keep": values["keep"],
        "journal": values["journal"],
        "redact": texts(values["redact"], "redact", job),
        "secret": texts(values["secret"], "secret", job),
    }


def checked_priority(value: object, *, what: str = "priority=", error: type[RotaError] = BadInput) -> int:
    """A priority from -100 to 100; the smaller runs first."""
    return _whole(value, LEAST_PRIORITY, MOST_PRIORITY, what=what, error=error)


def _whole(value: object, least: int, most: int, *, what: str, error: type[RotaError]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise error(f"{what} must be a whole number from {least} to {most}, not {shown(value)}")
    return value


def roster_name(value: object, job: str) -> str | None:
    """The name of a roster, from the roster or its name."""
    name = value if value is None or isinstance(value, str) else getattr(value, "name", None)
    if value is None:
        return None
    if not isinstance(name, str):
        raise ConfigError(f"each= of {job} must be a roster, not {shown(value)}")
    return checked_name(name, what=f"roster of {job}", error=ConfigError)


def followed_names(value: object, job: str) -> tuple[str, ...]:
    """The names of the jobs that this one follows, each once."""
    entries = () if value is None else value if isinstance(value, list | tuple) else (value,)
    names = [entry if isinstance(entry, str) else getattr(entry, "name", None) for entry in entries]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"after= of {job} must be a job or a list of jobs, not {shown(value)}")
    return tuple(dict.fromkeys(cast("list[str]", names)))


def _cap(value: object, job: str) -> Cap | None:
    if value is None or isinstance(value, Cap):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Cap(value)
    raise ConfigError(f"cap= of {job} must be a whole number or Cap(…), not {shown(value)}")


def _catch_up(value: object, job: str) -> CatchUp:
    if isinstance(value, CatchUp):
        return value
    return CatchUp(checked_choice(value, CATCH_UP_KINDS, what=f"catch_up= of {job}", error=ConfigError))


def _instance(value: object, kind: type[Any], option: str, job: str) -> Any:  # noqa: ANN401 - an instance of `kind`
    if isinstance(value, kind):
        return value
    raise ConfigError(f"{option}= of {job} must be {kind.__name__}(…), not {shown(value)}")


def texts(value: object, option: str, job: str) -> tuple[str, ...]:
    """A list of names as a tuple."""
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise ConfigError(f"{option}= of {job} must be a list of names, not {shown(value)}")
    if not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{option}= of {job} must be a list of names, not {shown(value)}")
    return tuple(value)
