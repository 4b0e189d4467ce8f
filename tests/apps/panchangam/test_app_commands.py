"""The command line: what it prints, how it refuses, and its exit codes; the demo and `serve` as real processes."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import orjson
import pytest

from apps.panchangam import commands
from apps.panchangam.app import Almanac, build
from apps.panchangam.settings import PanchangamSettings
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[3]
HEADER = "kind,festival,city,lat,lon,year,date,special,source,sunrise,rahu_kalam_start"
ROW = "panchang,,Mumbai,19.0728,72.8826,,2026-11-22,,,{sunrise},"
MOST_S = 30  # seconds that a process may take before the test gives up


@pytest.fixture
def run(monkeypatch, capsys, sqlite_url):
    """Run a command in this process; gives its exit code, stdout and stderr."""

    def run(*words, **settings):
        chosen = {"city_precompute": "IN_TOP10", "precompute_days": 2} | settings
        monkeypatch.setattr(commands, "_app", lambda: build(PanchangamSettings(**chosen), Almanac(sqlite_url)))
        monkeypatch.setattr(sys, "argv", ["panchangam", *words])
        code = 0
        try:
            commands.main()
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_day_is_a_readable_table(run):
    code, out, _ = run("day", "bombay", "2026-05-20")
    assert code == 0
    assert out.startswith("Panchangam of Mumbai, 20 May 2026")
    assert "Adhika Jyeshtha" in out
    assert "\x1b" not in out


def test_a_day_as_json_is_the_document(run):
    _, out, _ = run("day", "mumbai", "2026-05-20", "--json")
    assert orjson.loads(out)["date"] == "2026-05-20"


def test_a_day_without_sunrise_or_moonrise_is_shown_as_such(run):
    days = [run("day", "mumbai", f"2026-11-{day:02}")[1] for day in range(1, 31)]
    assert sum("not at all" in shown for shown in days) >= 1


def test_festivals_of_a_year_are_listed_with_the_reason_in_json(run):
    _, out, _ = run("festivals", "mumbai", "2026")
    assert "Sun 08 Nov 2026" in out
    _, out, _ = run("festivals", "mumbai", "2026", "--json")
    diwali = next(each for each in orjson.loads(out)["festivals"] if each["id"] == "diwali")
    assert diwali["why"]["sentence"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["day", "pnue", "today"], 3, "did you mean 'pune'?"),
        (["day", "pune", "2026-02-30"], 2, "Expected a date"),
        (["festivals", "pune", "26"], 2, "Expected a year"),
        (["clear", "--prefix", "user:"], 2, "panchangam:"),
        (["clear", "--city", "pune", "--prefix", "festivals:"], 2, "found both"),
        (["check", "absent.csv"], 2, "absent.csv"),
        (["day", "pune"], 2, "DATE"),
        (["dance"], 2, "dance"),
    ],
)
def test_what_cannot_be_taken_costs_one_sentence(run, words, code, said):
    found, out, err = run(*words)
    assert (found, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_the_demo_runs_what_is_due_and_says_later_that_nothing_is(run):
    code, out, _ = run("demo")
    assert code == 0
    assert "10 of 10 cities" in out
    assert "10 cities were due: 10 succeeded" in out
    assert "Panchangam of Mumbai" in out
    code, out, _ = run("demo")
    assert code == 0
    assert "Nothing is due." in out
    assert "The next run is on" in out
    assert "02:30 IST" in out


def test_precompute_runs_all_cities_by_hand(run):
    run("demo")
    code, out, _ = run("precompute")
    assert (code, "10 cities were due: 10 succeeded" in out) == (0, True)


def test_precompute_works_while_the_schedule_is_switched_off(run):
    code, out, _ = run("demo", sched_enabled=False)
    assert "paused by SCHED_ENABLED" in out
    code, out, _ = run("precompute", sched_enabled=False)
    assert (code, "10 succeeded" in out) == (0, True)
    _, out, _ = run("status", "--json", sched_enabled=False)
    found = orjson.loads(out)
    assert found["coverage"] == {"wanted": 20, "present": 20}
    assert found["scheduler"]["enabled"] is False


def test_status_tells_the_next_run_the_last_pass_and_the_keys(run):
    run("precompute")
    code, out, _ = run("status")
    assert code == 0
    for words in ("02:30 IST", "10 of 10 cities", "20 of 20 days", "Keys festivals:*"):
        assert words in out


def test_clear_drops_a_city_a_prefix_or_everything(run):
    run("precompute")
    left = orjson.loads(run("status", "--json")[1])["keys"]
    total = sum(prefix["count"] for prefix in left)
    months = left[1]["count"]
    assert run("clear", "--city", "bombay")[1] == f"{2 + months // 10} keys dropped.\n"
    assert run("clear", "--prefix", "festivals:delhi")[1] == f"{months // 10} keys dropped.\n"
    assert run("clear")[1] == f"{total - 2 - 2 * (months // 10)} keys dropped.\n"


def test_check_counts_fields_and_ends_well_without_a_miss(run, tmp_path):
    file = tmp_path / "good.csv"
    file.write_text(f"{HEADER}\n{ROW.format(sunrise='2026-11-22T06:49:40')}\n")
    code, out, _ = run("check", str(file))
    assert code == 0
    assert "panchang: 1 rows, 1 fields compared, 0 failures" in out
    assert "tolerance 20 s" in out


def test_check_names_each_miss_and_ends_with_one(run, tmp_path):
    file = tmp_path / "bad.csv"
    file.write_text(f"{HEADER}\n{ROW.format(sunrise='2026-11-22T06:59:40')}\n")
    code, out, _ = run("check", str(file))
    assert code == 1
    assert "MISS line 2: expected sunrise" in out
    code, out, _ = run("check", str(file), "--json")
    assert (code, orjson.loads(out)["ok"]) == (1, False)


def environment(url, **more):
    return os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "ROTA_DB": url, "CITY_PRECOMPUTE": "IN_TOP10"} | more


def test_the_module_runs_as_a_process_and_the_engine_sees_its_store(sqlite_url):
    words = [sys.executable, "-m"]
    known = environment(sqlite_url, PRECOMPUTE_DAYS="2")
    demo = subprocess.run(
        [*words, "apps.panchangam", "demo"],
        cwd=ROOT,
        env=known,
        capture_output=True,
        text=True,
        timeout=MOST_S,
        check=False,
    )
    assert (demo.returncode, "10 succeeded" in demo.stdout) == (0, True), demo.stderr
    tick = subprocess.run(
        [*words, "rota", "tick", "--json"], cwd=ROOT, env=known, capture_output=True, timeout=MOST_S, check=False
    )
    assert (tick.returncode, orjson.loads(tick.stdout)["due"]) == (0, 0)


def test_a_wrong_variable_ends_a_process_with_two_and_one_sentence(sqlite_url):
    known = environment(sqlite_url, PRECOMPUTE_TIME="25:00")
    ended = subprocess.run(
        [sys.executable, "-m", "apps.panchangam", "status"],
        cwd=ROOT,
        env=known,
        capture_output=True,
        text=True,
        timeout=MOST_S,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("Expected PRECOMPUTE_TIME")
    assert len(ended.stderr.splitlines()) == 1


def test_serve_works_and_answers_in_one_process_and_ends_in_order(sqlite_url):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "apps.panchangam", "serve", "--port", str(port)],
        cwd=ROOT,
        env=environment(sqlite_url, PRECOMPUTE_DAYS="2"),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        done = False
        for line in process.stderr:
            done = done or "10 cities succeeded" in line
            if done:
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/summary", timeout=MOST_S) as answer:
            assert orjson.loads(answer.read())["succeeded"] == 10
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(MOST_S) == 0
        assert "worker.drained" in rest
    finally:
        process.kill()
        process.stderr.close()
        process.wait()
