"""A job as declared: everything `@rota.job(...)` takes, checked and worked out once.

Always true: a `JobSpec` that exists can be run; whatever is wrong with a declaration is a `ConfigError` at import, in
one sentence that names the job, with the nearest valid word where a word was wrong.

Not here: whether names of other jobs and rosters exist (define/catalog), what
each option may be by itself (define/options).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Unpack, cast

from rota.define.arguments import Signature, handler_signature
from rota.define.contract import Schedule
from rota.define.link import Link
from rota.define.names import checked_choice, checked_name, nearest
from rota.define.options import DEFAULTS, JobOptions, followed_names, policies, roster_name, texts, with_defaults
from rota.define.policy import Batch, Cap, CatchUp, Limit, Retry
from rota.define.units import MINUTE_MS, duration_ms, duration_text, shown
from rota.errors import ConfigError

_LEAST_GRACE_MS = MINUTE_MS  # below a minute every deploy would make somebody late
_GRACE_SHARE = 10  # the grace is a tenth of the target unless given
_ONLY_RECURRING = ("min_gap", "first_run", "catch_up", "target", "grace")
_MARGIN_MS = MINUTE_MS  # starts jitter; a cool-off this close to the slot gap would skip regular slots (G-14)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job. `each` is the name of its roster; `after` names the jobs it follows."""

    name: str
    handler: Callable[..., Any]
    arguments: Signature
    is_async: bool
    each: str | None
    schedule: Schedule | None
    after: tuple[str, ...]
    if_failed: str
    queue: str
    priority: int
    retry: Retry
    timeout_ms: int
    cap: Cap | None
    serial: str | None
    limits: tuple[Limit, ...]
    scope: str | None
    batch: Batch | None
    run_in: str | None
    catch_up: CatchUp
    min_gap_ms: int | None
    max_lost: int
    after_death: str
    first_run: str
    target_ms: int | None
    grace_ms: int | None
    keep: str
    journal: str
    redact: tuple[str, ...]
    secret: tuple[str, ...]
    one_off: bool
    links: tuple[Link, ...] = ()  # the whole chain, its own handler first; empty without fallbacks

    @property
    def balanced(self) -> bool:
        """Whether its members are spread over slots by load."""
        return self.each is not None and self.schedule is not None and self.schedule.balanced

    @property
    def signature(self) -> str:
        """A text that changes when, and only when, the turns of the job must be reconciled."""
        rule = self.schedule.signature() if self.schedule is not None else ""
        return f"each={self.each or ''} after={','.join(self.after)} schedule={rule}"

    def describe(self) -> str:
        """When the job runs, in words."""
        if self.schedule is not None:
            return self.schedule.describe()
        return f"after {' and '.join(self.after)}" if self.after else "when it is enqueued"


def job_spec(function: Callable[..., Any], *, at_ms: int | None = None, **options: Unpack[JobOptions]) -> JobSpec:
    """Check a declaration; `at_ms` is from when the next two years count for `min_gap` (2026 on, unless given)."""
    given = cast("Mapping[str, Any]", options)
    if not inspect.isroutine(function) and not hasattr(function, "func"):
        raise ConfigError(f"a job must be a function, not {shown(function)}")
    name = given.get("name") or getattr(function, "__name__", None)
    name = checked_name(name, what="job", error=ConfigError)
    job = f"the job {name!r}"
    values = with_defaults(given, job)
    each, after = roster_name(values["each"], job), followed_names(values["after"], job)
    schedule = _checked_schedule(values["schedule"], each, after, job)
    one_off = each is None and schedule is None and not after
    if one_off:
        _check_one_off(given, job)
    signature = handler_signature(function, job=job)
    _check_handler(signature, values, each=each, one_off=one_off, job=job)
    target_ms = _optional_ms(values["target"], "target", job)
    if target_ms is None and schedule is not None:
        target_ms = schedule.period_ms
    return JobSpec(
        name=name,
        handler=function,
        arguments=signature,
        is_async=_is_async(function, values["run_in"], job),
        each=each,
        schedule=schedule,
        after=after,
        target_ms=target_ms,
        grace_ms=_grace_ms(values["grace"], target_ms, job),
        min_gap_ms=_min_gap_ms(values["min_gap"], schedule, at_ms, job),
        one_off=one_off,
        **policies(values, job),
    )


