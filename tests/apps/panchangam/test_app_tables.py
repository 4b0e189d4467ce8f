"""The tables PanchangDay and FestivalDay, on SQLite and on PostgreSQL."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import create_engine, func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from apps.panchangam import keys
from apps.panchangam.almanac.festivals import region_calendar
from apps.panchangam.app import Almanac, build
from apps.panchangam.bundle import Window, bundles_of
from apps.panchangam.cities import city
from apps.panchangam.precompute import today
from apps.panchangam.settings import PanchangamSettings
from apps.panchangam.table_facts import table_facts
from apps.panchangam.tables import FestivalDay, PanchangDay, Tables

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATER = datetime(2026, 11, 2, tzinfo=UTC)
WINDOW = Window(first=date(2026, 11, 7), days=3)
MUMBAI = city("mumbai").place


@pytest.fixture
async def tables(store_url):
    made = Tables(store_url)
    yield made
    await made.close()


def days_of(place):
    return bundles_of([place], WINDOW)[0].days


def festivals_of(region):
    return [found for found in region_calendar(region, 2026) if WINDOW.first <= found.date <= WINDOW.last]


async def rows_of(tables, table):
    return await tables.ask(lambda connection: list(connection.execute(select(*table.__table__.columns)).mappings()))


async def test_a_day_is_stored_with_its_document_and_the_columns_that_questions_need(tables):
    await tables.store_days(MUMBAI, days_of(MUMBAI), NOW)
    first, *others = await rows_of(tables, PanchangDay)
    assert len(others) == 2
    assert (first["date"], first["lat"], first["lon"], first["city"]) == (WINDOW.first, 19.0728, 72.8826, "mumbai")
    assert first["payload"]["tithis"][0]["name"] == first["tithi"]
    assert first["payload"]["nakshatras"][0]["name"] == first["nakshatra"]
    assert first["payload"]["date"] == "2026-11-07"


async def test_writing_the_same_days_again_changes_only_when_they_were_computed(tables):
    await tables.store_days(MUMBAI, days_of(MUMBAI), NOW)
    before = await rows_of(tables, PanchangDay)
    await tables.store_days(MUMBAI, days_of(MUMBAI), LATER)
    after = await rows_of(tables, PanchangDay)
    assert [dict(row) | {"computed_at": None} for row in after] == [dict(row) | {"computed_at": None} for row in before]
    assert {row["computed_at"].day for row in after} == {2}


async def test_the_database_itself_refuses_a_second_day_at_a_place(tables):
    await tables.store_days(MUMBAI, days_of(MUMBAI), NOW)
    (row, *_) = await rows_of(tables, PanchangDay)
    again = {name: value for name, value in row.items() if name != "id"} | {"payload": "{}"}
    with pytest.raises(IntegrityError):
        await tables.ask(lambda connection: connection.execute(insert(PanchangDay), [again]))


async def test_places_that_differ_by_less_than_eleven_metres_share_a_row(tables):
    near = city("mumbai").place
    near = type(near)(lat=near.lat + 0.000_01, lon=near.lon, slug=near.slug, name=near.name)
    await tables.store_days(MUMBAI, days_of(MUMBAI), NOW)
    await tables.store_days(near, days_of(near), NOW)
    assert len(await rows_of(tables, PanchangDay)) == WINDOW.days


async def test_a_region_calendar_replaces_what_was_there_for_its_days(tables):
    span = (WINDOW.first, WINDOW.last)
    north, west = festivals_of("north"), festivals_of("west")
    await tables.store_festivals("north", span, north, NOW)
    await tables.store_festivals("west", span, west, NOW)
    await tables.store_festivals("north", span, north[1:], LATER)
    found = await rows_of(tables, FestivalDay)
    assert len([row for row in found if row["region"] == "west"]) == len(west)
    assert {row["festival"] for row in found if row["region"] == "north"} == {each.id for each in north[1:]}


async def test_a_festival_row_tells_why_that_day(tables):
    await tables.store_festivals("north", (WINDOW.first, WINDOW.last), festivals_of("north"), NOW)
    diwali = next(row for row in await rows_of(tables, FestivalDay) if row["festival"] == "diwali")
    assert (diwali["date"], diwali["type"], diwali["region"]) == (date(2026, 11, 8), "festival", "north")
    assert "pradosha" in diwali["payload"]["why"]


async def test_the_planner_uses_the_index_of_each_table(tables):
    await tables.store_days(MUMBAI, days_of(MUMBAI), NOW)
    facts = await tables.ask(table_facts)
    assert facts["panchang_day"]["indexes"] == ["panchang_day_date_lat_lon"]
    assert facts["panchang_day"]["rows"] == WINDOW.days
    assert facts["panchang_day"]["bytes"] > 10_000
    assert (facts["panchang_day"]["indexUsed"], facts["festival_day"]["indexUsed"]) == (True, True)


async def test_a_pass_fills_the_tables_and_the_cache(store_url):
    settings = PanchangamSettings(city_precompute="IN_TOP10", precompute_days=2, database_url=store_url)
    app = build(settings, Almanac("sqlite:///:memory:"))
    async with app.rota:
        await app.cities.sync()
        summary = await app.rota.tick()
        assert (summary.succeeded, summary.retrying) == (10, 0), summary
        count = await app.rota.tables.ask(lambda c: c.scalar(select(func.count()).select_from(PanchangDay)))
        assert count == 20
        regions = await app.rota.tables.ask(lambda c: set(c.scalars(select(FestivalDay.region))))
        assert "national" in regions or not regions
        stored = await app.rota.tables.ask(lambda c: c.scalar(select(func.min(PanchangDay.date))))
        assert stored == today(app.rota)
        assert len([key async for key in app.rota.cache.scan(keys.DAYS)]) == 20


async def test_a_run_whose_tables_are_away_is_retried_and_writes_no_cache():
    settings = PanchangamSettings(
        city_precompute="IN_TOP10", precompute_days=2, database_url="sqlite:////nowhere/at/all.db"
    )
    app = build(settings, Almanac("sqlite:///:memory:"))
    async with app.rota:
        await app.cities.sync()
        summary = await app.rota.tick(limits={"precompute": 1})
        assert (summary.succeeded, summary.ok) == (0, False)
        assert [key async for key in app.rota.cache.scan(keys.DAYS)] == []


async def test_tables_and_store_may_share_one_sqlite_file(sqlite_url, tmp_path):
    settings = PanchangamSettings.read(
        {"CITY_PRECOMPUTE": "IN_TOP10", "PRECOMPUTE_DAYS": "2", "DATABASE_URL": sqlite_url, "ROTA_DB": sqlite_url}
    )
    app = build(settings, Almanac(settings.store_url))
    async with app.rota:
        await app.cities.sync()
        assert (await app.rota.tick()).succeeded == 10
    engine = create_engine(sqlite_url)
    assert {"panchang_day", "festival_day", "rota_turn"} <= set(inspect(engine).get_table_names())
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM panchang_day")) == 20
        assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
    engine.dispose()
