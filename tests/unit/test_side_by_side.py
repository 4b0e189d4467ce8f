"""The judges of the comparison with peers: what they say of ledgers and years whose truth is known.

No peer and no server is needed; the processes killed here are shells that this test starts.
"""

import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sidebyside import ledger
from benchmarks.sidebyside.contenders import CONTENDERS, Contender
from benchmarks.sidebyside.crew import Crew, descendants, gone
from benchmarks.sidebyside.days import judge_days, judge_drift, times_of
from benchmarks.sidebyside.kills import FULL
from benchmarks.sidebyside.page import (
    DAY_HEADS,
    DRIFT_HEADS,
    KILL_HEADS,
    Circumstances,
    day_rows,
    document,
    drift_rows,
    kill_rows,
)
from benchmarks.sidebyside.verdict import SECOND_NS, Kill, Left, Verdict, judge
from benchmarks.sidebyside.year import Lived

BERLIN = "Europe/Berlin"
DAY_MS = 86_400_000


def told(text: str) -> list[ledger.Line]:
    """A ledger as people write it: "start 1 @10 0.5" is job 1 in process 10 at half a second."""
    rows = [row.split() for row in text.strip().splitlines()]
    return [ledger.Line(what, int(n), int(pid[1:]), int(float(at) * SECOND_NS)) for what, n, pid, at in rows]


def kill(at: float, *pids: int) -> Kill:
    return Kill(at_ns=int(at * SECOND_NS), pids=frozenset(pids))


def left(**numbers: set[int]) -> Left:
    return Left(**{name: frozenset(jobs) for name, jobs in numbers.items()})


def counts(verdict: Verdict) -> dict[str, int]:
    names = "ended lost failed waiting stuck run_twice ended_twice hits".split()
    return {name: found for name in names if (found := getattr(verdict, name))}


QUIET = """
start 1 @10 0.0
start 2 @10 0.0
end 1 @10 0.1
end 2 @10 0.2
"""


def test_jobs_that_ended_once_are_all_well():
    verdict = judge([1, 2], told(QUIET), [], left())
    assert counts(verdict) == {"ended": 2}
    assert verdict.done_s == 0.2
    assert verdict.again_longest_s is None


STRUCK = """
start 1 @10 0.0
start 2 @10 0.0
end 1 @10 0.1
start 1 @20 5.0
end 1 @20 5.1
start 2 @20 6.5
end 2 @20 6.6
"""


def test_a_job_hit_by_a_kill_may_start_again_and_one_that_had_ended_may_not():
    verdict = judge([1, 2], told(STRUCK), [kill(0.5, 10, 11)], left())
    assert counts(verdict) == {"ended": 2, "hits": 1, "run_twice": 1, "ended_twice": 1}
    assert verdict.again_longest_s == 6.0
    assert verdict.done_s == 6.6


def test_all_is_done_when_the_last_job_has_ended_for_the_first_time():
    verdict = judge([1, 2], told(f"{QUIET}start 1 @10 8.0\nend 1 @10 9.0"), [], left())
    assert (verdict.done_s, verdict.ended_twice) == (0.2, 1)


@pytest.mark.parametrize(
    ("listed", "found"),
    [({}, "lost"), ({"failed": {2}}, "failed"), ({"reserved": {2}}, "stuck"), ({"waiting": {2}}, "waiting")],
)
def test_a_job_that_never_ended_is_called_by_what_the_system_knows_of_it(listed, found):
    verdict = judge([1, 2], told(STRUCK.partition("start 1 @20")[0]), [kill(0.5, 10)], left(**listed))
    assert counts(verdict) == {"ended": 1, found: 1, "hits": 1}
    assert verdict.done_s is None
    assert verdict.again_longest_s is None


def test_a_start_without_an_end_in_a_process_that_nobody_killed_is_no_hit():
    verdict = judge([1], told("start 1 @10 0.0\nstart 1 @20 1.0\nend 1 @20 1.1"), [kill(0.5, 11)], left())
    assert counts(verdict) == {"ended": 1, "run_twice": 1}


def test_a_job_hit_twice_may_start_three_times():
    lines = told("start 1 @10 0\nstart 1 @20 2\nstart 1 @30 4\nend 1 @30 5")
    verdict = judge([1], lines, [kill(1, 10), kill(3, 20)], left())
    assert counts(verdict) == {"ended": 1, "hits": 2}
    assert verdict.again_median_s == 1.0


def test_a_job_that_the_system_still_lists_though_it_ended_is_not_counted_as_stuck():
    verdict = judge([1, 2], told(QUIET), [], left(reserved={2}))
    assert counts(verdict) == {"ended": 2}
    assert verdict.stuck_though_ended == 1


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_every_job_is_in_exactly_one_account(ended, reserved, failed):
    lines = [ledger.Line(what, number, 1, number) for number in ended for what in ("start", "end")]
    verdict = judge(range(51), lines, [], left(reserved=reserved, failed=failed - reserved))
    assert verdict.ended + verdict.lost + verdict.failed + verdict.waiting + verdict.stuck == 51


def test_the_ledger_is_read_back_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE_LEDGER", str(tmp_path / "ledger"))
    ledger._opened.cache_clear()
    ledger.note("start", 7)
    ledger.note("end", 7)
    ledger._opened.cache_clear()
    assert [(line.what, line.number) for line in ledger.read(tmp_path / "ledger")] == [("start", 7), ("end", 7)]
    assert ledger.read(tmp_path / "nothing") == []