def _checked_schedule(schedule: object, each: str | None, after: tuple[str, ...], job: str) -> Schedule | None:
    if schedule is not None and not isinstance(schedule, Schedule):
        raise ConfigError(f"schedule= of {job} must be every(), cron(), daily() or weekly(), not {shown(schedule)}")
    if schedule is not None and after:
        raise ConfigError(f"{job} has both schedule= and after=: a job that follows another runs when that has ended")
    if each is not None and schedule is None and not after:
        raise ConfigError(f"{job} has each= but neither schedule= nor after=: say when it shall run")
    if schedule is not None and each is None and schedule.fields:
        raise ConfigError(f"the schedule of {job} reads {schedule.fields[0]!r} of a member's data: it needs each=")
    return schedule


def _check_one_off(given: Mapping[str, Any], job: str) -> None:
    for option in _ONLY_RECURRING:
        if option in given and given[option] != DEFAULTS[option]:
            raise ConfigError(f"{job} is a one-off and has {option}=: give it schedule=, or leave {option}= out")


def _check_handler(
    signature: Signature, values: Mapping[str, Any], *, each: str | None, one_off: bool, job: str
) -> None:
    """Whether the handler takes what it will be given."""
    if each is None and (signature.takes_member or signature.takes_members):
        raise ConfigError(f"the handler of {job} takes a Member, but the job has no each=: add each=, or drop it")
    if signature.takes_members and values["batch"] is None:
        raise ConfigError(f"the handler of {job} takes list[Member], but the job has no batch=: add batch=Batch(…)")
    if each is None and values["batch"] is not None:
        raise ConfigError(f"{job} has batch= but no each=: only members come in batches")
    if not one_off and signature.required:
        missing = ", ".join(repr(name) for name in signature.parameters if name in signature.required)
        raise ConfigError(f"the handler of {job} needs {missing}, but nobody gives arguments to it: add a default")
    for name in texts(values["secret"], "secret", job):
        if name not in signature.parameters:
            raise ConfigError(f"secret= of {job} names {name!r}, no argument{nearest(name, signature.parameters)}")


def _is_async(function: Callable[..., Any], run_in: object, job: str) -> bool:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"the handler of {job} is a generator: return a value instead of yielding")
    found = inspect.iscoroutinefunction(function)
    if run_in is None:
        return found
    checked_choice(run_in, ("thread", "process"), what=f"run_in= of {job}", error=ConfigError)
    if found:
        raise ConfigError(f"{job} is async and has run_in={run_in!r}: make the handler a plain function, or drop it")
    return False


def _min_gap_ms(value: object, schedule: Schedule | None, at_ms: int | None, job: str) -> int | None:
    """The cool-off, if regular slots leave room for it (G-14)."""
    min_gap_ms = _optional_ms(value, "min_gap", job)
    if min_gap_ms is None or schedule is None:
        return min_gap_ms
    gap_ms = schedule.min_gap_ms if at_ms is None else schedule.min_gap_since(at_ms)
    most = gap_ms - _MARGIN_MS
    if min_gap_ms > most:
        advice = f"say at most {duration_text(most)}" if most > 0 else "leave it out"
        raise ConfigError(
            f"min_gap= of {job} is {duration_text(min_gap_ms)}, but the shortest gap of two slots in the next two "
            f"years is {duration_text(gap_ms)}, and starts jitter, so regular slots would be skipped: {advice}"
        )
    return min_gap_ms


def _grace_ms(value: object, target_ms: int | None, job: str) -> int | None:
    found = _optional_ms(value, "grace", job)
    if found is None and target_ms is not None:
        return max(_LEAST_GRACE_MS, target_ms // _GRACE_SHARE)
    return found


def _optional_ms(value: object, option: str, job: str) -> int | None:
    return None if value is None else duration_ms(value, name=f"{option}= of {job}", error=ConfigError)
