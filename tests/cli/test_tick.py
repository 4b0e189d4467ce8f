"""`rota tick`: its one line, its object, its exit codes."""

import asyncio
import http.server
import json
import threading

import pytest

from rota.clock import Clock
from rota.define.catalog import Catalog
from rota.events import Events
from rota.store.port import query
from rota.store.store import Store, database


def test_without_a_terminal_a_tick_is_one_line(folder, rota):
    said = rota("tick")
    assert said.exit == 1
    first, _, error = said.plain.partition(" · first error: ")
    assert first == "6 due · 4 ok · 1 to be retried · 1 dead · SPAN · next TIME"
    assert error in {"refresh: ValueError: 401 TokenExpired\n", "refresh: account closed\n"}
    assert said.err.startswith("rota: made a new store, ")
    assert said.err.count("\n") == 1


def test_a_tick_with_nothing_due_says_when_something_is_and_exits_0(ticked):
    said = ticked("tick")
    assert (said.exit, said.plain, said.err) == (0, "Nothing is due · next TIME · SPAN\n", "")


def test_the_summary_has_a_line_for_each_job_that_had_something_due(folder, rota):
    lines = rota("tick", "--summary").plain.splitlines()
    assert lines[1].startswith(" refresh: 4 ok, 1 to be retried, 1 dead, SPAN: ")
    assert len(lines) == 2


def test_the_object_is_that_of_the_design(folder, rota):
    said = rota("tick", "--json")
    fields = said.json
    assert said.exit == 1
    assert fields["schema"] == "rota.tick/1"
    assert fields["ok"] is False
    counts = "succeeded retrying dead snoozed skipped held cancelled postponed left".split()
    assert fields["due"] == sum(fields[name] for name in counts) == 6
    assert [job["job"] for job in fields["jobs"]] == ["refresh", "clean", "welcome"]


def test_limits_and_selections_are_taken_from_the_command_line(folder, rota):
    limited = rota("tick", "--limit", "refresh=2", "--json").json
    assert limited["succeeded"] == 2
    assert limited["left"] >= 2
    assert rota("tick", "--job", "clean", "--json").json["due"] == 0
    assert rota("tick", "--max", "0", "--json").json["succeeded"] == 0
    assert rota("tick", "--roster", "sellers", "--now", "--json").json["succeeded"] > 0


def test_a_dry_run_starts_nothing(folder, rota):
    rota("roster", "sync")
    said = rota("tick", "--dry-run")
    assert said.out == "6 runs are due · nothing was started (dry run)\n"
    assert rota("tick", "--json").json["due"] == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--limit", "refresh"], "--limit must be JOB=N"),
        (["--time", "soon"], "time must be a duration"),
        (["--catch-up", "some"], "'latest', 'all' or 'none'"),
        (["--ping", "ftp://x"], "--ping must be an http:// or https:// address"),
        (["--max", "-1"], "-1 is not in the range"),
    ],
)
def test_an_option_that_cannot_be_taken_is_refused_in_one_sentence(folder, rota, arguments, words):
    said = rota("tick", *arguments)
    assert said.exit == 2
    assert words in said.err
    assert "Traceback" not in said.err


def test_an_unknown_job_is_not_found_and_the_nearest_is_named(folder, rota):
    said = rota("tick", "--job", "refres")
    assert said.exit == 3
    assert "did you mean 'refresh'?" in said.err


def test_an_option_can_come_from_the_environment(folder, rota, monkeypatch):
    monkeypatch.setenv("ROTA_TICK_MAX", "1")
    assert rota("tick", "--json").json["left"] == 5
    assert "ROTA_TICK_MAX" in rota("tick", "--help").out


async def _take_the_lease(url):
    db = database(url, clock=Clock())
    await db.open()
    store = Store(db, clock=Clock(), catalog=Catalog(), events=Events())
    await store.write(lambda: query("take_lease", name="tick", holder="another", lease_ms=60_000))
    await db.close()


@pytest.fixture
def busy(folder):
    """Another tick is at work on the shop's store."""
    asyncio.run(_take_the_lease(f"sqlite:///{folder}/shop.db"))


def test_a_second_tick_says_so_and_is_a_failure_only_when_asked(busy, rota):
    said = rota("tick")
    assert (said.exit, said.out) == (0, "Another tick is at work, so this one did nothing.\n")
    assert rota("tick", "--fail-if-busy").exit == 75


def test_a_monitor_is_called_at_start_and_end_and_fails_nothing(folder, rota):
    paths = []

    class Monitor(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Monitor) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/x"
        assert rota("tick", "--ping", address).exit == 1
        assert rota("tick", "--ping", address).exit == 0
        server.shutdown()
        thread.join()
    assert paths == ["/x/start", "/x/fail", "/x/start", "/x"]
    said = rota("tick", "--ping", address)
    assert said.exit == 0
    assert "the tick goes on" in said.err


def test_a_stopped_application_is_left_alone_by_a_tick(ticked):
    assert ticked("stop", "--all", "--reason", "bad release", "--yes", "--by", "mia").exit == 0
    said = ticked("tick", "--now")
    assert (said.exit, said.plain) == (
        0,
        "Everything is stopped since TIME by mia: 'bad release'. Nothing was started.\n",
    )
    assert json.loads(ticked("tick", "--json").out)["stopped"]["by"] == "mia"
