"""What each command says and does, as text and as JSON, with its exit codes."""

import asyncio
import json

import pytest

from rota.clock import Clock
from rota.define.catalog import Catalog
from rota.events import Events
from rota.store.port import query
from rota.store.store import Store, database

READING = [
    "status",
    "why sellers/s1",
    "roster ls",
    "roster show sellers",
    "member ls sellers",
    "member show s1",
    "job ls",
    "job show refresh",
    "runs ls",
    "runs ls --state dead",
    "runs show 2-1",
    "runs tail",
    "cache ls",
    "audit",
    "db check",
    "doctor",
]


@pytest.mark.parametrize("command", READING)
def test_every_command_that_reads_has_one_object_with_its_schema(ticked, command):
    said = ticked(*command.split(), "--json")
    names = [word for word in command.split() if word.isalpha()]
    groups = {"roster", "member", "job", "runs", "cache", "db"}
    schema = ".".join(names[:2] if names[0] in groups else names[:1])
    assert said.exit == 0, said.err
    assert said.json["schema"] == f"rota.{schema}/1"
    assert said.out.count("\n") == 1


def test_the_morning_glance_tells_who_needs_somebody(ticked):
    said = ticked("status")
    lines = said.plain.splitlines()
    assert lines[0] == "Every member that has run is fresh; 2 have not run yet. shop · TIME"
    assert lines[2:4] == [
        "ROSTER MEMBERS FRESH LATE STALE NEW PAUSED OLDEST DUE NEXT HOUR",
        "sellers 6 66.6% 0 0 2 0 SPAN 0 " + lines[3].rpartition(" ")[2],
    ]
    assert " ⬣ 1 dead letter of refresh, the newest TIME: account closed" in lines
    assert lines[-1] == "Runs SPAN 5, 80.0% ok · workers 0 alive · last pass SPAN ago"


def test_status_check_is_for_monitors(folder, rota):
    rota("tick", "--job", "clean")
    assert rota("status", "--check", "-q").exit == 0
    rota("tick")
    assert rota("status", "--check", "-q") == (1, "", "")


def test_why_takes_a_key_alone_where_one_roster_has_it(ticked):
    said = ticked("why", "s3")
    assert said.out.startswith("◌ s3 is new")
    assert ticked("why", "sellers/s3").out == said.out
    assert ticked("why", "s3", "--json").json["member"] == "sellers/s3"


@pytest.mark.parametrize(
    ("command", "exit_code", "words"),
    [
        ("stats", 2, "did you mean 'status'?"),
        ("status --jsn", 2, "--json"),
        ("why nobody", 3, "no roster has a member 'nobody'"),
        ("job show refres", 3, "did you mean 'refresh'?"),
        ("roster show seller", 3, "did you mean 'sellers'?"),
        ("runs show 99-1", 3, "there is no run 99-1"),
        ("runs show x", 2, 'looks like "4711-3"'),
        ("runs requeue 99-1", 3, "--state dead"),
        ("job run refresh", 2, "--member KEY"),
        ("job run welcome", 2, "one-off"),
        ("member run s1 --job clean", 2, "does not run for members of sellers"),
        ("member add s9", 2, "ROSTER/KEY"),
        ("member add sellers/s9 --data [", 2, "must be JSON"),
        ("member add sellers/s9 --zone Mars/Base", 2, "IANA"),
        ("member pause s1", 2, "--reason"),
        ("member pause s1 --reason x --until 2026-01-01T00:00", 2, "must have a zone"),
        ("job pause refresh --reason x", 5, "this needs --yes"),
        ("member rm s1", 5, "this needs --yes"),
        ("stop --all --reason x", 5, "this needs --yes"),
        ("stop --reason x --yes", 2, "--all"),
        ("cache clear --yes", 2, "--prefix"),
        ("cache show nothing", 3, "no entry 'nothing'"),
        ("--db mysql://x/y status", 2, "expected sqlite:///"),
        ("--db sqlite:////proc/nothing/x.db status", 6, "cannot be made"),
        ("--db postgresql://u@127.0.0.1:1/x status", 6, "is PostgreSQL running there?"),
        ("--tz Mars/Base status", 2, "IANA"),
    ],
)
def test_a_refusal_is_a_sentence_and_a_code_and_with_json_a_problem(ticked, command, exit_code, words):
    said = ticked(*command.split())
    assert (said.exit, said.out) == (exit_code, "")
    assert words in said.err
    assert "Traceback" not in said.err
    problem = ticked(*command.split(), "--json")
    assert problem.exit == exit_code
    fields = json.loads(problem.err.splitlines()[-1])
    assert fields["type"].startswith("urn:rota:problem:")
    assert words in fields["detail"]


