"""The store's clock is set back by hours: whatever is then placed anew, no slot that had its run comes again (G-12).

Always true: the clock shows the second of January, 09:00, when a slot of that instant is used up, and then the evening
before.

Not here: leases and leaps (test_leaps), the same with everything running (tests/sim).
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rota import CatchUp, Limit, Member, Retry, Retryable, Rota, Run, cron, daily
from tests.engine.conftest import Held, held_on
from tests.engine.test_leaps import HOUR_MS, LeapingClock

SLOT = datetime(2026, 1, 2, 9, tzinfo=UTC)
NEXT = SLOT + timedelta(days=1)
BACK_MS = -12 * HOUR_MS


@pytest.fixture
async def t(store_url: str) -> AsyncIterator[Held]:
    """An application on each store, whose clock can be set."""
    async for held in held_on(store_url, LeapingClock()):
        yield held


class Digest:
    """A job at nine each morning, of one member that joined after the slot of the first of January."""

    def __init__(self, t: Held, rota: Rota | None = None, **options: Any) -> None:
        self.t, self.rota = t, rota or t.rota
        self.people = self.rota.roster("people")
        self.ran: list[datetime | None] = []
        self.fails = self.moves = False
        given = {"schedule": daily("09:00"), "catch_up": "latest", "retry": Retry(delays=["1h"])} | options
        self.job = self.rota.job("digest", each=self.people, **given)(self._handle)

    async def _handle(self, person: Member, run: Run) -> None:
        self.ran.append(run.slot_at)
        if self.moves:
            await self.people.update(person.key, owner="grace")
        if self.fails:
            raise Retryable("later")

    async def join(self) -> None:
        self.t.clock.set(SLOT - timedelta(hours=1))
        await self.people.join("ada", zone="UTC")

    async def slot(self) -> datetime | None:
        return (await self.job.turn("ada")).slot_at


@pytest.mark.parametrize("fails", [False, True])
async def test_a_member_that_is_changed_waits_for_the_slot_after_the_one_that_ran(t: Held, fails: bool) -> None:
    digest = Digest(t, retry=Retry(tries=1))
    digest.fails = fails
    await digest.join()
    t.clock.set(SLOT)
    await t.rota.tick()
    assert digest.ran == [SLOT]
    t.clock.leap(BACK_MS)
    await digest.people.update("ada", owner="grace")
    assert await digest.slot() == NEXT
    await digest.people.update("ada", zone="Asia/Kolkata")
    assert await digest.slot() == NEXT - timedelta(hours=5, minutes=30)


async def test_a_member_that_is_changed_before_its_slot_ran_keeps_it(t: Held) -> None:
    digest = Digest(t)
    await digest.join()
    t.clock.leap(BACK_MS)
    await digest.people.update("ada", owner="grace")
    assert await digest.slot() == SLOT


async def test_a_member_that_is_changed_while_it_runs_does_not_get_the_same_slot_again(t: Held) -> None:
    digest = Digest(t)
    digest.moves = True
    await digest.join()
    t.clock.set(SLOT)
    change = digest.people.update

    async def change_and_leap(key: str, **given: Any) -> Member:
        member = await change(key, **given)
        t.clock.leap(BACK_MS)
        return member

    digest.people.update = change_and_leap  # type: ignore[method-assign]
    await t.rota.tick()
    assert (digest.ran, await digest.slot()) == ([SLOT], NEXT)


async def test_a_release_with_another_rule_goes_on_after_the_slot_that_ran(t: Held, store_url: str) -> None:
    digest = Digest(t)
    await digest.join()
    t.clock.set(SLOT)
    await t.rota.tick()
    t.clock.leap(BACK_MS)
    async with Rota(store_url, clock=t.clock) as rota:
        newer = Digest(t, rota, schedule=cron("0 9,21 * * *"))
        await rota.tick()
        assert (newer.ran, await newer.slot()) == ([], SLOT + timedelta(hours=12))


@pytest.mark.parametrize("limits", [{}, {"limit": Limit("mail", "10/m")}])
async def test_a_slot_that_was_passed_over_stays_passed_over(t: Held, limits: dict[str, Limit]) -> None:
    digest = Digest(t, catch_up=CatchUp(window="1h"), **limits)
    await digest.join()
    t.clock.set(SLOT + timedelta(hours=2))
    await t.rota.tick()
    assert await t.outcomes("outcome", "reason") == [("skipped", "too late by policy")]
    t.clock.leap(BACK_MS)
    await digest.people.update("ada", owner="grace")
    assert (digest.ran, await digest.slot()) == ([], NEXT)


async def test_slots_passed_over_for_a_newer_one_stay_so_when_that_one_has_not_ended(t: Held) -> None:
    digest = Digest(t, schedule=cron("0 * * * *"), retry=Retry(delays=["6h"]))
    digest.fails = True
    await digest.join()
    t.clock.set(SLOT + timedelta(hours=3, minutes=5))
    await t.rota.tick()
    newest = SLOT + timedelta(hours=3)
    assert digest.ran == [newest]
    t.clock.leap(BACK_MS)
    await digest.people.update("ada", owner="grace")
    assert await digest.slot() == newest


async def test_a_run_that_was_cancelled_between_two_tries_is_not_begun_again(t: Held) -> None:
    digest = Digest(t)
    digest.fails = True
    await digest.join()
    t.clock.set(SLOT)
    await t.rota.tick()
    assert digest.ran == [SLOT]
    await t.rota.cancel(job="digest", member="people/ada")
    assert await digest.slot() == NEXT
    t.clock.leap(BACK_MS)
    await digest.people.update("ada", owner="grace")
    assert await digest.slot() == NEXT
