"""Policies, members and jobs as declared: defaults, what is worked out, and what is refused at import."""

import pickle
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.define.job import job_spec
from rota.define.policy import Batch, Cap, CatchUp, Limit, Retry, filled_template
from rota.define.roster import Member, checked_member, member_of, roster_spec
from rota.define.run import Run
from rota.define.schedule import cron, daily, every
from rota.define.units import DAY_MS, HOUR_MS, MINUTE_MS
from rota.errors import BadInput, ConfigError


async def update(seller: Member) -> None: ...


async def welcome(email: str) -> None: ...


def plain() -> None: ...


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_the_delay_of_a_retry_lies_between_the_plain_one_and_its_jitter(used, dice, jitter):
    found = Retry(tries=60, first="2s", factor=2, max="1h", jitter=jitter).delay_ms(used, dice)
    nominal = min(3_600_000, 2_000 * 2 ** (used - 1))
    assert nominal <= found <= nominal * (1 + jitter)


def test_the_defaults_of_a_retry():
    assert [Retry().delay_ms(used, 0) for used in (1, 2, 3)] == [2_000, 4_000, None]
    assert Retry().delay_ms(1, 0.5) == 2_100
    assert Retry() == Retry(first=timedelta(seconds=2))
    assert pickle.loads(pickle.dumps(Retry())) == Retry()  # noqa: S301 - as the process pool does it


def test_listed_delays_are_one_try_more_and_have_no_jitter():
    retry = Retry(delays=["10s", "20s", "40s"])
    assert [retry.delay_ms(used, 0.9) for used in (1, 2, 3, 4)] == [10_000, 20_000, 40_000, None]
    assert Retry(delays=["10s"], jitter=0.5).delay_ms(1, 0.5) == 12_500


def test_a_huge_factor_ends_at_the_maximum():
    assert Retry(tries=1_000, factor=1_000).delay_ms(999, 0) == 3_600_000


@pytest.mark.parametrize(
    "options",
    [
        {"tries": 0},
        {"tries": True},
        {"tries": 2.0},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"jitter": 2},
        {"first": "soon"},
        {"delays": []},
        {"delays": "10s"},
        {"delays": ["10s"], "tries": 5},
    ],
)
def test_a_wrong_retry_is_refused(options):
    with pytest.raises(ConfigError):
        Retry(**options)


def test_policies_are_there_in_milliseconds():
    assert (Limit("a", "20/s").burst, Limit("a", "30/m").burst, Limit("a", "20/s", burst=5).burst) == (20, 1, 5)
    assert (Batch(10, pause="5s").pause_ms, Batch(10, pause="5s")) == (5_000, Batch(10, timedelta(seconds=5)))
    assert (CatchUp().kind, CatchUp().spread_ms, CatchUp().most, CatchUp().window_ms) == ("latest", 600_000, 100, None)
    assert filled_template("ads:{region}", {"region": "eu"}) == "ads:eu"
    assert filled_template("ads:{region}", {}) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limit("", "20/s"),
        lambda: Limit("a{", "20/s"),
        lambda: Limit("a{b c}", "20/s"),
        lambda: Limit("a", "20"),
        lambda: Cap(0),
        lambda: Cap(1, by="a b"),
        lambda: Batch(0),
        lambda: CatchUp("latst"),
        lambda: CatchUp(most=0),
    ],
)
def test_a_wrong_policy_is_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_a_member_is_its_own_copy():
    data = {"region": "eu", "tags": ["a"]}
    member = checked_member("s1", "Europe/Berlin", data, "u7", 3, roster="sellers")
    data["tags"].append("b")
    assert member == Member("s1", "Europe/Berlin", {"region": "eu", "tags": ["a"]}, "u7", 3, roster="sellers")
    assert hash(member) == hash(checked_member("s1", "Europe/Berlin", {}, "u7", 3, roster="sellers"))


def test_a_source_may_yield_keys_dicts_and_members():
    wanted = Member("s1", roster="sellers")
    for entry in ("s1", {"key": "s1"}, Member("s1")):
        assert member_of(entry, roster="sellers") == wanted
    for wrong in (5, {}, {"key": "s1", "zoen": "UTC"}, None, ("s1",)):
        with pytest.raises(BadInput, match="member"):
            member_of(wrong)


@pytest.mark.parametrize(
    "options",
    [
        {"key": "a/b"},
        {"zone": "Nowhere"},
        {"data": []},
        {"data": {"x": float("nan")}},
        {"data": "x"},
        {"owner": ""},
        {"weight": 0},
        {"weight": 1.5},
        {"weight": True},
    ],
)
def test_a_wrong_member_is_refused(options):
    with pytest.raises(BadInput):
        checked_member(**{"key": "s1", **options})


def test_a_roster_is_checked_where_it_is_declared():
    assert roster_spec("sellers", facets=["region"]).facets == ("region",)
    for options in ({"source": 5}, {"facets": "region"}, {"max_shrink": 2}):
        with pytest.raises(ConfigError, match="sellers"):
            roster_spec("sellers", **options)
    with pytest.raises(ConfigError, match="roster"):
        roster_spec("1")


