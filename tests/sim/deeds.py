"""What handlers do: end well, fail in every way there is, outlive their time, freeze, block or kill their process.

Always true: a deed is drawn when the handler is called, from the seed, the turn and the attempt, so that leaving out
one kind of fault does not change the others; once the world is calm every handler ends well at once, but for what the
plan keeps broken.

Not here: what becomes of it (the engine), whether that was right (checks).
"""

from asyncio import CancelledError
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from rota import Fail, Hold, Member, PauseJob, RateLimited, Retryable, Run, Skip, Snooze
from rota.errors import LeaseLost
from tests.sim.blows import long_s
from tests.sim.checks_policies import filled, values_of
from tests.sim.loop import PROCESS, rest
from tests.sim.records import JobPlan, Turn

if TYPE_CHECKING:
    from tests.sim.world import World

OUTCOMES: dict[str, Callable[[Random], BaseException]] = {
    "raises": lambda dice: ValueError(f"code {dice.randrange(3)}"),
    "retryable": lambda dice: Retryable("busy", f"{dice.randint(1, 600)}s"),
    "snoozes": lambda dice: Snooze(f"{dice.randint(1, 3600)}s"),
    "skips": lambda _dice: Skip("nothing new"),
    "holds": lambda _dice: Hold("consent revoked"),
    "fails": lambda _dice: Fail("gone for good"),
    "limited": lambda dice: RateLimited(f"u{dice.randrange(3)}", f"{dice.randint(1, 300)}s"),
    "pauses": lambda _dice: PauseJob("bad key"),
}
VALUES: tuple[Any, ...] = (  # what a store may not take: a run must end all the same
    *("plain", {"rows": 7}, "nul \0 inside", "\ud800 alone", float("nan"), float("inf"), 10**400, object(), b"\xff"),
    *({1: "a key that is no text"}, [[]] * 5, "x" * 300_000),
)
ERRORS: tuple[BaseException, ...] = (
    ValueError("nul \0 inside"),
    ValueError("\ud800 alone"),
    ValueError("x" * 100_000),
    KeyError(("a", "tuple")),
    Retryable("nul \0 and \ud800"),
    Fail("\0"),
    Hold("\ud800"),
    Skip("y" * 50_000),
)
USUAL_S = 20.0  # what a handler takes at most when all is well
POISON = "poison"  # the key of the one-off that kills whoever runs it
REFUSED, FAILED = 0.2, 0.35  # how many links are refused, and up to where they fail
CURSED = "m0"  # the member that always fails, where the plan keeps one broken


