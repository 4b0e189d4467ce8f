"""The links of a fallback chain: functions that answer in a job's stead when it, or the link before, cannot.

Always true: a `Link` that exists can be called with what the job's own handler gets; whatever is wrong with one is a
`ConfigError` at import, in one sentence that names the link and the job.

Not here: going along the chain (engine/chain), cool-downs of scopes (engine, store).
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from rota.define.arguments import Signature, handler_signature
from rota.define.names import clean_text, nearest
from rota.define.outcome import RateLimited, Retryable
from rota.define.policy import check_template
from rota.define.units import duration_ms, duration_text, shown
from rota.errors import ConfigError

Duration = timedelta | str
Causes = type[Exception] | Sequence[type[Exception]]

DEFAULT_CAUSES: Final = (RateLimited, Retryable, TimeoutError)  # what another service may do better
MOST_LINKS: Final = 20  # of one chain, the handler included: a guess; each is a service that somebody must know
MOST_NAME_BYTES: Final = 128  # of a link's name in the journal: a function's name, rarely longer than 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Link:
    """One link. `on` is what it stands in for when a link before it came to that; the first link has none.

    A link is itself and no other: two jobs may share a function and yet have it behind different services.
    """

    name: str
    function: Callable[..., Any]
    arguments: Signature
    is_async: bool
    on: tuple[type[Exception], ...]
    scope: str | None
    timeout_ms: int | None

    def takes(self, came: BaseException) -> bool:
        """Whether this link stands in for one that came to this."""
        return isinstance(came, self.on)


class Declared(Protocol):
    """What a link needs to know of its job, which is a `JobSpec`."""

    @property
    def name(self) -> str:
        """The job's name."""

    @property
    def handler(self) -> Callable[..., Any]:
        """The job's own handler, the first link."""

    @property
    def arguments(self) -> Signature:
        """What that takes."""

    @property
    def is_async(self) -> bool:
        """Whether that is a coroutine function."""

    @property
    def each(self) -> str | None:
        """The roster, if there are members."""

    @property
    def scope(self) -> str | None:
        """The scope of the job's own handler."""

    @property
    def timeout_ms(self) -> int:
        """The deadline of the whole chain."""

    @property
    def links(self) -> tuple[Link, ...]:
        """The chain so far."""


def chain_with(
    spec: Declared, function: Callable[..., Any], *, on: Causes, scope: str | None, timeout: Duration | None
) -> tuple[Link, ...]:
    """The chain of a job with one link more at its end; the first link is the job's own handler."""
    chain = spec.links or (_first(spec),)
    link = _checked(spec, function, on=on, scope=scope, timeout=timeout)
    if any(link.name == other.name for other in chain):
        raise ConfigError(f"two links of the job {spec.name!r} are named {link.name!r}: give each a name of its own")
    if len(chain) >= MOST_LINKS:
        raise ConfigError(f"the job {spec.name!r} has more than {MOST_LINKS} links: a chain has at most so many")
    return (*chain, link)


def _first(spec: Declared) -> Link:
    if spec.arguments.takes_members:
        raise ConfigError(
            f"the handler of the job {spec.name!r} takes list[Member], so it cannot have fallbacks: take one Member"
        )
    return Link(
        name=_name_of(spec.handler),
        function=spec.handler,
        arguments=spec.arguments,
        is_async=spec.is_async,
        on=(),
        scope=spec.scope,
        timeout_ms=None,
    )


def _checked(
    spec: Declared, function: Callable[..., Any], *, on: Causes, scope: str | None, timeout: Duration | None
) -> Link:
    job = f"the job {spec.name!r}"
    if not inspect.isroutine(function) and not hasattr(function, "func"):
        raise ConfigError(f"a fallback of {job} must be a function, not {shown(function)}")
    name = _name_of(function)
    link = f"the fallback {name!r} of {job}"
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"{link} is a generator: return a value instead of yielding")
    signature = handler_signature(function, job=link)
    _check_parameters(spec, signature, link)
    return Link(
        name=name,
        function=function,
        arguments=signature,
        is_async=inspect.iscoroutinefunction(function),
        on=_causes(on, link),
        scope=None if scope is None else check_template(scope, what=f"scope= of {link}"),
        timeout_ms=_timeout_ms(timeout, spec, link),
    )


def _check_parameters(spec: Declared, signature: Signature, link: str) -> None:
    """Whether what the job's own handler gets is enough to call this one."""
    if signature.takes_members:
        raise ConfigError(f"{link} takes list[Member]: take one Member, a chain answers for one at a time")
    if signature.takes_member and spec.each is None:
        raise ConfigError(f"{link} takes a Member, but the job has no each=: drop it, or add each= to the job")
    for name in signature.parameters:
        if name not in signature.required or name in spec.arguments.required:
            continue
        if name in spec.arguments.parameters:
            raise ConfigError(f"{link} needs {name!r}, for which the job's own handler has a default: give it one too")
        known = nearest(name, spec.arguments.parameters)
        raise ConfigError(f"{link} needs {name!r}, no argument of the job{known or ': add a default, or drop it'}")


def _causes(on: object, link: str) -> tuple[type[Exception], ...]:
    causes = tuple(on) if isinstance(on, list | tuple | set | frozenset) else (on,)
    for cause in causes:
        if not isinstance(cause, type) or not issubclass(cause, Exception):
            raise ConfigError(
                f"on= of {link} must name kinds of exceptions or outcomes, such as RateLimited, not {shown(cause)}"
            )
    if not causes:
        raise ConfigError(f"on= of {link} is empty, so it would never be called: name what it stands in for")
    return causes


def _timeout_ms(timeout: Duration | None, spec: Declared, link: str) -> int | None:
    if timeout is None:
        return None
    found = duration_ms(timeout, name=f"timeout= of {link}", least=1, error=ConfigError)
    if found > spec.timeout_ms:
        raise ConfigError(
            f"timeout= of {link} is {duration_text(found)}, but the whole chain has {duration_text(spec.timeout_ms)}, "
            "the timeout= of the job: make it shorter"
        )
    return found


def _name_of(function: Callable[..., Any]) -> str:
    """The function's own name, which the journal shows; that of what a partial calls."""
    plain = inspect.unwrap(getattr(function, "func", function))
    return clean_text(str(getattr(plain, "__name__", type(plain).__name__)), most=MOST_NAME_BYTES)
