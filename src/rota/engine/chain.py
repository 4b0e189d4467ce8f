"""One attempt's way along the links of its job: the first that is not cooling, then the next, until one answers.

A link that is rate limited puts its scope on cool-down for everyone at once, so that the attempts after this one
begin further down the chain until the cool-down has ended.

Always true: no link is called twice in one attempt, and none whose scope cools; a cancellation passes through; after
an attempt has been called off no further link is called; what a link raised never gets lost, it is told in one
sentence.

Not here: what a link may be (define/link.py), how a function is called (attempt.py), keeping cool-downs (scopes).
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from weakref import WeakKeyDictionary

from rota.define.job import JobSpec
from rota.define.link import Link
from rota.define.names import clean_text
from rota.define.outcome import Fail, Hold, Outcome, PauseJob, RateLimited, Skip
from rota.define.policy import is_open_template
from rota.define.units import HOUR_MS, MINUTE_MS, SECOND_MS, duration_text
from rota.engine.scopes import Scopes
from rota.engine.shared import is_failure
from rota.turn.gates import COOL_MS, filled, narrow

NOTE_MOST: Final = 200  # bytes of why one link did not answer: a sentence
STORY_MOST: Final = 2_000  # bytes of the whole story, as of a message in the journal
_TOLD: Final = "links: "  # how the note begins that an exception carries
_DEFINITE: Final = (Skip, Hold, Fail, PauseJob)  # the service has answered, though not what was hoped for

# What RateLimited named as the scope of links that declare none; known to this process, as long as the link is there.
_LEARNED: Final[WeakKeyDictionary[Link, str]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a chain came to when a link answered: `why` says why the earlier ones did not, None when it was the first.

    `value` is the link's own, or what is kept of it.
    """

    value: object
    link: str
    why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What a chain needs of the attempt that goes along it.

    `values` are what the holes of a scope may name, `over` says whether the attempt was called off, `never` are
    exceptions that no other link can do better, as they are the engine's own.
    """

    call: Callable[[Link], Awaitable[object]]
    values: Callable[[], Mapping[str, Any]]
    over: Callable[[], bool]
    never: tuple[type[Exception], ...]


def story_of(error: BaseException) -> str | None:
    """What happened along the links before this exception ended a chain; None where there was no other link."""
    told = [note for note in getattr(error, "__notes__", ()) if note.startswith(_TOLD)]
    return told[-1].removeprefix(_TOLD) if told else None


class Chain:
    """One attempt's way; `go` once."""

    def __init__(self, spec: JobSpec, doors: Doors, scopes: Scopes) -> None:
        self._spec = spec
        self._doors = doors
        self._scopes = scopes
        self._notes: list[str] = []  # why each link so far did not answer
        self._last: Exception | None = None  # what the last link that was called came to
        self._real: Exception | None = None  # the last one that was not simply rate limited
        self._waits: list[tuple[int, str]] = []  # of links that cool or were limited: how long, which scope

    async def go(self) -> object:
        """`Answered`, or the outcome or exception that the attempt comes to."""
        links = self._spec.links
        for place, link in enumerate(links):
            if self._last is not None:
                if self._over(self._last, links[place:]):
                    break
                if not link.takes(self._last):
                    self._note(link, f"not for {type(self._last).__name__}")
                    continue
            scope = self._scope_of(link)
            if scope is not None and (wait_ms := self._scopes.wait_ms(scope)) > 0:
                self._waits.append((wait_ms, scope))
                self._note(link, f"cooling for {_roughly(wait_ms)}")
                continue
            came = await self._called(link)
            if scope is not None and isinstance(came, (Answered, *_DEFINITE)):
                await self._scopes.worked(scope)
            if isinstance(came, Answered):
                return came
            await self._learn(link, scope, came)
        return self._came_to()

    def _over(self, last: Exception, rest: tuple[Link, ...]) -> bool:
        """Whether nobody is left to stand in for what the last link came to."""
        hopeless = isinstance(last, self._doors.never) or not any(link.takes(last) for link in rest)
        return hopeless or self._doors.over()

    def _scope_of(self, link: Link) -> str | None:
        """What a link is known to belong to: its own scope, filled for this run, or the one its service named."""
        if link.scope is None:
            return _LEARNED.get(link)
        return filled(link.scope, self._doors.values()) if is_open_template(link.scope) else link.scope

    async def _called(self, link: Link) -> Answered | Exception:
        """What a link answers, or the outcome or exception that it came to."""
        limit_ms = link.timeout_ms
        if limit_ms is None and link.is_async and not self._spec.is_async:
            # Where an attempt begins in a thread, its own time limit ends the attempt and leaves its task alone.
            limit_ms = self._spec.timeout_ms
        limit = asyncio.timeout(None if limit_ms is None else limit_ms / 1000)
        try:
            async with limit:
                came = await self._doors.call(link)
        except TimeoutError as error:
            if limit.expired():
                error.args = (f"the link {link.name} took longer than {duration_text(limit_ms or 0)}",)
            return error
        except Exception as error:  # noqa: BLE001 -- whatever a link raises is why it did not answer
            return error
        if isinstance(came, Outcome):
            return came
        return Answered(value=came, link=link.name, why=self._story() if self._notes else None)

    async def _learn(self, link: Link, scope: str | None, came: Exception) -> None:
        """Note what a link came to, here and for its scope."""
        self._last = came
        self._note(link, _said(came))
        if isinstance(came, RateLimited):
            await self._cool(link, scope, came)
            return
        self._real = came
        if scope is not None and is_failure(came) and self._scopes.failed(scope):
            reason = f"{link.name} of {self._spec.name} failed again and again: {_said(came)}"
            await self._scopes.cool([scope], None, reason)

    async def _cool(self, link: Link, scope: str | None, came: RateLimited) -> None:
        """Tell everyone at once that the service said "too often"."""
        self._waits.append((COOL_MS if came.after_ms is None else came.after_ms, came.scope))
        reason = f"{link.name} of {self._spec.name}: {came.reason}"
        if link.scope is None and not narrow(came.scope, self._doors.values()):
            _LEARNED[link] = came.scope  # before the store is told, which may take its time
        scopes = {came.scope} if link.scope is None or scope is None else {came.scope, scope}
        await self._scopes.cool(sorted(scopes), came.after_ms, reason)

    def _came_to(self) -> Exception:
        """The last real failure; where there was none, the soonest end of all cool-downs."""
        if self._last is not None and len(self._notes) == 1:
            return self._last  # it ended the chain at once, and speaks for itself
        if self._real is not None:
            return _telling(self._real, self._story())
        wait_ms, scope = min(self._waits)
        limited = RateLimited(scope, timedelta(milliseconds=wait_ms))
        limited.reason = self._story()
        return limited

    def _note(self, link: Link, why: str) -> None:
        self._notes.append(f"{link.name}: {why}")

    def _story(self) -> str:
        return clean_text("; ".join(self._notes), most=STORY_MOST)