class Deeds:
    """The handlers of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.calm = False

    def handler(self, one: JobPlan) -> Callable[..., Any]:
        """A handler for a job, with the parameters that fit it."""
        if one.name == "one_off":

            async def call(number: int, run: Run) -> Any:
                return await self._do(run, poison=number < 0)

        elif one.together:

            async def call(members: list[Member], run: Run) -> Any:
                return await self._do_together(run, [member.key for member in members])

        elif one.links:
            return self.link(one, 0)
        elif one.plain:
            return self._plain(one)
        elif one.roster is not None:

            async def call(member: Member, run: Run) -> Any:
                return await self._do(run)

        else:

            async def call(run: Run) -> Any:
                return await self._do(run)

        return call

    def link(self, one: JobPlan, place: int) -> Callable[..., Any]:
        """One link of a chain; the first is the job's handler."""
        if one.roster is not None:

            async def call(member: Member, run: Run) -> Any:
                return await self._answer(one, place, run, member.data)
        else:

            async def call(run: Run) -> Any:
                return await self._answer(one, place, run, {})

        call.__name__ = f"link{place}"
        return call

    def _plain(self, one: JobPlan) -> Callable[..., Any]:
        if one.roster is not None:

            def call(member: Member, run: Run) -> Any:
                return self._do_plainly(run)
        else:

            def call(run: Run) -> Any:
                return self._do_plainly(run)

        return call

    def _drawn(self, run: Run) -> tuple[str | None, Random]:
        """The deed of this attempt, and dice for it."""
        if self._world.plan.broken == "member" and run.member == CURSED and run.roster == "r0":
            return "raises", Random(run.attempt)
        return self._drawn_of(run.turn, run.attempt)

    def _drawn_for(self, turn: Turn) -> tuple[str | None, Random]:
        """The same for a member of a batch."""
        if self._world.plan.broken == "member" and turn.member == CURSED and turn.roster == "r0":
            return "raises", Random(turn.attempt)
        return self._drawn_of(turn.id, turn.attempt)

    def _drawn_of(self, turn: int, attempt: int) -> tuple[str | None, Random]:
        plan = self._world.plan
        if self.calm:
            return None, Random(0)
        for deed, rate in plan.deeds.items():
            dice = Random(f"{plan.seed} {deed} {turn} {attempt}")
            if dice.random() < rate:
                self._world.watch.sometimes[f"deed {deed}"] += 1
                return deed, dice
        return None, Random(f"{plan.seed} {turn} {attempt}")

    def _do_plainly(self, run: Run) -> Any:
        process = PROCESS.get()
        assert process is not None
        start = self._world.watch.started(process, run)
        try:
            deed, dice = self._drawn(run)
            if deed in OUTCOMES:
                raise OUTCOMES[deed](dice)
            if deed == "refused":
                raise self._refusal(run, dice)
            return self._odd(dice) if deed == "unstorable" else None
        finally:
            self._world.watch.returned(process, start)

    async def _do(self, run: Run, *, poison: bool = False) -> Any:
        process = PROCESS.get()
        assert process is not None
        start = self._world.watch.started(process, run)
        try:
            if poison:
                self._world.watch.sometimes["poison started"] += 1
                await self._kills(run, Random(0))
            deed, dice = self._drawn(run)
            if not self.calm and dice.random() < 0.5:
                await rest(dice.random() * USUAL_S)
            if deed in OUTCOMES:
                raise OUTCOMES[deed](dice)
            return None if deed is None else await getattr(self, f"_{deed}")(run, dice)
        finally:
            self._world.watch.returned(process, start)

    async def _do_together(self, run: Run, keys: list[str]) -> Any:
        """A whole batch in one call: what each of its members comes to."""
        process, watch = PROCESS.get(), self._world.watch
        assert process is not None
        turns = [watch.standing(run.job, run.roster, key) for key in keys]
        ours = [turn for turn in turns if turn is not None and turn.worker and turn.worker.startswith(f"{process}.")]
        starts = [watch.started(process, turn) for turn in ours if turn.state == "running"]
        try:
            watch.sometimes["a batch in one call"] += len(keys) > 1
            drawn = [self._drawn_for(turn) if turn is not None else (None, Random(0)) for turn in turns]
            if not self.calm:
                await rest(drawn[0][1].random() * USUAL_S)
            for deed, dice in drawn:
                if deed in {"kills", "freezes", "overruns", "deaf"}:
                    await getattr(self, f"_{deed}")(run, dice)
            return [OUTCOMES[deed](dice) if deed in OUTCOMES else None for deed, dice in drawn]
        finally:
            for start in starts:
                watch.returned(process, start)

    async def _answer(self, one: JobPlan, place: int, run: Run, data: Mapping[str, Any]) -> Any:
        """A link of a chain: some are refused, some fail, most answer."""
        process, links, attempt = PROCESS.get(), self._world.policies.links, (run.turn, run.attempt)
        assert process is not None
        template = one.options.get("scope") if place == 0 else one.links[place - 1]
        scope = filled(template, data) if template is not None else f"{one.name} {place}"
        dice = Random(f"{self._world.plan.seed} link {place} {run.turn} {run.attempt}")
        self._world.watch.link_called(process, run, place)
        links.called(process, scope, self._world.loop.time())
        if not self.calm:
            await rest(dice.random() * USUAL_S)
            drawn = dice.random()
            if drawn < REFUSED:
                after_s = dice.randint(1, 2_000)
                links.refused(process, scope, self._world.loop.time() + after_s)
                raise RateLimited(scope, f"{after_s}s")
            if drawn < FAILED:
                raise dice.choice((Retryable("down"), TimeoutError("slow"), ValueError("odd")))
        links.answered(process, scope, attempt, f"link{place}")
        return None

    @staticmethod
    def _odd(dice: Random) -> Any:
        """Ends with something that cannot be stored as it is."""
        if dice.random() < 0.5:
            raise dice.choice(ERRORS)
        return dice.choice(VALUES)

    async def _unstorable(self, run: Run, dice: Random) -> Any:
        return self._odd(dice)

    def _refusal(self, run: Run, dice: Random) -> RateLimited:
        """The service says "too often", under a scope of the job where it has one."""
        spec = self._world.catalog.jobs[run.job]
        values = (
            values_of(self._world.watch, self._world.watch.turns[run.turn])
            if run.turn in self._world.watch.turns
            else {}
        )
        names = [limit.name for limit in spec.limits] + ([spec.scope] if spec.scope else [])
        scope = filled(dice.choice(names), values) if names else "service"
        after_ms = dice.randint(1, 2_000) * 1000
        self._world.policies.cools.refused(run.turn, run.attempt, scope, after_ms)
        return RateLimited(scope, f"{after_ms}ms")

    async def _refused(self, run: Run, dice: Random) -> None:
        raise self._refusal(run, dice)

    async def _spends(self, run: Run, dice: Random) -> None:
        """Makes more calls of a limit than the one that its start has paid."""
        process = PROCESS.get()
        limits = self._world.catalog.jobs[run.job].limits
        turn = self._world.watch.turns.get(run.turn)
        if not limits or turn is None:
            return
        limit, n = dice.choice(limits), dice.randint(1, 4)
        key = filled(limit.name, values_of(self._world.watch, turn))
        self._world.policies.limits.spends(process, limit, key, n)
        await run.spend(limit, n)

    async def _overruns(self, run: Run, dice: Random) -> None:
        await rest(20_000)

    async def _lingers(self, run: Run, dice: Random) -> None:
        await rest(dice.random() * 1_000)

    async def _deaf(self, run: Run, dice: Random) -> None:
        """Swallows its cancellation, several times."""
        for _ in range(3):
            try:
                await rest(4_000)
            except CancelledError:
                continue

    async def _freezes(self, run: Run, dice: Random) -> None:
        process = PROCESS.get()
        assert process is not None
        self._world.watch.note(process.name, "is frozen by its handler")
        process.freeze()
        self._world.thaw_in(process, long_s(dice, self._world.plan.pace))
        await rest(0)

    async def _blocks(self, run: Run, dice: Random) -> None:
        """Holds up the event loop; the lease is kept by a thread meanwhile."""
        process = PROCESS.get()
        assert process is not None
        self._world.watch.note(process.name, "is blocked by its handler")
        process.block()
        self._world.thaw_in(process, dice.random() * 200)
        await rest(0)

    async def _kills(self, run: Run, dice: Random) -> None:
        self._world.killed(PROCESS.get())
        await rest(0)

    async def _steps(self, run: Run, dice: Random) -> None:
        watch = self._world.watch
        first = await run.step("first", lambda: {"attempt": run.attempt})
        if first["attempt"] > run.attempt:
            watch.fail("steps", "a step came from the future:", first, run)
        watch.sometimes["step kept"] += first["attempt"] < run.attempt
        await run.progress(1, 2)
        await rest(dice.random() * USUAL_S)
        if dice.random() < 0.5:
            raise OUTCOMES["raises"](dice)
        await run.step("second", lambda: {"n": 2})

    async def _enqueues(self, run: Run, dice: Random) -> None:
        await self._world.enqueue(PROCESS.get(), f"from {run.id}")

    async def _twofold(self, run: Run, dice: Random) -> None:
        """Enqueues the same twice, as a handler that is tried again does (G-2)."""
        process = PROCESS.get()
        await self._world.enqueue(process, f"twice {run.id}")
        await rest(dice.random() * USUAL_S)
        await self._world.enqueue(process, f"twice {run.id}")

    async def _completes(self, run: Run, dice: Random) -> None:
        """Writes an effect together with its own success, sometimes after its lease is over (G-6)."""
        if dice.random() < 0.4:
            await self._freezes(run, dice)
        try:
            async with run.transaction() as db:
                db.execute("INSERT INTO sim_effect (turn, run, attempt) VALUES (?, ?, ?)", self._key(run))
                if dice.random() < 0.2:
                    raise ValueError("after its effect, before the commit")
        except LeaseLost:
            self._world.watch.sometimes["effect refused"] += 1
            raise

    @staticmethod
    def _key(run: Run) -> tuple[int, int, int]:
        return run.turn, run.number, run.attempt
