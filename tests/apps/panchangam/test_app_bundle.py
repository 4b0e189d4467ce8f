"""Documents computed in chunks, and what processes add up to a summary."""

from datetime import date

import orjson
import pytest

from apps.panchangam import bundle, keys
from apps.panchangam.account import Account, Entry, Plan, latest, summary
from apps.panchangam.almanac.document import day_document
from apps.panchangam.almanac.festivals import month_document
from apps.panchangam.almanac.records import OutsideKernel, Place
from apps.panchangam.bundle import Bundles, Window
from apps.panchangam.cities import tier

WINDOW = Window(first=date(2026, 12, 30), days=3)
PLACES = [city.place for city in tier("IN_TOP10")]
PLAN = Plan(tier="IN_TOP10", cities=10, days=3)


@pytest.fixture
def calls(monkeypatch):
    made = []
    compute = bundle.bundles_of

    def counted(places, window):
        made.append(len(places))
        return compute(places, window)

    monkeypatch.setattr(bundle, "bundles_of", counted)
    return made


def test_a_bundle_holds_what_a_city_alone_would_get():
    made = Bundles(PLACES, chunk=4).take(PLACES[5], WINDOW)
    assert [day for day, _ in made.days] == [date(2026, 12, 30), date(2026, 12, 31), date(2027, 1, 1)]
    assert [month for month, _ in made.months] == [(2026, 12), (2027, 1)]
    assert orjson.loads(made.days[1][1]) == day_document(PLACES[5], date(2026, 12, 31))
    assert orjson.loads(made.months[1][1]) == orjson.loads(orjson.dumps(month_document(PLACES[5], 2027, 1)))


def test_a_pass_over_all_cities_computes_each_chunk_once(calls):
    bundles = Bundles(PLACES, chunk=4)
    for place in PLACES:
        bundles.take(place, WINDOW)
    assert calls == [4, 4, 2]


def test_a_second_try_of_one_city_computes_that_city_alone(calls):
    bundles = Bundles(PLACES, chunk=5)
    for place in PLACES:
        bundles.take(place, WINDOW)
    bundles.take(PLACES[3], WINDOW)
    assert calls == [5, 5, 1]


def test_a_second_pass_is_computed_in_chunks_again_after_one_city_of_each(calls):
    bundles = Bundles(PLACES, chunk=5)
    for place in PLACES * 2:
        bundles.take(place, WINDOW)
    assert calls == [5, 5, 1, 5, 1, 5]


def test_another_day_forgets_what_was_computed_for_the_last(calls):
    bundles = Bundles(PLACES, chunk=5)
    bundles.take(PLACES[0], WINDOW)
    later = bundles.take(PLACES[1], Window(first=date(2027, 1, 1), days=3))
    assert later.days[0][0] == date(2027, 1, 1)
    assert calls == [5, 5]


def test_a_city_that_was_moved_gets_its_own_place(calls):
    moved = Place(lat=10.0, lon=76.0, slug=PLACES[0].slug, name="Elsewhere")
    made = Bundles(PLACES, chunk=5).take(moved, WINDOW)
    assert orjson.loads(made.days[0][1])["place"]["latitude"] == 10.0
    assert calls == [1]


def test_a_chunk_that_fails_is_computed_city_by_city(monkeypatch):
    compute = bundle.bundles_of

    def fails_for_many(places, window):
        if len(places) > 1:
            raise RuntimeError("one of them is at fault")
        return compute(places, window)

    monkeypatch.setattr(bundle, "bundles_of", fails_for_many)
    bundles = Bundles(PLACES, chunk=10)
    assert all(len(bundles.take(place, WINDOW).days) == 3 for place in PLACES)


def test_days_beyond_the_ephemeris_fail_with_its_reason():
    with pytest.raises(OutsideKernel):
        Bundles(PLACES).take(PLACES[0], Window(first=date(2053, 7, 10), days=30))


class Shelves:
    """A cache in memory."""

    def __init__(self):
        self.kept = {}

    async def get(self, key):
        return self.kept.get(key)

    async def set(self, key, value, *, ttl):
        self.kept[key] = value

    async def scan(self, prefix):
        for key in list(self.kept):
            if key.startswith(prefix):
                yield key


def told(cache):
    return orjson.loads(cache.kept[keys.SUMMARY])


async def do(account, cache, city, at_ms, error=None):
    entry = account.begin(city, WINDOW.first, at_ms)
    entry.marks += [at_ms + 5, at_ms + 5, at_ms + 20]
    entry.documents, entry.bytes, entry.error = 0 if error else 3, 100, error
    await account.end(entry, cache)


async def test_processes_that_share_a_pass_add_up_to_one_summary():
    cache, first, second = Shelves(), Account(PLAN, "a"), Account(PLAN, "b")
    await do(first, cache, "mumbai", 1_000)
    await do(second, cache, "delhi", 1_010)
    await do(first, cache, "pune", 1_030)
    found = told(cache)
    assert (found["cities"], found["succeeded"], found["documents"]) == (3, 3, 9)
    assert found["duration"] == 0.05
    assert found["stages"]["cache"] == 0.04  # the waits of cities overlap and count once


async def test_a_city_that_succeeds_at_last_is_no_failure_even_in_another_process():
    cache, first, second = Shelves(), Account(PLAN, "a"), Account(PLAN, "b")
    await do(first, cache, "mumbai", 1_000, error="ValueError: no")
    assert told(cache)["errors"] == [{"city": "mumbai", "error": "ValueError: no"}]
    await do(second, cache, "mumbai", 9_000)
    assert (told(cache)["cities"], told(cache)["failed"]) == (1, 0)


async def test_the_summary_is_written_when_the_last_city_under_way_ends():
    cache, account = Shelves(), Account(PLAN, "a")
    entries = [account.begin(city, WINDOW.first, 1_000) for city in ("mumbai", "delhi")]
    await account.end(entries[0], cache)
    assert keys.SUMMARY not in cache.kept
    await account.end(entries[1], cache)
    assert told(cache)["cities"] == 2


async def test_a_process_that_is_overtaken_while_it_adds_up_adds_up_again():
    cache, first, second = Shelves(), Account(PLAN, "a"), Account(PLAN, "b")
    write, overtaken = cache.set, []

    async def overtaking(key, value, *, ttl):
        if key == keys.SUMMARY and not overtaken:
            overtaken.append(key)
            await do(second, cache, "delhi", 1_000)  # all of it between the first one's reading and its writing
        await write(key, value, ttl=ttl)

    cache.set = overtaking
    await do(first, cache, "mumbai", 1_000)
    assert told(cache)["cities"] == 2


async def test_a_killed_process_leaves_every_city_it_ended_in_the_sum_of_the_next():
    cache, killed, second = Shelves(), Account(PLAN, "a"), Account(PLAN, "b")
    killed.begin("pune", WINDOW.first, 1_000)  # never ends
    await do(killed, cache, "mumbai", 1_000)
    assert keys.SUMMARY not in cache.kept
    await do(second, cache, "pune", 9_000)
    assert told(cache)["cities"] == 2


async def test_a_run_that_was_cut_short_tells_nothing():
    cache, account = Shelves(), Account(PLAN, "a")
    account.begin("delhi", WINDOW.first, 1_000)
    account.abandon()
    await do(account, cache, "mumbai", 1_000)
    assert told(cache)["cities"] == 1


def test_the_latest_attempt_of_a_city_counts():
    early = Entry(city="pune", marks=[1], error="x")
    late = Entry(city="pune", marks=[2])
    assert latest([late, early]) == [late]
    assert summary(PLAN, WINDOW.first, [late])["failed"] == 0
