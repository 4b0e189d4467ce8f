"""Applications that change between releases: new jobs, deleted jobs, changed periods, old and new together."""

from datetime import timedelta

from rota import Member, Rota, every
from rota.testing import ManualClock
from tests.engine.conftest import START, ms


class Release:
    """An application as one release declares it: jobs by name with the period of each."""

    def __init__(self, url: str, clock: ManualClock, **jobs: str) -> None:
        self.rota = Rota(url, clock=clock)
        self.ran: list[str] = []
        self.shops = self.rota.roster("shops")
        self.jobs = {name: self._job(name, period) for name, period in jobs.items()}

    def _job(self, name: str, period: str):
        async def handler(shop: Member) -> None:
            self.ran.append(f"{name} {shop.key}")

        return self.rota.job(name, each=self.shops, schedule=every(period))(handler)


async def test_a_new_job_gets_its_turns_from_the_members_that_are_there(store_url: str) -> None:
    clock = ManualClock(START)
    old = Release(store_url, clock, sync="6h")
    async with old.rota:
        await old.shops.join_many([f"s{number}" for number in range(12)])
    new = Release(store_url, clock, sync="6h", mail="24h")
    async with new.rota:
        await new.rota.tick()
        dues = [ms((await new.jobs["mail"].turn(f"s{number}")).due_at) for number in range(12)]
        assert all(ms(START) < due <= ms(START + timedelta(days=1)) for due in dues)
        assert len({due // 3_600_000 for due in dues}) == 12


async def test_a_job_deleted_from_the_code_keeps_its_turns_and_runs_again_when_it_is_back(store_url: str) -> None:
    clock = ManualClock(START)
    full = Release(store_url, clock, sync="6h", mail="6h")
    async with full.rota:
        await full.shops.join("a")
        slot = (await full.jobs["mail"].turn("a")).slot_at
    less = Release(store_url, clock, sync="6h")
    async with less.rota:
        clock.set(slot + timedelta(hours=5))
        summary = await less.rota.tick()
        assert (summary.dead, summary.ok) == (0, True)
        assert "mail a" not in less.ran
        attention = (await less.rota.status()).as_json()["attention"]
        assert any(one["kind"] == "unknown" and "mail" in one["text"] for one in attention)
    again = Release(store_url, clock, sync="6h", mail="6h")
    async with again.rota:
        await again.rota.tick()
        assert "mail a" in again.ran


async def test_old_and_new_take_turns_on_one_store_without_failing_anything(store_url: str) -> None:
    clock = ManualClock(START)
    old, new = Release(store_url, clock, sync="6h"), Release(store_url, clock, sync="6h", mail="6h")
    async with old.rota, new.rota:
        await new.shops.join_many(["a", "b"])
        for hours in range(1, 25):
            clock.set(START + timedelta(hours=hours))
            for release in (old, new):
                summary = await release.rota.tick()
                assert summary.ok
        assert not any(run.startswith("mail") for run in old.ran)
        assert sorted(run for run in new.ran if run.startswith("mail")) == ["mail a"] * 4 + ["mail b"] * 4
        syncs = [run for run in old.ran + new.ran if run.startswith("sync")]
        assert sorted(syncs) == ["sync a"] * 4 + ["sync b"] * 4


async def test_a_member_that_joins_through_the_old_release_gets_the_new_job_too(store_url: str) -> None:
    clock = ManualClock(START)
    old, new = Release(store_url, clock, sync="6h"), Release(store_url, clock, sync="6h", mail="6h")
    async with old.rota, new.rota:
        await new.rota.tick()
        await old.shops.join("a")
        clock.advance("61s")
        await new.rota.tick()
        assert (await new.jobs["mail"].turn("a")).state == "waiting"


async def test_a_changed_period_never_shortens_a_gap_and_keeps_the_order(store_url: str) -> None:
    clock = ManualClock(START)
    old = Release(store_url, clock, sync="24h")
    async with old.rota:
        await old.shops.join_many([f"s{number}" for number in range(20)])
        clock.set(START + timedelta(days=1))
        await old.rota.tick()
        before = {f"s{number}": (await old.jobs["sync"].turn(f"s{number}")) for number in range(20)}
    new = Release(store_url, clock, sync="48h")
    async with new.rota:
        await new.rota.tick()
        after = {key: (await new.jobs["sync"].turn(key)) for key in before}
    for key, turn in after.items():
        assert turn.due_at >= before[key].due_at
    assert [key for key, _ in sorted(before.items(), key=lambda one: one[1].due_at)] == [
        key for key, _ in sorted(after.items(), key=lambda one: one[1].due_at)
    ]
