"""One attempt, as a pipeline of small named steps: decode, call in the right place, note what came.

Always true: every attempt comes to exactly one value, outcome or exception, which `run` returns and never
raises; a cancellation that rota did not ask for is the handler's own failure.

Not here: what it means for the turn (settle.py), time limits and fences (pump.py keeps those from outside),
which of several links is called (chain.py).
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import Final, Protocol

import msgspec

from rota.clock import Clock
from rota.define.current import CURRENT
from rota.define.job import JobSpec
from rota.define.link import Link
from rota.define.outcome import Fail, Outcome, Skip
from rota.define.roster import Member
from rota.define.run import Run
from rota.define.stored import encode_result, read_object
from rota.engine.chain import Answered, Chain, Doors
from rota.engine.scopes import Scopes
from rota.engine.settle import Lost, ProcessDied, Released
from rota.engine.shared import values_for
from rota.errors import BadInput, LeaseLost
from rota.turn.records import Claim

FRESH_S: Final = 1.0  # a handler starts this long after its claim began at most, else it asks again (G-17: two seconds)


class Places:
    """Where handlers that are not coroutines run: threads, and processes for `run_in="process"`."""

    def __init__(self, clock: Clock, most: int) -> None:
        self._clock = clock
        self._most = most
        self._threads: ThreadPoolExecutor | None = None
        self._processes: ProcessPoolExecutor | None = None

    async def call(
        self, spec: JobSpec, arguments: dict[str, object], function: Callable[..., object] | None = None
    ) -> object:
        """Call a plain function beside the event loop: the job's own handler, or one of its links."""
        handler = function or spec.handler
        if spec.run_in == "process":
            return await self._in_process(partial(call_isolated, handler, arguments))
        if self._clock.held:
            return handler(**arguments)  # in a held world nothing runs beside the loop
        context = contextvars.copy_context()
        call = partial(self._promptly, self._clock.monotonic(), partial(handler, **arguments))
        return await self._submit(self._thread_pool(), partial(context.run, call))

    def _promptly(self, given_s: float, call: Callable[[], object]) -> object:
        """In the thread: a process frozen on the way to it has to look at the store again first (G-17)."""
        if self._clock.monotonic() - given_s > FRESH_S:
            raise Released("not started: it was given to a thread too long ago")
        return call()

    async def _in_process(self, call: Callable[[], object]) -> object:
        pool = self._process_pool()
        try:
            return await self._submit(pool, call)
        except BrokenExecutor:
            if self._processes is pool:
                self._processes = None  # the next one gets new processes
            raise ProcessDied("the process it ran in has died, by its own doing or a neighbour's") from None

    async def _submit(self, pool: Executor, call: Callable[[], object]) -> object:
        return await asyncio.wrap_future(pool.submit(call))

    def _thread_pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="rota-handler")
        return self._threads

    def _process_pool(self) -> ProcessPoolExecutor:
        if self._processes is None:
            self._processes = ProcessPoolExecutor(min(self._most, 8), mp_context=get_context("spawn"))
        return self._processes

    def close(self) -> None:
        """End the pools without waiting for handlers that are stuck."""
        for pool in (self._threads, self._processes):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)
        self._threads = self._processes = None


def call_isolated(handler: Callable[..., object], arguments: dict[str, object]) -> object:
    """Runs in the other process: an exception comes back as text where it cannot travel."""
    try:
        return handler(**arguments)
    except Outcome:
        raise
    except (TimeoutError, ConnectionError) as error:  # these say that a service is at fault, here as there
        kind = TimeoutError if isinstance(error, TimeoutError) else ConnectionError
        raise kind(str(error)) from None
    except Exception as error:  # noqa: BLE001 -- raised again in a form that can travel
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


class MakeRun(Protocol):
    """Makes the `Run` of a claim."""

    def __call__(self, spec: JobSpec, claim: Claim, member: Member | None) -> Run:
        """The object a handler gets."""


async def run(spec: JobSpec, claim: Claim, make_run: MakeRun, places: Places, scopes: Scopes) -> object:
    """The whole way of one attempt: a value (JSON text where it is kept), `Answered`, an outcome or an exception."""
    if claim.failed and spec.if_failed == "skip":
        return Skip("what it follows failed")
    try:
        member = member_of(claim) if claim.member is not None else None
        this = make_run(spec, claim, member)
        arguments = spec.arguments.call_args(member, this, claim.args)
    except BadInput as error:
        return Fail(str(error))
    except msgspec.DecodeError as error:
        return Fail(f"the data of {claim.roster}/{claim.member} is not JSON any more: {error}")
    CURRENT.set(this)  # never reset: every attempt is a task of its own, and the variable ends with it
    try:
        if spec.links:
            return await _along_links(spec, claim, this, places, scopes)
        came = await spec.handler(**arguments) if spec.is_async else await places.call(spec, arguments)
        return _kept(spec, came)
    except Exception as error:  # noqa: BLE001 -- the one place: whatever a handler raises is what the attempt came to
        return error


async def _along_links(spec: JobSpec, claim: Claim, this: Run, places: Places, scopes: Scopes) -> object:
    """The way of an attempt whose job has fallbacks."""

    async def call(link: Link) -> object:
        arguments = _arguments_of(link, spec, claim, this)
        if link.is_async:
            return await link.function(**arguments)
        return await places.call(spec, arguments, link.function)

    doors = Doors(call=call, values=partial(values_for, claim), over=lambda: this.cancelled, never=(Lost, LeaseLost))
    came = await Chain(spec, doors, scopes).go()
    return replace(came, value=_kept(spec, came.value)) if isinstance(came, Answered) else came


def _arguments_of(link: Link, spec: JobSpec, claim: Claim, this: Run) -> dict[str, object]:
    """What a link is called with, made anew for each, so that none finds what another has changed."""
    takes = link.arguments
    given = spec.arguments.unpack(claim.args)
    arguments: dict[str, object] = {name: given[name] for name in takes.parameters if name in given}
    if takes.takes_member:
        arguments |= dict.fromkeys(takes.member_names, member_of(claim))
    return arguments | dict.fromkeys(takes.run_names, this)


def _kept(spec: JobSpec, came: object) -> object:
    """A plain value is dropped, or encoded where the job keeps its last result; outcomes pass."""
    if came is None or isinstance(came, Outcome):
        return came
    return encode_result(came) if spec.keep == "latest" else None


def member_of(claim: Claim) -> Member:
    """The member as it was when its turn was claimed."""
    data = read_object(claim.data)
    return Member(claim.member or "", claim.zone, data, claim.owner, claim.weight or 1, roster=claim.roster or "")
