"""The heart: one transaction after the other, each ending what has ended and claiming what is due.

While a transaction is on its way, more attempts end; they go out with the next. So batches grow with the
load by themselves and nothing waits for a timer. Tick and worker drive the same pump.

Always true: no more is claimed than there are free places; every attempt that was begun is settled, or its
lease was lost and nothing is written; a handler starts within a second of a transaction that saw no stop,
or asks again first (G-17).

Not here: when to pump (worker.py, tick.py), what an end means (settle.py).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from rota.define.job import JobSpec
from rota.define.outcome import PauseJob
from rota.define.roster import Member
from rota.define.run import Run
from rota.define.units import duration_text
from rota.engine import attempt
from rota.engine.admit import Admission, apart, last_loss
from rota.engine.ends import Ends
from rota.engine.lane import Lane, Running
from rota.engine.port import MOVED, Port
from rota.engine.scopes import Scopes
from rota.engine.settle import Cancelled, Ended, Fenced, Lost, Released, TimedOut, end_of, word_of
from rota.engine.tell import tell_end, tell_fenced, tell_start
from rota.engine.together import run_together
from rota.errors import StoreUnavailable
from rota.store import claiming, gates, pauses, reconcile, turns
from rota.store.consequences import locks_shared
from rota.store.port import Op, query
from rota.store.store import Store
from rota.store.turns import Claimed, Held, Settled
from rota.turn.gates import EARLY_MS
from rota.turn.records import Claim, Ending, Judged, Well

AT_ONCE: Final = 64  # handlers begun between two looks at the store's line, so that it is not idle while they run
NEVER_S: Final = float("inf")
_CANCELLED: Final = "the handler was cancelled by something other than rota"
STUBBORN_S: Final = 5.0  # a coroutine that swallows its cancellation is given up after this: its place is stuck


def _nobody(_end: Ending, _accepted: bool) -> None:  # noqa: FBT001 -- the form of `Pump.ended`
    """Hears of ends where nobody asked to."""


class Pump:
    """Claims, runs and settles for one incarnation."""

    def __init__(self, store: Store, incarnation: str, admission: Admission, *, most: int) -> None:
        self.store = store
        self.incarnation = incarnation
        self.admission = admission
        self.running: dict[int, Running] = {}
        self._placed: deque[Running] = deque()  # those of them that have no task yet
        self._starting = False  # whether the loop goes on with them by itself
        self.stuck: set[Running] = set()  # ended for the store, but their handlers will not let go of their places
        self.ends: list[Ending] = []
        self.stirred = asyncio.Event()
        self.claiming = True
        self.fenced = 0
        self.completed: dict[tuple[int, int], Ending] = {}  # attempts settled inside their caller's transaction
        self._places = attempt.Places(store.clock, most)
        self.scopes = Scopes(store)
        self._ends = Ends(admission.catalog, self.scopes, store.clock, incarnation)
        self._port = Port(self)
        self._store_id = ""
        self.lanes: list[Lane] = []
        self._fused = store.db.dialect == "postgres"
        self._moved: set[int] = set()  # turns whose slot is to be computed anew, kept until that is done
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_at_s = NEVER_S
        self._seen_s = 0.0  # when the claim on its way had its turns
        self._unknown = False  # a claim's answer was lost: the store may hold turns for us that we do not know of
        self._repeated = False  # a settle's answer was lost: what it refuses now it may have accepted then
        self.ended: Callable[[Ending, bool], None] = _nobody

    async def learn(self) -> None:
        """Ask the store who it is (idempotency keys carry its name), and tell it which scopes close which jobs."""
        shared = {name: gates.closing(spec) for name, spec in self.admission.catalog.jobs.items()}
        await self.store.write(lambda: gates.declare(shared))
        await self.scopes.refresh()
        rows = await self.store.read(lambda: query("meta", name="store"))
        self._store_id = rows[0][0] if rows else ""

    @property
    def unsure(self) -> bool:
        """Whether the store may hold turns for us that we do not know of."""
        return self._unknown

    # -- one transaction ---------------------------------------------------------------------------

    async def turn_over(self, lane: Lane | None, cutoff_at: int = turns.NEVER_MS) -> Claimed | None:
        """Settle what has ended and claim for a lane, in one transaction; None when nothing was claimed for."""
        if self._unknown:
            await self._adopt()
        ends: list[Ending] = []
        if lane is not None and any(map(locks_shared, self.ends)):
            await self.turn_over(None)  # apart, as a claim locks jobs and buckets too
        else:
            ends, self.ends = self.ends, []
        free = lane.free if lane is not None and self.claiming else 0
        if not ends and not free:
            return None
        began_s = self.store.clock.monotonic()
        try:
            settled, claimed = await self.store.write(
                lambda: self._settle_and_claim(ends, lane, free, cutoff_at), gate="shared" if free else None
            )
        except (StoreUnavailable, asyncio.CancelledError):
            self.ends = ends + self.ends
            self._unknown = self._repeated = True
            raise
        except Exception as error:
            if not ends or (len(ends) == 1 and not free):
                raise
            self.store.events.tell("error", self.store.clock.now_ms(), what="a transaction", error=repr(error))
            self.ends = ends + self.ends
            await self._settle_one_by_one()
            return None
        self._ends.acknowledged(ends)
        if claimed is not None and lane is not None:
            lane.more = not claimed.exhausted and len(claimed.run) + claimed.put_back >= free
            self._start_all(claimed, lane, began_s)
        await self._after_settle(ends, settled)
        return claimed

    def _settle_and_claim(
        self, ends: Sequence[Ending], lane: Lane | None, free: int, cutoff_at: int
    ) -> Op[tuple[Settled, Claimed | None]]:
        settled = Settled(set(), {})
        if ends:
            settled = yield from turns.settle(ends, self.incarnation, fused=self._fused)
        if not free or lane is None:
            return settled, None
        want = claiming.Want(
            most=free,
            whole=lane.whole,
            places=lane.most,
            cutoff_at=cutoff_at,
            fused=self._fused,
            early_ms=0 if self.store.clock.held else EARLY_MS,
            deep=lane.deep,
        )
        claimed = yield from claiming.claim(lane.asks, want, self.incarnation, self._judge)
        return settled, claimed

    def _judge(self, claims: list[Claim]) -> Op[Judged]:
        self._seen_s = self.store.clock.monotonic()
        judged = yield from self.admission.judge(claims)
        if any(claim.losses for claim in judged.run):
            jobs = self.admission.catalog.jobs
            apart(judged, jobs, taken=any(last_loss(one.claim, jobs) for one in self.running.values()))
        return judged

    async def _after_settle(self, ends: Sequence[Ending], settled: Settled) -> None:
        if self._repeated and len(settled.accepted) < len(ends):
            await self._ask_what_happened(ends, settled)
        self._repeated = False
        inside = await self._ended_inside(ends, settled) if self.completed else {}
        silent = self.ended is _nobody and not self.store.events.heard
        for end in ends:
            if silent and type(end) is Well and settled.took(end):
                continue  # most ends, and nobody wants to hear of them
            true = inside.get((end.claim.id, end.claim.attempt))
            accepted = true is not None or settled.took(end)
            if not accepted:
                self.fenced += 1
            tell_end(self.store, true or end, accepted=accepted)
            self.ended(true or end, accepted)
        self._moved.update(turn for turn, bits in settled.tend.items() if bits & MOVED)
        if self._moved:
            moved = sorted(self._moved)
            await self.store.write(lambda: reconcile.tend(self.store.catalog, moved))
            self._moved.difference_update(moved)

    async def _ended_inside(self, ends: Sequence[Ending], settled: Settled) -> dict[tuple[int, int], Ending]:
        """Of the ends that were refused, those whose attempts had ended inside their caller's transaction, and how.

        The transaction is the truth: what the handler came to afterwards changes nothing, what was rolled back never
        was. A success that leaves no journal row is believed.
        """
        known = {fence: end for end in ends if (fence := (end.claim.id, end.claim.attempt)) in self.completed}
        found = {fence: self.completed.pop(fence) for fence in known}
        refused = {fence: found[fence] for fence, end in known.items() if not settled.took(end)}
        with contextlib.suppress(StoreUnavailable):
            asked = [end for end in refused.values() if end.journal]
            done = await self.store.read(lambda: turns.already_settled(asked)) if asked else set()
            return {fence: end for fence, end in refused.items() if not end.journal or end.claim.id in done}
        return refused

    async def _ask_what_happened(self, ends: Sequence[Ending], settled: Settled) -> None:
        """After a lost answer: what the store has of ours already is accepted, what it holds for us is taken up."""
        missing = [end for end in ends if end.claim.id not in settled.accepted]
        done = await self.store.read(lambda: turns.already_settled(missing))
        settled.accepted.update(done)

    async def _adopt(self) -> None:
        """Take up what a claim gave us whose answer was lost."""
        began_s = self.store.clock.monotonic()
        held, claims = await self.store.read(self._held_unknown)
        for claim in claims:
            lane = next((lane for lane in self.lanes if claim.job in lane.specs), None)
            if lane is None:
                continue
            if held.stopped or not self.claiming:
                came, facts = Released("not started: a stop"), Ended(self.incarnation, None, 0, 0.0)
                self.ends.append(end_of(self.admission.catalog, lane.specs[claim.job], claim, came, facts))
            else:
                self.start(claim, lane, began_s)
        self._unknown = False

    def _held_unknown(self) -> Op[tuple[Held, list[Claim]]]:
        """What the store says we hold and we do not know of, and whether everything is stopped, at one moment."""
        held = yield from turns.held(self.incarnation)
        ending = {end.claim.id for end in self.ends}
        unknown = [turn for turn in held.attempts if turn not in self.running and turn not in ending]
        return held, (yield from turns.by_id(unknown))

    async def _settle_one_by_one(self) -> None:
        """Something in a batch cannot be stored: find it, and end that run as dead with the reason."""
        ends, self.ends = self.ends, []
        for end in ends:
            try:
                settled = await self.store.write(lambda end=end: turns.settle([end], self.incarnation))  # type: ignore[misc]
            except StoreUnavailable:
                self.ends.append(end)
                continue
            except Exception as error:  # noqa: BLE001 -- the one place: the run must end whatever it came to
                facts = Ended(self.incarnation, end.started_at, end.busy_ms, 0.0)
                spec = self.admission.catalog.jobs[end.claim.job]
                lost = Lost(f"its end could not be stored ({type(error).__name__})")
                plain = end_of(self.admission.catalog, spec, end.claim, lost, facts)
                settled = await self.store.write(lambda plain=plain: turns.settle([plain], self.incarnation))  # type: ignore[misc]
            await self._after_settle([end], settled)

    # -- starting and ending -----------------------------------------------------------------------

    def _start_all(self, claimed: Claimed, lane: Lane, began_s: float) -> None:
        """Begin what was claimed; what one call of a handler works on together begins together."""
        together: dict[str, list[Claim]] = {}
        for claim in claimed.run:
            if lane.specs[claim.job].arguments.takes_members:
                together.setdefault(claim.job, []).append(claim)
            else:
                self.start(claim, lane, began_s)
        for claims in together.values():
            self._start_together(claims, lane, began_s)
        for turn, probes in claimed.probes.items():
            self.running[turn].probes = probes
        for turn, start_at in claimed.starts.items():
            one = self.running[turn]
            one.from_s = one.seen_s + (start_at - one.claim.claimed_at) / 1000

    def start(self, claim: Claim, lane: Lane, began_s: float) -> None:
        """Begin an attempt, in the next turn of the loop or after those before it."""
        self._placed.append(self._place(claim, lane, began_s))
        if not self._starting:
            self._starting = True
            asyncio.get_running_loop().call_soon(self._start_some)

    def _start_some(self) -> None:
        """Begin some of those that have a place; the next ones after the loop has seen what came meanwhile."""
        loop = asyncio.get_running_loop()
        for _ in range(min(AT_ONCE, len(self._placed))):
            one = self._placed.popleft()
            if self.running.get(one.claim.id) is one:  # else it was stopped before it began
                one.task = loop.create_task(self._attempt(one))
        self._starting = bool(self._placed)
        if self._starting:
            loop.call_soon(self._start_some)

    def _start_together(self, claims: Sequence[Claim], lane: Lane, began_s: float) -> None:
        group = [self._place(claim, lane, began_s) for claim in claims]
        task = asyncio.get_running_loop().create_task(self._attempt_together(group))
        for one in group:
            one.group, one.task = group, task

    def _place(self, claim: Claim, lane: Lane, began_s: float) -> Running:
        spec = lane.specs[claim.job]
        one = Running(claim, spec, lane, began_s)
        one.known_s = self.store.clock.monotonic()
        if 0 < self._seen_s - began_s < attempt.FRESH_S:
            one.seen_s = self._seen_s
        self.running[claim.id] = one
        lane.used += 1
        if lane.left is not None:
            lane.left -= 1
        one.deadline_s = began_s + spec.timeout_ms / 1000
        if one.deadline_s < self._sweep_at_s:
            self._sweep_from(one.deadline_s)
        return one

    def _sweep_from(self, deadline_s: float) -> None:
        """Look for what is past its time limit at the earliest of all limits: one timer for any number of attempts."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep_at_s = deadline_s
        wait_s = max(0.0, deadline_s - self.store.clock.monotonic())
        self._sweeper = asyncio.get_running_loop().call_later(wait_s, self._sweep)

    def _sweep(self) -> None:
        now_s = self.store.clock.monotonic()
        self._sweeper, self._sweep_at_s = None, NEVER_S
        for one in list(self.running.values()):
            if one.why is None and one.deadline_s <= now_s:
                self.stop(one.claim.id, TimedOut(f"timed out after {duration_text(one.spec.timeout_ms)}"))
        soonest_s = min((one.deadline_s for one in self.running.values() if one.why is None), default=NEVER_S)
        if soonest_s < NEVER_S:
            self._sweep_from(soonest_s)

    async def _attempt(self, one: Running) -> None:
        one.begun, came = True, None
        try:
            if one.spec.links:
                await self.scopes.refresh()  # a wait, so before the last look
            if one.from_s or self.store.clock.monotonic() - one.started_s > attempt.FRESH_S:
                await self._look_again([one])
            if self._begins(one):
                came = await attempt.run(one.spec, one.claim, self._make_run, self._places, self.scopes)
            if isinstance(came, PauseJob):
                await self.pause_job(one.spec, came.reason)  # before its end is written, or it would be claimed again
        except asyncio.CancelledError:
            came = one.why or RuntimeError(_CANCELLED)
        finally:
            one.lane.used -= 1
            self.stuck.discard(one)
            self.stirred.set()
        self.finish(one, word_of(came, one.why))

    async def _attempt_together(self, group: list[Running]) -> None:
        """One call of the handler for all of a batch that may start; whoever was called off meanwhile has ended."""
        came: dict[Running, object] = dict.fromkeys(group, RuntimeError(_CANCELLED))
        for one in group:
            one.begun = True
        try:
            await self._look_again(group)
            begun = [one for one in group if self._begins(one)]
            if begun:
                claims = [one.claim for one in begun]
                found = await run_together(begun[0].spec, claims, self._make_run, self._places)
                came.update(zip(begun, found, strict=True))
        except asyncio.CancelledError:
            pass  # each has its reason, or the common one
        finally:
            group[0].lane.used -= len(group)
            self.stirred.set()
        for one, its in came.items():
            if isinstance(its, PauseJob):
                await self.pause_job(one.spec, its.reason)
            self.finish(one, word_of(its, one.why))

    async def _look_again(self, group: Sequence[Running]) -> None:
        """Wait until they may start; then, long after their claim: which leases are ours, and nothing is stopped."""
        clock = self.store.clock
        wait_s = max(one.from_s for one in group) - clock.monotonic()
        if wait_s > 0:
            await clock.sleep(wait_s)
        if clock.monotonic() - min(one.started_s for one in group) > attempt.FRESH_S:
            held = await self._still_held()
            for one in group:
                if held.get(one.claim.id) != one.claim.attempt:
                    one.why = one.why or Released("not started: a stop, or the lease was lost meanwhile")

    def _begins(self, one: Running) -> bool:
        """The last look before the handler: not called off, not lost too often, its scope does not cool."""
        if one.why is None and one.claim.losses >= one.spec.max_lost:  # given back by those who do not know it (G-8)
            one.why = Lost("given back by a process that does not know the job")
        if one.why is None and (cools := self._ends.cools(one)) is not None:
            one.why = Released(f"not started: {cools} is cooling down")
        if one.why is not None:
            return False
        now_s = one.started_s = self.store.clock.monotonic()
        one.started_at = one.claim.claimed_at + int((now_s - one.seen_s) * 1000)
        if self.store.events.heard:
            tell_start(self.store, one.claim)
        return True

    async def _still_held(self) -> Mapping[int, int]:
        """Frozen between claim and start: what the store says we hold, nothing where everything is stopped."""
        asked_s = self.store.clock.monotonic()
        try:
            held = await self.store.read(lambda: turns.held(self.incarnation))
        except StoreUnavailable:
            return {}
        fresh = self.store.clock.monotonic() - asked_s <= attempt.FRESH_S
        return held.attempts if fresh and not held.stopped else {}

    def _make_run(self, spec: JobSpec, claim: Claim, member: Member | None) -> Run:  # noqa: ARG002 -- the form of MakeRun
        return Run(
            claim.id,
            claim.run,
            claim.attempt,
            claim.tries,
            claim.job,
            claim.roster,
            claim.member,
            None if claim.manual else claim.slot_at,
            claim.due_at or claim.claimed_at,
            claim.claimed_at + spec.timeout_ms,
            self._store_id,
            self._port,
        )

    def finish(self, one: Running, came: object) -> None:
        """An attempt has come to something: note its end and stir the loop."""
        claim = one.claim
        if self.running.get(claim.id) is not one:
            return  # ended already: a stuck handler has come back, and the turn may be running anew
        del self.running[claim.id]
        if one.timer is not None:
            one.timer.cancel()
        if isinstance(came, Fenced):
            self.completed.pop((claim.id, claim.attempt), None)
            self.fenced += 1
            tell_fenced(self.store, claim, self.incarnation, str(came))
            self.stirred.set()
            return
        self.ends.append(self._ends.of(one, came))
        self.stirred.set()

    def end_of(self, one: Running, came: object) -> Ending:
        """The end of an attempt that came to this."""
        return self._ends.of(one, came)

    def stop(self, turn: int, why: Exception) -> None:
        """Cancel an attempt: time over, a person's wish, a drain, a fence."""
        one = self.running.get(turn)
        if one is None:
            return
        if one.group is not None:
            self._stop_in_group(one, one.group, why)
            return
        if not one.begun:
            # A task that is cancelled before its first step never runs: nobody else would free its place and end it.
            if one.task is not None:
                one.task.cancel()
            one.lane.used -= 1
            self.finish(one, why)
            return
        if not one.spec.is_async or one.why is not None:
            # A thread cannot be cancelled, and some coroutines will not be: the run ends here, its place is stuck.
            one.why = one.why or why
            self.stuck.add(one)
            self.finish(one, one.why)
            return
        one.why = why
        if one.task is not None:
            one.task.cancel()
        one.timer = asyncio.get_running_loop().call_later(STUBBORN_S, self.stop, turn, why)

    def _stop_in_group(self, one: Running, group: list[Running], why: Exception) -> None:
        """One of a batch ends at once; the call goes on for the others, and is cancelled when nobody is left."""
        one.why = one.why or why
        self.finish(one, one.why)
        if not one.begun:
            group.remove(one)
            one.lane.used -= 1
        if one.task is not None and not any(self.running.get(other.claim.id) is other for other in group):
            one.task.cancel()

    def release_all(self, why: str) -> None:
        """Give everything back."""
        for turn in list(self.running):
            self.stop(turn, Released(why))

    def compare(self, asked_s: float, held: Held) -> None:
        """What the store says we hold against what we run: wishes to cancel, and leases that were lost."""
        for turn, one in list(self.running.items()):
            if one.known_s >= asked_s:
                continue
            if (turn, one.claim.attempt) in self.completed:
                continue  # ended inside its caller's transaction, or rolled back: what it settles is asked about
            if held.attempts.get(turn) != one.claim.attempt:
                self.stop(turn, Fenced("its lease was given to another"))
            elif turn in held.cancelled:
                self.stop(turn, Cancelled("cancelled by a person"))

    async def pause_job(self, spec: JobSpec, reason: str) -> None:
        """A handler found the job itself at fault: pause it for everyone, and say so once."""
        now_ms = self.store.clock.now_ms()
        try:
            first = await self.store.write(lambda: pauses.pause_job(spec.name, reason), gate="exclusive")
        except StoreUnavailable:
            return  # the next attempt says it again
        if first:
            self.store.events.tell("job.paused", now_ms, job=spec.name, by="rota", reason=reason)

    def close(self) -> None:
        """End the pools."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._places.close()
