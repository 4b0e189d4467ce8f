"""Settings of the almanac, names of keys, and what people ask for."""

from datetime import date

import pytest

from apps.panchangam import asked, keys
from apps.panchangam.settings import PanchangamSettings
from rota.errors import BadInput, BadSetting, NotFound


def read(**environment):
    return PanchangamSettings.read(environment)


def test_without_an_environment_the_defaults_are_those_of_the_issue():
    found = read()
    assert found.sched_enabled is True
    assert (found.city_precompute, found.precompute_days, found.precompute_time) == ("IN_TOP200", 30, "02:30")
    assert (found.redis_url, found.database_url, found.store_url) == (None, None, None)


def test_an_empty_variable_counts_as_unset():
    assert read(REDIS_URL="", CITY_PRECOMPUTE=" ", DATABASE_URL="") == read()


@pytest.mark.parametrize(("word", "on"), [("true", True), ("0", False), ("No", False), ("FALSE", False), ("on", True)])
def test_the_switch_takes_the_usual_words(word, on):
    assert read(SCHED_ENABLED=word).sched_enabled is on


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCHED_ENABLED", "maybe"),
        ("CITY_PRECOMPUTE", "IN_TOP20"),
        ("PRECOMPUTE_DAYS", "0"),
        ("PRECOMPUTE_DAYS", "²"),
        ("PRECOMPUTE_DAYS", "400"),
        ("PRECOMPUTE_TIME", "24:00"),
        ("PRECOMPUTE_TIME", "2:30"),
        ("REDIS_URL", "localhost:6379"),
        ("DATABASE_URL", "mysql://somewhere"),
    ],
)
def test_a_wrong_variable_is_named_in_one_sentence(name, value):
    with pytest.raises(BadSetting, match=name) as refused:
        read(**{name: value})
    assert "\n" not in str(refused.value)


def test_a_refused_address_does_not_show_its_password():
    with pytest.raises(BadSetting) as refused:
        read(DATABASE_URL="mysql://u:hunter2@host/db")
    assert "hunter2" not in str(refused.value)


def test_both_spellings_of_postgresql_are_taken():
    assert read(DATABASE_URL="postgres://u@h/db").database_url == "postgresql://u@h/db"


def test_tables_in_the_file_of_the_store_make_rota_use_the_standard_sqlite_module(tmp_path):
    file = f"sqlite:///{tmp_path}/one.db"
    assert read(DATABASE_URL=file, ROTA_DB=file).store_url == f"{file}?driver=sqlite3"
    assert read(DATABASE_URL=file, ROTA_DB=f"{file}?synchronous=normal").store_url.endswith("normal&driver=sqlite3")


def test_tables_in_another_file_leave_the_store_alone(tmp_path):
    assert read(DATABASE_URL=f"sqlite:///{tmp_path}/a.db", ROTA_DB=f"sqlite:///{tmp_path}/b.db").store_url is None
    assert read(DATABASE_URL="postgresql://h/db", ROTA_DB="postgresql://h/db").store_url is None


def test_keys_are_spelled_as_other_readers_expect_them():
    assert keys.day_key("mumbai", date(2026, 1, 2)) == "panchangam:mumbai:2026-01-02"
    assert keys.festivals_key("mumbai", 2026, 1) == "festivals:mumbai:2026:1"
    assert keys.SUMMARY == "precompute:summary"
    assert [ttl.days for ttl in (keys.DAY_TTL, keys.FESTIVALS_TTL, keys.SUMMARY_TTL)] == [7, 30, 1]


def test_an_unknown_city_is_answered_with_the_nearest_name():
    with pytest.raises(NotFound, match="'mumbai'"):
        asked.read_place("Mumbay")


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29",
        "2026-1-2",
        "20260102",
        "tomorrow",
        "1899-01-01",
        "2060-01-01",
        "\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0661",
    ],
)
def test_what_is_no_date_the_almanac_knows_is_refused(text):
    with pytest.raises(BadInput, match="Expected a date"):
        asked.read_date(text, date(2026, 1, 1))


@pytest.mark.parametrize("text", ["0", "13", "1.0", "", "jan", "001"])
def test_what_is_no_month_is_refused(text):
    with pytest.raises(BadInput, match="1 to 12"):
        asked.read_month(text)


def test_an_instant_without_an_offset_is_on_the_clock_of_the_place():
    place = asked.read_place("pune")
    assert asked.read_instant("2026-01-31T10:30", place).isoformat() == "2026-01-31T10:30:00+05:30"
