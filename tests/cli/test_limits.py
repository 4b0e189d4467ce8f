"""`rota limit` and `rota cooldown`, and what the other commands say of limits, cool-downs and chains."""

import json

import pytest

SHOP = """
from rota import Batch, Cap, Limit, Member, RateLimited, Rota, every

rota = Rota("sqlite:///shop.db", name="shop")
sellers = rota.roster("sellers", source=lambda: [{"key": f"s{i}", "data": {"region": "eu"}} for i in range(3)])


@rota.job(each=sellers, schedule=every("24h"), first_run="now", limit=Limit("ads:{region}", "1/h", burst=1))
async def sync(seller: Member) -> None: ...


@rota.job(limit=Limit("geocoder", "20/s", burst=5), cap=Cap(2, by="city"), serial="{city}")
async def locate(city: str) -> None: ...


@rota.job(scope="llm:large")
async def tell(text: str) -> str:
    raise RateLimited("llm:large", after="30m")


@tell.fallback(on=RateLimited, scope="llm:small")
async def tell_briefly(text: str) -> str:
    return "short"


@rota.job(each=sellers, schedule=every("7d"), batch=Batch(10, pause="5s"))
async def report(seller: Member) -> None: ...
"""

SPEAK = """
import asyncio
from app import locate, rota, tell

async def main():
    async with rota:
        await tell.enqueue("hello")

asyncio.run(main())
"""


@pytest.fixture
def shop(empty, rota):
    """The shop after one tick: one of three sellers has used up the limit of its region, one text came by fallback."""
    (empty / "app.py").write_text(SHOP)
    rota("db", "init")
    exec(compile(SPEAK, "speak", "exec"), {})  # noqa: S102 -- as a program of the user's beside the command line
    assert rota("tick").exit == 0
    return rota


@pytest.mark.parametrize("command", ["limit ls", "limit show ads:eu", "cooldown ls"])
def test_what_reads_has_one_object_with_its_schema(shop, command):
    said = shop(*command.split(), "--json")
    assert said.exit == 0, said.err
    assert said.json["schema"] == f"rota.{'.'.join(command.split()[:2])}/1"
    assert said.out.count("\n") == 1


def test_limits_are_listed_with_those_that_most_wait_for_first(shop):
    said = shop("limit", "ls")
    lines = said.plain.splitlines()
    assert lines[0] == "LIMIT RATE USED WAITING SINCE NEXT CLEARS SAID BY JOBS"
    assert lines[1].startswith("ads:eu 1/h 1/1 2 ")
    assert lines[1].endswith(" – sync")
    assert lines[2] == "geocoder 20/s 0/5 0 – – – – locate"
    first = shop("limit", "ls", "--json").json["items"][0]
    assert (first["limit"], first["bucket"], first["waiting"], first["burst"]) == ("ads:{region}", "ads:eu", 2, 1)
    assert first["nextAt"] < first["clearsAt"]


def test_a_limit_is_set_for_a_while_and_reset_and_both_are_in_the_audit(shop):
    said = shop("limit", "set", "geocoder", "5/s", "--burst", "9", "--for", "1h", "--reason", "moving", "--by", "ana")
    assert said.exit == 0, said.err
    assert said.plain == "geocoder is 5/s until TIME, declared 20/s.\n"
    shown = shop("limit", "show", "geocoder")
    assert shown.plain.splitlines()[:2] == [
        "geocoder: declared 20/s, used by locate",
        "ana said 5/s, burst 9, until TIME",
    ]
    assert shop("limit", "reset", "geocoder", "--by", "ana").out == "geocoder is 20/s, declared 20/s.\n"
    acts = [(one["act"], one["target"], one["by"], one["reason"]) for one in shop("audit", "--json").json["items"]]
    assert acts == [("set_limit", "limit:geocoder", "ana", None), ("set_limit", "limit:geocoder", "ana", "moving")]


def test_a_template_is_set_for_all_of_its_buckets(shop):
    assert shop("limit", "set", "ads:{region}", "100/s").plain.startswith("ads:{region} is 100/s, declared 1/h")
    assert shop("tick", "--job", "sync", "--json").json["succeeded"] == 2


