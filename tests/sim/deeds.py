"""What handlers do: end well, fail in every way the design knows, outlive their time, freeze or kill their process.

Always true: a deed is drawn when the handler is called, from the world's own dice; once the world is calm every
handler ends well at once.

Not here: what becomes of it (the engine), whether that was right (checks).
"""

from asyncio import CancelledError
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from rota import Fail, Hold, Member, PauseJob, RateLimited, Retryable, Run, Skip, Snooze
from tests.sim.loop import PROCESS, rest
from tests.sim.plan import JobPlan

if TYPE_CHECKING:
    from tests.sim.world import World

OUTCOMES: dict[str, Callable[[Random], BaseException]] = {
    "raises": lambda dice: ValueError(f"code {dice.randrange(3)}"),
    "retryable": lambda dice: Retryable("busy", f"{dice.randint(1, 600)}s"),
    "snoozes": lambda dice: Snooze(f"{dice.randint(1, 3600)}s"),
    "skips": lambda _dice: Skip("nothing new"),
    "holds": lambda _dice: Hold("consent revoked"),
    "fails": lambda _dice: Fail("gone for good"),
    "limited": lambda dice: RateLimited("service", f"{dice.randint(1, 300)}s"),
    "pauses": lambda _dice: PauseJob("bad key"),
}
USUAL_S = 20.0  # what a handler takes at most when all is well


class Deeds:
    """The handlers of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._dice = Random(f"{world.plan.seed} deeds")
        self.calm = False

    def handler(self, one: JobPlan) -> Callable[..., Any]:
        """A handler for a job, with the parameters that fit it."""
        if one.name == "one_off":

            async def call(number: int, run: Run) -> None:
                await self._do(run)

        elif one.plain:
            return self._plain(one)
        elif one.roster is not None:

            async def call(member: Member, run: Run) -> None:
                await self._do(run)

        else:

            async def call(run: Run) -> None:
                await self._do(run)

        return call

    def _plain(self, one: JobPlan) -> Callable[..., Any]:
        if one.roster is not None:

            def call(member: Member, run: Run) -> None:
                self._do_plainly(run)
        else:

            def call(run: Run) -> None:
                self._do_plainly(run)

        return call

    def _begin(self, run: Run) -> str | None:
        """Note the start and draw a deed."""
        process = PROCESS.get()
        assert process is not None
        self._world.watch.started(process, run.turn, run.number, run.attempt)
        if self.calm:
            return None
        for deed, rate in self._world.plan.deeds.items():
            if self._dice.random() < rate:
                self._world.watch.sometimes[f"deed {deed}"] += 1
                return deed
        return None

    def _do_plainly(self, run: Run) -> None:
        deed = self._begin(run)
        if deed in OUTCOMES:
            raise OUTCOMES[deed](self._dice)

    async def _do(self, run: Run) -> None:
        deed = self._begin(run)
        if self.calm:
            return
        before_s = self._dice.random() * USUAL_S
        if self._dice.random() < 0.5:
            await rest(before_s)
        if deed in OUTCOMES:
            raise OUTCOMES[deed](self._dice)
        if deed is not None:
            await getattr(self, f"_{deed}")(run)

    async def _overruns(self, run: Run) -> None:
        await rest(20_000)

    async def _lingers(self, run: Run) -> None:
        await rest(self._dice.random() * 1_000)

    async def _deaf(self, run: Run) -> None:
        """Swallows its cancellation, several times."""
        for _ in range(3):
            try:
                await rest(4_000)
            except CancelledError:
                continue

    async def _freezes(self, run: Run) -> None:
        process = PROCESS.get()
        assert process is not None
        self._world.watch.note(process.name, "is frozen by its handler")
        process.freeze()
        seconds = 10 ** (self._dice.random() * 4)
        self._world.thaw_in(process, seconds)
        await rest(0)

    async def _kills(self, run: Run) -> None:
        self._world.killed(PROCESS.get())
        await rest(0)

    async def _steps(self, run: Run) -> None:
        await run.step("first", lambda: {"n": 1})
        await run.progress(1, 2)
        await rest(self._dice.random() * USUAL_S)
        if self._dice.random() < 0.5:
            raise OUTCOMES["raises"](self._dice)
        await run.step("second", lambda: {"n": 2})

    async def _enqueues(self, run: Run) -> None:
        await self._world.enqueue(PROCESS.get(), f"from {run.id}")
