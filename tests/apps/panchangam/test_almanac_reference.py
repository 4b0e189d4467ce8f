"""The almanac against the reference file beside the repository, and the checker against files made up here."""

import csv
from datetime import date
from pathlib import Path

import pytest

from apps.panchangam.almanac.reference import check, check_rows

REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "data" / "panchangam_reference.csv"
REPUBLIC = date(2026, 1, 26)
ABSENT = "the reference file is not beside the repository: ../shared/data/panchangam_reference.csv"

needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason=ABSENT)


def reference_rows():
    if not REFERENCE.exists():
        return [pytest.param(None, marks=pytest.mark.skipif(condition=True, reason=ABSENT), id="absent")]
    with REFERENCE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] != "festival"]
    return [pytest.param(row, id=f"{row['kind']}-{row['city'] or row['masa_amanta']}-{row['date']}") for row in rows]


@pytest.mark.parametrize("row", reference_rows())
def test_every_value_of_a_reference_row_is_met(row):
    report = check_rows([row])
    assert report.ok, "\n".join(report.lines())
    assert report.kinds[row["kind"]].fields > 0


@needs_reference
def test_the_file_as_a_whole_reaches_the_targets_and_not_only_the_limits():
    report = check(REFERENCE, None)
    assert report.ok, "\n".join(report.lines())
    for kind in ("panchang", "masa", "sankranti"):
        assert sum(report.kinds[kind].beyond_target.values()) == 0, "\n".join(report.lines())
    assert report.kinds["panchang"].worst["limb boundary"] < 1
    assert report.kinds["panchang"].worst["sunrise, sunset"] < 1
    assert report.kinds["panchang"].worst["moonrise, moonset"] < 1


# Delhi, 15 August 2026; the sunrise is ours, the tithi and the month are what every almanac prints.
ROW = {
    "kind": "panchang",
    "lat": "28.6519",
    "lon": "77.2315",
    "date": "2026-08-15",
    "sunrise": "2026-08-15T05:50:11",
    "tithi1": "3",
    "tithi1_name": "Shukla Tritiya",
    "masa_amanta": "Shravana",
}


def failures(row):
    return [failure.column for failure in check_rows([row]).kinds[row["kind"]].failures]


def test_a_right_row_passes():
    assert failures(ROW) == []


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("sunrise", "2026-08-15T05:50:58"),
        ("sunrise", "none"),
        ("tithi1", "4"),
        ("tithi1_name", "Shukla Chaturthi"),
        ("masa_amanta", "Adhika Shravana"),
        ("nakshatra_count", "7"),
        ("moon_lon", "10.0"),
        ("never_heard_of", "1"),
    ],
)
def test_one_wrong_value_is_one_failure_with_its_column(column, wrong):
    assert failures(ROW | {column: wrong}) == [column]


def test_an_unknown_kind_and_a_day_outside_the_kernel_are_failures_and_not_silences():
    assert failures(ROW | {"kind": "horoscope"}) == ["kind"]
    assert failures(ROW | {"date": "1850-01-01"}) == ["date"]


def test_festival_rows_are_compared_only_when_rules_are_given(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("kind,festival,lat,lon,year,date\nfestival,holi,28.6,77.2,2026,2026-03-04\n", encoding="utf-8")
    assert check(path, None).kinds["festival"].skipped
    right = check(path, lambda festival, lat, lon, year: [REPUBLIC.replace(month=3, day=4)])
    wrong = check(path, lambda festival, lat, lon, year: [REPUBLIC])
    assert right.ok
    assert not wrong.ok
    assert "2026-01-26" in "\n".join(wrong.lines())


def test_an_unknown_festival_is_a_miss_and_does_not_end_the_check(tmp_path):
    path = tmp_path / "festivals.csv"
    columns = "kind,festival,city,lat,lon,year,date"
    rows = (
        "festival,feast_of_nobody,Delhi,28.65,77.23,2025,2025-01-01",
        "festival,diwali,Delhi,28.65,77.23,2025,2025-10-20",
    )
    path.write_text("\n".join((columns, *rows)), encoding="utf-8")
    report = check(path)
    assert not report.ok
    assert [failure.column for kind in report.kinds.values() for failure in kind.failures] == ["feast_of_nobody"]


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "cities.csv"
    path.write_text("slug,name\nmumbai,Mumbai\n", encoding="utf-8")
    with pytest.raises(ValueError, match="column 'kind'"):
        check(path)