def test_a_cool_down_is_set_listed_and_cleared(shop):
    assert shop("cooldown", "set", "geocoder", "--for", "10m", "--reason", "they called").plain == (
        "geocoder cools until TIME.\n"
    )
    lines = shop("cooldown", "ls").plain.splitlines()
    assert lines[0] == "SCOPE STATE UNTIL FAILURES WAITING JOBS REASON"
    assert [line.split()[0] for line in lines[1:]] == ["llm:large", "geocoder"]
    assert "◠ cooling TIME 1 0 locate they called" in lines[2]
    assert shop("cooldown", "clear", "geocoder").out == "1 cool-down cleared.\n"
    assert shop("cooldown", "clear", "geocoder").out == "geocoder was not cooling.\n"
    assert shop("cooldown", "clear", "llm:{any}", "--json").json["cleared"] == 1
    assert shop("cooldown", "ls").out == "Nothing cools.\n"


@pytest.mark.parametrize(
    ("command", "exit_code", "words"),
    [
        ("limit show geocodr", 3, "did you mean 'geocoder'?"),
        ("limit set geocodr 1/s", 3, "did you mean 'geocoder'?"),
        ("limit set geocoder", 2, "RATE"),
        ("limit set geocoder fast", 2, 'must be a rate such as "20/s"'),
        ("limit set geocoder 1/s --burst 0", 2, "burst must be a whole number"),
        ("limit set geocoder 1/s --for soon", 2, "must be a duration"),
        ("limit set geocoder 1/s --until 2026-01-01T00:00Z", 2, "must lie ahead"),
        ("limit st geocoder", 2, "there is no command 'st'"),
        ("cooldown set geocoder --reason x", 2, "--for 10m"),
        ("cooldown set geocoder --for 1h", 2, "--reason"),
        ("cooldown set ads:{region} --for 1h --reason x", 2, "say which"),
        ("cooldown set geocodr --for 1h --reason x", 3, "did you mean 'geocoder'?"),
        ("cooldown clear nothing", 3, "there is no scope 'nothing'"),
    ],
)
def test_a_refusal_is_a_sentence_and_a_code_and_with_json_a_problem(shop, command, exit_code, words):
    said = shop(*command.split())
    assert (said.exit, said.out) == (exit_code, "")
    assert words in said.err
    assert "Traceback" not in said.err
    problem = shop(*command.split(), "--json")
    assert words in json.loads(problem.err.splitlines()[-1])["detail"]


def test_the_morning_glance_tells_what_waits(shop):
    lines = shop("status").plain.splitlines()
    assert "Needs attention" in lines
    assert " ◠ 2 waiting: limit ads:eu 1/h, clears about TIME" in lines
    assert any(line.startswith(" ◠ scope llm:large cools until TIME: ") for line in lines)
    kinds = {one["kind"] for one in shop("status", "--json").json["attention"]}
    assert kinds == {"limit", "cooling"}
    assert shop("status", "--check", "-q").exit == 0


def test_why_and_the_run_itself_tell_what_is_waited_for(shop):
    texts = [shop("why", f"s{number}", "--job", "sync").out for number in range(3)]
    waiting = [text for text in texts if "It waits for room under the limit ads:eu (1/h)" in text]
    assert len(waiting) == 2
    turns = [shop("member", "show", f"s{number}", "--json").json["turns"] for number in range(3)]
    ids = [turn["run"] for three in turns for turn in three if turn["job"] == "sync" and turn["lastSuccessAt"] is None]
    said = shop("runs", "show", ids[0])
    assert "It waits for room under the limit ads:eu (1/h)" in said.out


def test_a_run_that_another_link_answered_is_ok_by_fallback(shop):
    line = next(line for line in shop("runs", "ls", "--job", "tell").plain.splitlines() if "fallback" in line)
    assert "● OK by fallback tell_briefly" in line
    assert "tell: " in line
    (run,) = shop("runs", "ls", "--job", "tell", "--json").json["items"]
    assert (run["outcome"], run["link"]) == ("succeeded", "tell_briefly")


def test_a_job_shows_its_policies_in_words(shop):
    shown = shop("job", "show", "locate").out
    for words in (
        "limit geocoder 20/s, burst 5",
        "at most 2 at once for each city",
        "one after the other for each {city}",
    ):
        assert words in shown
    assert "chain tell (llm:large) → tell_briefly (llm:small)" in shop("job", "show", "tell").out
    listed = {one["job"]: one["policies"] for one in shop("job", "ls", "--json").json["jobs"]}
    assert listed["report"] == ["batches of 10, 5 s in between"]
    assert "batches of 10, 5 s in between" in shop("job", "ls").out
