"""Wall-clock jobs through the engine: changes of the clock, zones and data of members, and their windows."""

from datetime import UTC, datetime, timedelta

import pytest

from rota import Member, Run, cron, daily, every, weekly
from rota.errors import BadInput
from tests.engine.conftest import START, Held


def utc(text: str) -> datetime:
    """An instant in UTC, "2026-03-29 01:00"."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def ran_at(m: Held, schedule: object, zone: str | None, start: str, days: int, **data: object) -> list[str]:
    """The slots that a job of one member is run for, in UTC."""
    people = m.rota.roster("people")
    slots: list[str] = []

    @m.rota.job("digest", each=people, schedule=schedule)
    async def digest(person: Member, run: Run) -> None:
        slots.append(f"{run.slot_at:%m-%d %H:%M}")

    m.clock.set(utc(start))
    await people.join("ada", zone=zone, data=data)
    await m.drain(m.clock.now() + timedelta(days=days))
    return slots


async def test_a_wall_time_in_the_gap_runs_once_at_the_first_instant_after_it(m: Held) -> None:
    slots = await ran_at(m, daily("02:30"), "Europe/Berlin", "2026-03-28 00:00", 3)
    assert slots == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


async def test_a_wall_time_that_comes_twice_runs_once_the_first_time(m: Held) -> None:
    slots = await ran_at(m, daily("02:30"), "Europe/Berlin", "2026-10-24 00:00", 3)
    assert slots == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


async def test_a_rule_with_a_free_hour_follows_elapsed_time_through_the_fold(m: Held) -> None:
    slots = await ran_at(m, cron("30 * * * *"), "Europe/Berlin", "2026-10-24 23:00", 1)
    assert len(slots) == 24
    assert slots[:4] == ["10-24 23:30", "10-25 00:30", "10-25 01:30", "10-25 02:30"]


async def test_each_member_runs_in_its_own_zone_on_its_own_day(m: Held) -> None:
    schedule = weekly(day="digest_day", at="digest_time")
    slots = await ran_at(m, schedule, "Asia/Kolkata", "2026-01-01 00:00", 14, digest_day="sun", digest_time="09:00")
    assert slots == ["01-04 03:30", "01-11 03:30"]


async def test_a_member_without_a_zone_runs_in_utc(m: Held) -> None:
    assert await ran_at(m, daily("09:00"), None, "2026-01-01 00:00", 1) == ["01-01 09:00"]


async def test_changed_data_moves_the_turn_at_once_and_never_into_the_past(t: Held) -> None:
    people = t.rota.roster("people")

    @t.rota.job("digest", each=people, schedule=daily("digest_time"))
    async def digest(person: Member) -> None: ...

    await people.join("ada", zone="UTC", data={"digest_time": "09:00"})
    assert (await digest.turn("ada")).due_at == utc("2026-01-01 09:00")
    t.clock.set(utc("2026-01-01 08:00"))
    await people.update("ada", data={"digest_time": "07:00"})
    assert (await digest.turn("ada")).due_at == utc("2026-01-02 07:00")
    await people.update("ada", zone="America/New_York")
    assert (await digest.turn("ada")).due_at == utc("2026-01-01 12:00")
    assert await t.drain() == 0


async def test_data_that_changes_while_the_turn_runs_counts_from_the_next_slot(t: Held) -> None:
    people = t.rota.roster("people")

    @t.rota.job("digest", each=people, schedule=daily("digest_time"))
    async def digest(person: Member) -> None:
        await people.update("ada", data={"digest_time": "15:00"})

    await people.join("ada", zone="UTC", data={"digest_time": "09:00"})
    t.clock.set(utc("2026-01-01 09:00"))
    await t.rota.tick()
    assert (await digest.turn("ada")).due_at in {utc("2026-01-01 15:00"), utc("2026-01-02 15:00")}
    assert (await digest.turn("ada")).state == "waiting"


@pytest.mark.parametrize(
    ("data", "words"),
    [({}, "digest_time"), ({"digest_time": "25:00"}, "25:00"), ({"digest_time": None}, "digest_time")],
)
async def test_a_member_whose_data_names_no_time_is_refused_and_nothing_is_written(m: Held, data, words) -> None:
    people = m.rota.roster("people")

    @m.rota.job("digest", each=people, schedule=daily("digest_time"))
    async def digest(person: Member) -> None: ...

    with pytest.raises(BadInput, match=words):
        await people.join("ada", data=data)
    assert await people.count() == 0


async def test_a_window_spreads_members_that_chose_the_same_minute_and_stays_the_same(m: Held) -> None:
    people = m.rota.roster("people")
    slots: dict[str, list[datetime]] = {}

    @m.rota.job("digest", each=people, schedule=daily("09:00", within="15m"))
    async def digest(person: Member, run: Run) -> None:
        slots.setdefault(person.key, []).append(run.slot_at)

    await people.join_many([f"p{number}" for number in range(100)])
    await m.drain(START + timedelta(days=3))
    offsets = {
        key: [at - at.replace(hour=9, minute=0, second=0, microsecond=0) for at in each] for key, each in slots.items()
    }
    assert all(len(set(each)) == 1 and len(each) == 3 for each in offsets.values())
    firsts = sorted(each[0] for each in offsets.values())
    assert timedelta(0) <= firsts[0]
    assert firsts[-1] < timedelta(minutes=15)
    assert len(set(firsts)) > 90


async def test_24_members_of_a_daily_job_take_24_different_hours_of_utc(t: Held) -> None:
    shops = t.rota.roster("shops")

    @t.rota.job("sync", each=shops, schedule=every("24h"))
    async def sync(shop: Member) -> None: ...

    await shops.join_many([f"s{number}" for number in range(24)])
    dues = [row[0] for row in await t.look("SELECT due_at FROM rota.turn")]
    assert sorted(due // 3_600_000 % 24 for due in dues) == list(range(24))