def test_a_kill_takes_children_that_left_the_group_too(tmp_path):
    shell = "setsid sh -c 'echo $$ > pid; exec sleep 600' & sleep 600"
    crew = Crew([["sh", "-c", shell]], {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    crew.start()
    try:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert crew.is_alive()
        child = int((tmp_path / "pid").read_text())
    finally:
        killed = crew.kill()
    assert child in killed.pids
    assert len(killed.pids) >= 3
    assert all(gone(pid) for pid in killed.pids)


def test_a_process_that_is_not_there_has_no_descendants():
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert descendants([ended.pid]) == set()


# -- the year ------------------------------------------------------------------------------------------------


def at(*moment: int, fold: int = 0) -> int:
    local = datetime(*moment, tzinfo=ZoneInfo(BERLIN), fold=fold)
    return round(local.timestamp() * 1000)


def year_of_0230() -> list[int]:
    """One run on each local day, as soon as its clock reads 02:30 or later."""
    days = [date(2026, 1, 1) + timedelta(days=count) for count in range(365)]
    return [at(day.year, day.month, day.day, *((3, 0) if day == date(2026, 3, 29) else (2, 30))) for day in days]


def judged(runs):
    return judge_days(runs, 2026, (2, 30), BERLIN)


@pytest.mark.parametrize(("day", "count"), [(date(2026, 3, 28), 1), (date(2026, 3, 29), 0), (date(2026, 10, 25), 2)])
def test_the_minutes_of_a_day_are_counted_as_the_clock_shows_them(day, count):
    assert len(times_of(day, 2, 30, BERLIN)) == count


def test_a_year_with_one_run_a_day_has_nothing_to_tell_but_the_two_changes():
    found = judged(year_of_0230())
    assert (found.runs, found.missing, found.doubled, found.elsewhere) == (365, (), (), ())
    assert list(found.unusual) == [date(2026, 3, 29), date(2026, 10, 25)]


def test_a_day_left_out_a_second_run_and_another_time_are_each_found_on_their_day():
    runs = year_of_0230()
    runs.remove(at(2026, 3, 29, 3, 0))
    runs.append(at(2026, 10, 25, 2, 30, fold=1))
    runs[runs.index(at(2026, 7, 1, 2, 30))] += 3_600_000
    found = judged(runs)
    assert found.missing == (date(2026, 3, 29),)
    assert found.doubled == (date(2026, 10, 25),)
    assert found.elsewhere == (date(2026, 7, 1),)


def test_a_rule_in_utc_is_at_another_time_for_the_whole_summer():
    first = round(datetime(2026, 1, 1, 1, 30, tzinfo=UTC).timestamp() * 1000)
    found = judged([first + count * DAY_MS for count in range(365)])
    assert (len(found.missing), len(found.doubled)) == (0, 0)
    assert len(found.elsewhere) == 209  # 30 March to 24 October


def test_runs_on_the_grid_do_not_drift_and_runs_counted_from_the_last_one_do():
    grid = judge_drift([n * DAY_MS + 500 for n in range(100)], 0, DAY_MS, 100 * DAY_MS)
    counted = judge_drift([n * (DAY_MS + 500) for n in range(100)], 0, DAY_MS, 100 * DAY_MS)
    assert (grid.owed, grid.missing, grid.last_ms, grid.latest_ms) == (100, 0, 500, 500)
    assert (counted.missing, counted.last_ms) == (0, 99 * 500)


def test_a_slot_without_a_run_is_missing_and_a_late_run_belongs_to_its_slot():
    found = judge_drift([0, 2 * DAY_MS + 7_200_000, 3 * DAY_MS], 0, DAY_MS, 4 * DAY_MS)
    assert (found.owed, found.missing, found.last_ms, found.latest_ms) == (4, 1, 0, 7_200_000)


# -- the page ------------------------------------------------------------------------------------------------


def test_every_row_of_the_page_fits_under_its_heads():
    verdict = judge([1, 2], told(STRUCK), [kill(0.5, 10)], left())
    found: list[tuple[Contender, Verdict | str]] = [(who, verdict) for who in CONTENDERS]
    found.append((CONTENDERS[0], "failed: RuntimeError"))
    days, drift = judged(year_of_0230()), judge_drift([0], 0, DAY_MS, DAY_MS)
    years = [Lived(name="one / two", days=days, period=drift, outage=None, expression=days)]
    rows = [(KILL_HEADS, kill_rows(found)), (DAY_HEADS, day_rows(years)), (DRIFT_HEADS, drift_rows(years))]
    assert [len(row) - len(heads) for heads, table in rows for row in table if len(row) != len(heads)] == []
    where = Circumstances(
        date="today", command="this", machine="that", load="0", postgres="18", redis="8", rota="0.1.0"
    )
    page = document(found, years, FULL, where)
    assert "29 Mar: 03:00 (UTC+02)" in page
    assert "celery 5" in page
    assert "{" not in page


def test_every_contender_has_its_list_of_versions_and_its_own_script():
    folder = Path(ledger.__file__).parent
    for who in CONTENDERS:
        assert (folder / f"{who.side}.py").exists()
        assert not who.peer or (folder.parent / "peers" / f"{who.peer}.txt").exists()
    assert {who.kind for who in CONTENDERS} == {"postgres", "redis", "sqlite"}