def test_a_job_is_paused_and_resumed_and_both_are_in_the_audit(ticked):
    until = ("--until", "2h")
    assert ticked("job", "pause", "refresh", "--reason", "bad key", *until, "--yes", "--by", "ana").exit == 0
    assert ticked("job", "show", "refresh", "--json").json["paused"]["by"] == "ana"
    assert "‖ paused by ana" in ticked("job", "ls").out
    assert ticked("tick", "--now", "--json").json["due"] == 1
    assert ticked("job", "resume", "refresh", "--by", "ana", "--json").json["changed"] is True
    assert ticked("job", "resume", "refresh").out == "job refresh was not paused.\n"
    acts = [(one["act"], one["target"], one["by"]) for one in ticked("audit", "--json").json["items"]]
    assert acts == [("resume", "job:refresh", "ana"), ("pause", "job:refresh", "ana")]


def test_a_member_is_held_let_go_moved_and_removed(ticked):
    assert len(ticked("member", "hold", "s1", "--reason", "consent", "--json").json["held"]) == 1
    assert ticked("member", "show", "s1", "--json").json["turns"][0]["doing"] == "held"
    assert ticked("member", "unhold", "s1").out == "1 turn of sellers/s1 due now.\n"
    moved = ticked("member", "move", "s1", "--slot", "5", "--json").json["turns"][0]
    assert (moved["slot"], moved["pinned"]) == (5, True)
    assert ticked("member", "rm", "s1", "--yes").exit == 0
    assert ticked("member", "show", "s1").exit == 3
    said = ticked("member", "add", "sellers/s1", "--zone", "Asia/Kolkata", "--data", '{"region": "in"}', "--json")
    assert (said.json["created"], said.json["data"], said.json["zone"]) == (True, {"region": "in"}, "Asia/Kolkata")


def test_running_by_hand_says_what_came_of_it(ticked):
    said = ticked("job", "run", "clean", "--json")
    assert said.json["created"] is True
    assert ticked("job", "run", "clean", "--json").json["created"] is False
    assert ticked("job", "run", "clean", "--wait", "1ms").exit == 1
    assert ticked("member", "run", "s1", "--json").json["job"] == "refresh"


def test_a_dead_letter_is_requeued_once(ticked):
    letter = ticked("runs", "ls", "--state", "dead", "--json").json["items"][0]
    assert letter["reason"] == "account closed"
    assert ticked("runs", "requeue", letter["run"]).exit == 0
    again = ticked("runs", "requeue", letter["run"])
    assert (again.exit, "requeued already" in again.err) == (7, True)
    assert ticked("runs", "ls", "--state", "dead").out == "No dead letters.\n"


def test_a_cause_is_retried_with_its_number_said(ticked):
    cause = ticked("runs", "ls", "--state", "dead", "--json").json["items"][0]["error"]
    assert ticked("runs", "retry", "--error", cause).exit == 5
    said = ticked("runs", "retry", "--error", cause, "--spread", "1m", "--yes", "--json")
    assert len(said.json["requeued"]) == 1


def test_a_run_that_waits_for_its_next_try_is_retried_and_cancelled(ticked):
    waiting = next(one for one in ticked("runs", "ls", "--json").json["items"] if one["outcome"] == "retry")["id"]
    assert ticked("runs", "retry", waiting).out == f"run {waiting} is due now.\n"
    assert ticked("tick", "--json").json["dead"] == 1
    current = ticked("member", "show", "s3", "--json").json["turns"][0]["run"]
    assert ticked("runs", "cancel", current, "--reason", "no use").out == f"run {current} is cancelled.\n"


def test_the_emergency_stop_is_told_and_ended(ticked):
    stopped = ticked("stop", "--all", "--reason", "bad release", "--yes", "--json")
    assert (stopped.exit, stopped.json["first"], stopped.json["running"]) == (0, True, [])
    assert ticked("status").out.startswith("Everything is stopped since ")
    assert ticked("status", "--check").exit == 1
    assert ticked("stop", "--all", "--reason", "again", "--yes").out.startswith("Everything was stopped already.")
    assert ticked("resume", "--all", "--catch-up", "none").exit == 0
    assert ticked("resume", "--all").out == "Nothing was stopped.\n"


def test_the_cache_is_listed_shown_and_cleared(folder, rota):
    (folder / "fill.py").write_text(
        "from app import rota\nrota.wait(rota.cache.set('a:1', 'ada', ttl='1h'))\n"
        "rota.wait(rota.cache.set('b:1', b'\\xff', ttl='1h'))\nrota.wait(rota.close())\n"
    )
    assert rota("--app", "fill:rota", "cache", "ls").out == "rota (table): 2 entries, 4 bytes\n"
    shown = rota("cache", "show", "a:1", "--json").json
    assert (shown["value"], shown["encoding"]) == ("ada", "utf-8")
    assert rota("cache", "show", "b:1", "--json").json["encoding"] == "base64"
    assert rota("cache", "ls", "a:", "--json").json["keys"] == ["a:1"]
    assert rota("cache", "clear", "--prefix", "a:", "--yes").out == "1 entry cleared.\n"
    assert rota("cache", "clear", "--all", "--yes", "--json").json["cleared"] == 1