def test_the_defaults_of_a_job():
    spec = job_spec(update, each=SimpleNamespace(name="sellers"), schedule=every("24h"))
    assert (spec.name, spec.each, spec.queue, spec.priority, spec.timeout_ms) == (
        "update",
        "sellers",
        "default",
        0,
        600_000,
    )
    assert (spec.target_ms, spec.grace_ms, spec.one_off, spec.balanced) == (DAY_MS, DAY_MS // 10, False, True)
    assert (spec.catch_up, spec.retry, spec.max_lost, spec.is_async) == (CatchUp(), Retry(), 3, True)
    assert spec.describe() == "every 24 h"
    assert job_spec(plain, schedule=every("5m")).grace_ms == MINUTE_MS


def test_a_job_without_each_schedule_and_after_is_a_one_off():
    spec = job_spec(welcome, cap=3, limit=Limit("mail", "5/s"), batch=None, name="hello")
    assert (spec.one_off, spec.cap, spec.limits, spec.name) == (True, Cap(3), (Limit("mail", "5/s"),), "hello")
    assert spec.target_ms is None
    assert not job_spec(update, each="sellers", after="clean").one_off


def test_the_signature_of_a_job_changes_with_its_schedule_and_roster():
    jobs = [
        job_spec(update, each="sellers", schedule=every("24h")),
        job_spec(update, each="sellers", schedule=every("12h")),
        job_spec(update, each="users", schedule=every("24h")),
        job_spec(update, each="sellers", after=["clean", SimpleNamespace(name="load")]),
    ]
    assert len({spec.signature for spec in jobs}) == 4
    assert jobs[3].after == ("clean", "load")


EACH = {"each": "sellers", "schedule": every("24h")}


@pytest.mark.parametrize(
    ("handler", "options", "sentence"),
    [
        (update, {**EACH, "prioritty": 1}, "did you mean 'priority'"),
        (update, {**EACH, "catch_up": "latst"}, "did you mean 'latest'"),
        (update, {**EACH, "keep": "last"}, "keep="),
        (update, {**EACH, "priority": 101}, "-100 to 100"),
        (update, {**EACH, "timeout": 600}, "timeout= of the job 'update'"),
        (update, {**EACH, "timeout": "0s"}, "at least 1ms"),
        (update, {**EACH, "retry": 3}, "Retry"),
        (update, {**EACH, "cap": "3"}, "cap="),
        (update, {**EACH, "limit": "20/s"}, "Limit"),
        (update, {**EACH, "queue": "a b"}, "queue"),
        (update, {**EACH, "run_in": "thread"}, "async"),
        (plain, {"schedule": every("1h"), "run_in": "treads"}, "run_in="),
        (update, {**EACH, "after": "clean"}, "both schedule= and after="),
        (update, {**EACH, "schedule": "24h"}, "every\\(\\)"),
        (update, {"each": "sellers"}, "neither"),
        (update, {"schedule": every("24h")}, "no each="),
        (update, {}, "no each="),
        (welcome, {"schedule": every("24h")}, "nobody gives arguments"),
        (plain, {"schedule": daily("at")}, "needs each="),
        (welcome, {"min_gap": "1h"}, "one-off"),
        (welcome, {"target": "1h"}, "one-off"),
        (welcome, {"batch": Batch(5)}, "members come in batches"),
        (welcome, {"secret": ["emial"]}, "did you mean 'email'"),
        (welcome, {"name": "1st"}, "name of a job"),
        (lambda: None, {}, "name of a job"),
        (update, {**EACH, "min_gap": "24h"}, "23h59m"),
        (5, {}, "function"),
    ],
)
def test_a_wrong_declaration_is_refused_in_one_sentence(handler, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        job_spec(handler, **options)


def test_a_batch_handler_needs_a_batch():
    async def many(sellers: list[Member]): ...

    with pytest.raises(ConfigError, match="batch="):
        job_spec(many, **EACH)
    assert job_spec(many, **EACH, batch=Batch(5)).arguments.takes_members


def test_a_cool_off_near_the_shortest_slot_gap_is_refused():
    berlin = daily("08:00", zone="Europe/Berlin")
    assert job_spec(update, each="sellers", schedule=berlin, min_gap="22h59m").min_gap_ms == 23 * HOUR_MS - MINUTE_MS
    with pytest.raises(ConfigError, match="at most 22h59m"):
        job_spec(update, each="sellers", schedule=berlin, min_gap="23h")
    with pytest.raises(ConfigError, match="leave it out"):
        job_spec(plain, schedule=cron("* * * * *"), min_gap="1s")


def test_a_generator_is_no_handler():
    def yields():
        yield 1

    with pytest.raises(ConfigError, match="generator"):
        job_spec(yields)


def test_a_run_knows_who_when_and_which_try():
    asked = []
    port = SimpleNamespace(cancelled=lambda run: asked.append(run.id) or True)
    run = Run(4711, 3, 9, 2, "update", "sellers", "s1", 0, 1_000, 601_000, "store7", port)
    assert (run.id, run.idempotency_key, run.number, run.attempt, run.tries) == ("4711-3", "store7-4711-3", 3, 9, 2)
    assert run.slot_at.isoformat() == "1970-01-01T00:00:00+00:00"
    assert (run.deadline - run.due_at).total_seconds() == 600
    assert run.cancelled
    assert asked == ["4711-3"]


async def test_what_a_run_does_goes_through_its_port():
    seen = []

    class Port:
        async def step(self, run, name, call):
            seen.append(name)
            return call()

        async def complete(self, run, result, connection):
            seen.append((result, connection))

        async def progress(self, run, done, total):
            seen.append((done, total))

    run = Run(1, 1, 1, 1, "j", None, None, None, 0, 0, "s", Port())
    assert await run.step("report", max, 3, 7) == 7
    await run.complete({"a": 1}, on="db")
    await run.progress(3, 10)
    assert run.slot_at is None
    assert seen == ["report", ({"a": 1}, "db"), (3, 10)]