def _telling(came: Exception, story: str) -> Exception:
    """The same with the whole story: an outcome as its reason, an exception as a note beside its own words."""
    if not isinstance(came, Outcome):
        others = [note for note in getattr(came, "__notes__", ()) if not note.startswith(_TOLD)]
        came.__notes__ = [*others, f"{_TOLD}{story}"]  # one object may be raised again and again: one story each time
        return came
    try:
        told = copy.copy(came)  # the handler may keep one outcome and return it again and again
    except TypeError:
        return came  # a kind of the user's own that cannot be made anew from its arguments
    told.reason = story
    return told


def _said(came: Exception) -> str:
    """Why a link did not answer, in its own words: one line."""
    words = clean_text(" ".join(str(came).split()), most=NOTE_MOST)
    kind = type(came).__name__
    if isinstance(came, Outcome):
        return words or kind
    return f"{kind}: {words}" if words else kind


def _roughly(wait_ms: int) -> str:
    """A wait in one unit, rounded up: cool-downs are told, not measured."""
    unit, letter = (HOUR_MS, "h") if wait_ms >= 2 * HOUR_MS else (MINUTE_MS, "m")
    if wait_ms < 2 * MINUTE_MS:
        unit, letter = SECOND_MS, "s"
    return f"{-(-wait_ms // unit)}{letter}"