def test_a_roster_is_synced_and_its_shrinking_source_is_refused_until_forced(folder, rota):
    assert rota("roster", "sync").out.startswith("sellers: 6 joined, 0 changed, 0 left; 6 members\n")
    app = folder / "app.py"
    app.write_text(app.read_text().replace("range(6)", "range(1)"))
    assert rota("roster", "sync").exit == 7
    assert rota("roster", "sync", "sellers", "--force", "--json").json["rosters"][0]["left"] == 5
    assert rota("roster", "rebalance", "sellers", "--preview").out.startswith("refresh: ")


def test_the_store_is_made_migrated_checked_copied_and_pruned(folder, rota):
    made = rota("db", "init")
    assert made.out == "sqlite shop.db is ready: schema 3, 3 jobs, 1 turn added\n"
    assert made.err.startswith("rota: made a new store, ")
    assert rota("db", "migrate").out == "sqlite shop.db has schema 3 already.\n"
    assert rota("db", "check", "--json").json["ok"] is True
    assert rota("db", "backup", "copy.db").exit == 0
    assert rota("db", "backup", "copy.db").exit == 2
    assert rota("--db", "sqlite:///copy.db", "job", "ls", "--json").json["jobs"][0]["job"] == "refresh"
    assert rota("db", "prune").out == "0 rows deleted\n"


async def _grow_old(url, version):
    store = Store(database(url, clock=Clock()), clock=Clock(), catalog=Catalog(), events=Events())
    await store.db.open()
    await store.write(lambda: query("put_meta", name="schema", value=version))
    await store.db.close()


def test_a_store_of_another_age_is_left_alone_and_explained(ticked):
    asyncio.run(_grow_old("sqlite:///shop.db", "99"))
    said = ticked("status")
    assert (said.exit, "install a newer rota" in said.err) == (6, True)
    assert ticked("db", "migrate").exit == 6
    assert ticked("doctor").exit == 1


def test_doctor_names_what_is_wrong_and_works_without_an_application(folder, rota):
    rota("roster", "sync")
    said = rota("doctor")
    assert said.exit == 0
    assert " ✓ durability: WAL, synchronous=full\n" in said.out
    weak = rota("--db", "sqlite:///shop.db?synchronous=normal", "doctor", "--json").json
    assert [one["level"] for one in weak["findings"] if one["check"] == "durability"] == ["warning"]
    lost = rota("--app", "nowhere", "doctor")
    assert (lost.exit, "✗ --app says 'nowhere'" in lost.out) == (1, True)
    away = rota("--db", "postgresql://u@127.0.0.1:1/x", "doctor")
    assert (away.exit, "is PostgreSQL running there?" in away.out) == (1, True)


def test_commands_speak_to_postgresql_as_well(folder, rota, postgres_url):
    at = ("--db", postgres_url)
    assert rota(*at, "tick", "--json").json["succeeded"] == 4
    for command in READING:
        assert rota(*at, *command.split(), "--json").exit == 0, command
    assert rota(*at, "db", "migrate").exit == 0
    assert rota(*at, "db", "backup", "x").exit == 2
    assert rota(*at, "doctor", "--json").json["errors"] == 0
    assert rota(*at, "stop", "--all", "--reason", "x", "--yes").exit == 0


def test_a_larger_act_needs_its_number(folder, rota):
    app = folder / "app.py"
    app.write_text(app.read_text().replace("range(6)", "range(1200)"))
    rota("roster", "sync")
    refused = rota("roster", "pause", "sellers", "--reason", "x", "--yes")
    assert (refused.exit, "--yes --count 1200" in refused.err) == (5, True)
    assert rota("roster", "pause", "sellers", "--reason", "x", "--yes", "--count", "1200").exit == 0
    assert rota("roster", "resume", "sellers").exit == 0


def test_help_starts_with_examples_and_names_the_environment(rota):
    said = rota("member", "run", "-h")
    assert said.exit == 0
    assert said.out.splitlines()[2] == "  $ rota member run sellers/s1 --job refresh --wait 1m"
    assert "ROTA_MEMBER_RUN_WAIT" in said.out
    assert rota("-V").out == rota("--version").out
    root = rota("-h").out
    assert all(name in root for name in ("tick", "worker", "status", "doctor", "audit", "db"))


def test_quiet_and_broken_logging_settings(ticked, monkeypatch):
    assert ticked("job", "ls", "--quiet") == (0, "", "")
    monkeypatch.setenv("ROTA_LOG", "xml")
    said = ticked("job", "ls")
    assert (said.exit, "ROTA_LOG must be 'text' or 'json'" in said.err) == (2, True)
