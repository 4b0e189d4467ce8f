"""Bad input at the doors of the engine: one clear sentence each, and nothing is lost or written."""

from datetime import datetime

import pytest

from rota import Member, Retry, Rota, cron, every
from rota.errors import BadInput, ConfigError, DuplicateJob, NotFound, StoreError, StoreUnavailable
from tests.engine.conftest import Held


def declare(**options: object):
    """Declare a job with these options."""

    def act(rota: Rota) -> None:
        @rota.job(**options)
        async def job() -> None: ...

    return act


def twice(rota: Rota) -> None:
    for _ in range(2):
        declare()(rota)


def two_rosters(rota: Rota) -> None:
    rota.roster("shops")
    rota.roster("shops")


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (declare(schedule="* * * * *"), ConfigError, "schedule"),
        (lambda rota: cron("61 * * * *"), ConfigError, "61"),
        (lambda rota: cron("0 0 30 2 *"), ConfigError, "30"),
        (lambda rota: cron("* * * *", zone="UTC"), ConfigError, "five"),
        (lambda rota: cron("* * * * *", zone="Mars/Olympus"), ConfigError, "Mars/Olympus"),
        (lambda rota: every("soon"), ConfigError, "soon"),
        (declare(retries=3), ConfigError, "retry"),
        (declare(timeout="ten minutes"), ConfigError, "timeout"),
        (declare(priority=1000), ConfigError, "priority"),
        (declare(name="a b"), ConfigError, "a b"),
        (declare(each="nobody", schedule=every("1h")), ConfigError, "nobody"),
        (declare(catch_up="some", schedule=every("1h")), ConfigError, "latest"),
        (declare(schedule=every("24h"), min_gap="24h"), ConfigError, "min_gap"),
        (twice, DuplicateJob, "job"),
        (two_rosters, ConfigError, "shops"),
        (lambda rota: Retry(tries=0), ConfigError, "tries"),
    ],
)
def test_a_wrong_declaration_is_a_sentence_at_import(act, error, words) -> None:
    with pytest.raises(error, match=words) as caught:
        act(Rota("sqlite:///:memory:"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("shop.db", ConfigError, "sqlite:///"),
        ("mysql://localhost/shop", ConfigError, "postgresql"),
        ("sqlite://", ConfigError, "sqlite:///"),
        ("sqlite:///shop.db?synchronous=maybe", ConfigError, "synchronous"),
        ("sqlite:////proc/nowhere/shop.db", StoreError, "proc"),
        ("postgresql://127.0.0.1:1/shop", StoreUnavailable, "127.0.0.1:1"),
        ("postgresql://127.0.0.1:port/shop", Exception, "port"),
    ],
)
async def test_a_store_that_cannot_be_opened_is_one_sentence(url, error, words) -> None:
    rota = Rota(url)
    with pytest.raises(error, match=words) as caught:
        await rota.opened()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, StoreError | ConfigError)
    await rota.close()


async def test_a_file_that_is_no_database_is_one_sentence_and_stays_as_it_was(tmp_path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("these are notes, no tables " * 100)
    rota = Rota(f"sqlite:///{file}")
    with pytest.raises(StoreError, match=r"notes\.txt") as caught:
        await rota.opened()
    assert "\n" not in str(caught.value)
    await rota.close()
    assert file.read_text().startswith("these are notes")


@pytest.mark.parametrize(
    "member",
    ["", "a/b", " a", "a\n", "..", "k" * 513, "\ud800", 7, None, {"zone": "UTC"}, {"key": "a", "colour": "red"}],
)
async def test_a_bad_member_is_refused_and_none_of_its_fellows_is_written(t: Held, member: object) -> None:
    shops = t.rota.roster("shops")
    with pytest.raises(BadInput) as caught:
        await shops.join_many(["good", member])
    assert "\n" not in str(caught.value)
    assert await shops.count() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"zone": "Mars/Olympus"},
        {"data": {"x": float("nan")}},
        {"data": {"x": "\x00"}},
        {"data": ["list"]},
        {"weight": 0},
        {"weight": 1.5},
        {"owner": ""},
        {"slot": 99},
    ],
)
async def test_bad_fields_of_a_member_are_refused(t: Held, wrong: dict) -> None:
    shops = t.rota.roster("shops")

    @t.rota.job(each=shops, schedule=every("24h"))
    async def sync(shop: Member) -> None: ...

    with pytest.raises(BadInput):
        await shops.join("a", **wrong)
    assert await shops.count() == 0
    assert await t.look("SELECT count(*) FROM rota.turn") == [(0,)]


@pytest.mark.parametrize(
    "argument",
    [
        float("nan"),
        float("inf"),
        2**63,
        "nul \x00",
        "lone \ud800",
        object(),
        datetime(2026, 1, 1),  # noqa: DTZ001 -- a naive one is what is refused
        {1: "a"},
        b"bytes",
        "x" * 300_000,
    ],
    ids=["nan", "inf", "65 bits", "nul", "surrogate", "object", "naive", "key", "bytes", "long"],
)
async def test_an_argument_that_no_store_can_keep_is_refused_by_both_alike(t: Held, argument: object) -> None:
    @t.rota.job
    async def take(what: object) -> None: ...

    with pytest.raises(BadInput) as caught:
        await take.enqueue(argument)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert await t.look("SELECT count(*) FROM rota.turn") == [(0,)]


async def test_what_is_missing_is_not_found(m: Held) -> None:
    shops = m.rota.roster("shops")

    @m.rota.job("sync", each=shops, schedule=every("1h"))
    async def sync(shop: Member) -> None: ...

    assert await shops.get("nobody") is None
    assert await shops.leave("nobody") is False
    with pytest.raises(NotFound, match="nobody"):
        await sync.turn("nobody")
    with pytest.raises(NotFound, match="nobody"):
        await shops.update("nobody", weight=2)


async def test_an_application_that_is_open_cannot_be_included(m: Held) -> None:
    other = Rota("sqlite:///:memory:")
    await other.opened()
    with pytest.raises(ConfigError, match="include"):
        m.rota.include(other)
    await other.close()


async def test_stored_data_of_a_member_that_is_not_json_any_more_ends_its_runs_with_a_sentence(t: Held) -> None:
    shops = t.rota.roster("shops")

    @t.rota.job("sync", each=shops, schedule=every("1h"), first_run="now")
    async def sync(shop: Member) -> None: ...

    await shops.join_many(["a", "b"])
    await t.look("UPDATE rota.member SET data = '{broken' WHERE key = 'a' RETURNING key")
    await t.drain()
    outcomes = dict(await t.outcomes("member", "outcome"))
    assert outcomes == {"a": "dead", "b": "succeeded"}
