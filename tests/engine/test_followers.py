"""Pipelines: jobs with `after=`, their slots, failures of leaders, and several leaders; on both stores."""

from datetime import timedelta

from rota import Fail, Member, Retry, Run, Skip, every
from tests.engine.conftest import HOUR, Held, ms


class Pipeline:
    """fetch every six hours; clean after it; report after both; what each was run for."""

    def __init__(self, t: Held, **options: object) -> None:
        self.t = t
        self.shops = t.rota.roster("shops")
        self.ran: list[tuple[str, str, int | None]] = []
        self.comes_to: dict[str, list[object]] = {"fetch": [], "clean": []}

        def note(run: Run) -> object:
            self.ran.append((run.job, run.member, None if run.slot_at is None else ms(run.slot_at)))
            waiting = self.comes_to.get(run.job)
            outcome = waiting.pop(0) if waiting else None
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        @t.rota.job("fetch", each=self.shops, schedule=every("6h"), retry=Retry(delays=["10m"]))
        async def fetch(shop: Member, run: Run) -> None:
            note(run)

        @t.rota.job("clean", each=self.shops, after=fetch, retry=Retry(tries=1), **options)
        async def clean(shop: Member, run: Run) -> None:
            note(run)

        @t.rota.job("report", each=self.shops, after=[fetch, clean])
        async def report(shop: Member, run: Run) -> None:
            note(run)

        self.fetch, self.clean, self.report = fetch, clean, report

    async def first_slot(self) -> int:
        await self.shops.join("a")
        slot = (await self.fetch.turn("a")).slot_at
        self.t.clock.set(slot)
        return ms(slot)


async def test_a_waiting_follower_has_no_due_time(t: Held) -> None:
    world = Pipeline(t)
    await world.shops.join("a")
    turn = await world.clean.turn("a")
    assert (turn.state, turn.due_at, turn.slot_at) == ("waiting", None, None)


async def test_one_tick_runs_the_whole_pipeline_in_order_with_the_same_slot(t: Held) -> None:
    world = Pipeline(t)
    slot = await world.first_slot()
    summary = await t.rota.tick()
    assert world.ran == [("fetch", "a", slot), ("clean", "a", slot), ("report", "a", slot)]
    assert (summary.due, summary.succeeded) == (3, 3)
    assert (await world.clean.turn("a")).due_at is None


async def test_a_follower_waits_until_its_leader_has_ended_and_not_for_a_try(t: Held) -> None:
    world = Pipeline(t)
    world.comes_to["fetch"] = [ValueError("x")]
    slot = await world.first_slot()
    await t.rota.tick()
    assert world.ran == [("fetch", "a", slot)]
    t.clock.advance("10m")
    await t.rota.tick()
    assert [job for job, _, _ in world.ran] == ["fetch", "fetch", "clean", "report"]


async def test_a_follower_runs_after_a_death_unless_it_says_otherwise(t: Held) -> None:
    world = Pipeline(t)
    world.comes_to["fetch"] = [Fail("x")]
    await world.first_slot()
    await t.rota.tick()
    assert [job for job, _, _ in world.ran] == ["fetch", "clean", "report"]


async def test_a_follower_with_if_failed_skip_records_the_slot_as_skipped_after_a_death(t: Held) -> None:
    world = Pipeline(t, if_failed="skip")
    world.comes_to["fetch"] = [Fail("x")]
    slot = await world.first_slot()
    await t.drain()
    assert [job for job, _, _ in world.ran] == ["fetch", "report"]
    rows = await t.outcomes("job", "outcome", "slot_at")
    assert ("clean", "skipped", slot) in rows
    await t.drain(t.clock.now() + 6 * HOUR)  # the failure of one slot does not stick
    assert [job for job, _, _ in world.ran[2:]] == ["fetch", "clean", "report"]


async def test_a_skipped_leader_has_ended_too(t: Held) -> None:
    world = Pipeline(t, if_failed="skip")
    world.comes_to["fetch"] = [Skip("closed")]
    await world.first_slot()
    await t.drain()
    assert [job for job, _, _ in world.ran] == ["fetch", "clean", "report"]


async def test_members_follow_their_own_leaders_only(t: Held) -> None:
    world = Pipeline(t)
    await world.shops.join_many(["a", "b"])
    await world.fetch.run_now("b")
    await t.drain()
    assert [(job, member) for job, member, _ in world.ran] == [("fetch", "b"), ("clean", "b"), ("report", "b")]
    assert (await world.clean.turn("a")).due_at is None


async def test_a_follower_can_be_run_by_hand_without_its_leader(t: Held) -> None:
    world = Pipeline(t)
    await world.shops.join("a")
    assert (await world.clean.run_now("a")).created
    await t.rota.tick(jobs=["clean"])
    assert [job for job, _, _ in world.ran] == ["clean"]
    slot = (await world.fetch.turn("a")).slot_at
    await t.drain(slot + timedelta(minutes=1))
    assert [job for job, _, _ in world.ran[1:]] == ["fetch", "clean", "report"]


async def test_a_follower_of_a_job_without_a_roster_follows_it(t: Held) -> None:
    ran: list[str] = []

    @t.rota.job("nightly", schedule=every("24h"))
    async def nightly() -> None:
        ran.append("nightly")

    @t.rota.job("mail", after=nightly)
    async def mail() -> None:
        ran.append("mail")

    await t.rota.tick()
    await nightly.run_now()
    await t.drain()
    assert ran == ["nightly", "mail"]


async def test_every_slot_of_a_follower_comes_once_over_two_days(t: Held) -> None:
    world = Pipeline(t)
    await world.shops.join_many([f"s{number}" for number in range(5)])
    await t.drain(t.at(days=2))
    for job in ("fetch", "clean", "report"):
        slots = [(member, slot) for name, member, slot in world.ran if name == job]
        assert len(slots) == 5 * 8
        assert len(set(slots)) == 5 * 8
