"""Status, why and the lists on both databases, and that the important reads use their indexes."""

import re

import pytest

from rota import operate, rosters
from rota.define.schedule import every
from rota.errors import BadInput, NotFound
from rota.insight import freshness, runs
from rota.insight.status import Facts, status, verdict
from rota.insight.why import why
from rota.store import chores, reads, turns
from rota.store.pauses import Pause
from rota.store.port import query
from rota.turn.records import Fresh, Line
from tests.store.held import DAY_MS, HOUR_MS, NOON_MS, catalog, look, opened

MINUTE_MS = 60_000


def shop(**more):
    return catalog("sellers", sync={"each": "sellers", "schedule": every("24h")}, mail={}, **more)


async def joined(store, count):
    await rosters.reconcile(store)
    await rosters.join_many(store, "sellers", [f"s{n:05}" for n in range(count)])


async def succeed(store, where, ago_ms, job="sync"):
    """Those turns succeeded so long ago; the target is a day, the grace a tenth of it."""
    at = store.clock.now_ms() - ago_ms
    text = (
        f"UPDATE rota.turn SET last_success_at = {at}, stale_at = {at + DAY_MS + DAY_MS // 10},"
        f" slot_at = {at + DAY_MS}, due_at = {at + DAY_MS} WHERE job = '{job}' AND {where}"
    )
    await look(store, text)


async def fail(store, where, fingerprint="f1", message="TokenExpired"):
    since = store.clock.now_ms() - HOUR_MS
    await look(store, f"UPDATE rota.turn SET error = '{fingerprint}', failing_since = {since} WHERE {where}")
    values = (fingerprint, "HTTPError", message, "client.py:112", None, 1, 1, 1)
    await store.write(lambda: query("add_errors", [("sync", *values)]))


def facts(**given):
    return Facts(at=NOON_MS, **given)


@pytest.mark.parametrize(
    ("sentence", "given"),
    [
        (
            "Everything is stopped since 11:00 by ana: 'bad release'.",
            {"stopped": Pause("all", "*", "ana", "bad release", NOON_MS - HOUR_MS, None), "stale": 3, "members": 9},
        ),
        (
            "Nothing has been started or settled for 4 min though 210 runs are due.",
            {"due": 210, "due_since": NOON_MS - 9 * MINUTE_MS, "last_pass_at": NOON_MS - 4 * MINUTE_MS, "members": 300},
        ),
        (
            "Nothing has been started or settled yet though at least 20,000 runs are due.",
            {"due": 20_000, "more": True, "due_since": NOON_MS - 9 * MINUTE_MS},
        ),
        (
            "Nothing has been started or settled yet though 1 run is due.",
            {"due": 1, "due_since": NOON_MS - 9 * MINUTE_MS},
        ),
        ("No worker is alive; 2 were lost.", {"lost": 2, "members": 3, "fresh": 3}),
        (
            "99.6% of members are fresh. 17 are stale, all for one reason.",
            {"members": 60_796, "fresh": 60_600, "stale": 17, "late": 179},
        ),
        (
            "50% of members are fresh. 1 is stale, all for one reason.",
            {"members": 3, "fresh": 1, "stale": 1, "paused": 1},
        ),
        ("0% of members are fresh. 2 are stale, for 2 reasons.", {"members": 2, "stale": 2, "reasons": 2}),
        ("All members are fresh or within grace; 231 are late.", {"members": 300, "fresh": 69, "late": 231}),
        ("Every member is fresh.", {"members": 5, "fresh": 4, "paused": 1, "alive": 0}),
        ("Every member that has run is fresh; 2 have not run yet.", {"members": 5, "fresh": 3}),
        ("No member has run yet.", {"members": 5}),
        ("Every member is paused.", {"members": 5, "paused": 5}),
        ("There are no members yet.", {}),
    ],
)
def test_the_verdict_is_the_first_rule_that_applies(sentence, given):
    assert verdict(facts(**given)) == sentence


def test_a_pass_a_moment_ago_or_work_due_a_moment_ago_is_no_silence():
    for given in [
        {"due": 5, "due_since": NOON_MS - MINUTE_MS, "last_pass_at": NOON_MS - DAY_MS},
        {"due": 5, "due_since": NOON_MS - DAY_MS, "last_pass_at": NOON_MS - MINUTE_MS},
    ]:
        assert verdict(facts(members=1, fresh=1, **given)) == "Every member is fresh."


async def test_status_is_the_object_that_was_promised(store_url):
    async with opened(store_url, shop()) as store:
        await joined(store, 24)
        found = (await status(store, application="shop", environment="test")).as_json()
        assert found["rosters"] == [
            {
                "roster": "sellers",
                "members": 24,
                "fresh": 0,
                "late": 0,
                "stale": 0,
                "new": 24,
                "paused": 0,
                "oldest": None,
                "due": 0,
                "nextHour": 1,
                "countedAt": "2026-01-01T12:00:00Z",
            }
        ]
        sync, mail = found["jobs"]
        assert (sync["job"], sync["roster"], sync["turns"], sync["due"]) == ("sync", "sellers", 24, 0)
        assert sync["nextDueAt"] == "2026-01-01T13:00:00Z"
        none = {"paused": None, "turns": 0, "due": 0, "running": 0, "held": 0, "dead": 0, "nextDueAt": None}
        assert mail == {"job": "mail", "roster": None, **none, "countedAt": "2026-01-01T12:00:00Z"}
        assert {key: found[key] for key in found if key not in {"rosters", "jobs"}} == {
            "schema": "rota.status/1",
            "application": "shop",
            "environment": "test",
            "at": "2026-01-01T12:00:00Z",
            "verdict": "No member has run yet.",
            "stopped": None,
            "attention": [],
            "waiting": [],
            "last24h": {"runs": 0, "succeeded": 0, "dead": 0},
            "workers": {"alive": 0, "lost": 0},
            "lastPassAt": None,
        }


async def test_a_member_counts_as_its_worst_job_and_states_follow_target_and_grace(store_url):
    known = shop(hourly={"each": "sellers", "schedule": every("1h")})
    async with opened(store_url, known) as store:
        await joined(store, 6)
        await look(
            store, "UPDATE rota.turn SET due_at = stale_at, stale_at = NULL, last_success_at = 1 WHERE job = 'hourly'"
        )
        await succeed(store, "member = 's00000'", HOUR_MS)
        await succeed(store, "member = 's00001'", DAY_MS + HOUR_MS)
        await succeed(store, "member = 's00002'", 2 * DAY_MS)
        await look(store, f"UPDATE rota.turn SET stale_at = {NOON_MS - 1} WHERE job = 'sync' AND member = 's00003'")
        await operate.pause(store, member="sellers/s00005", reason="holiday")
        one = (await status(store)).rosters[0]
        counts = one.counts
        assert (counts.fresh, counts.late, counts.stale, counts.new, counts.paused) == (1, 1, 2, 1, 1)
        assert counts.members == 6
        assert one.due == 2
        each = await store.read(lambda: freshness.current("sellers", NOON_MS))
        assert (each["hourly"].fresh, each["hourly"].paused) == (5, 1)
        assert each["sync"].oldest_at == NOON_MS - 2 * DAY_MS


async def test_what_is_paused_is_neither_due_nor_stale(store_url):
    async with opened(store_url, shop()) as store:
        await joined(store, 3)
        await succeed(store, "1 = 1", 2 * DAY_MS)
        before = (await status(store)).as_json()
        assert (before["rosters"][0]["stale"], before["rosters"][0]["due"], before["jobs"][0]["due"]) == (3, 3, 3)
        await operate.pause(store, job="sync", reason="vendor", by="ana")
        found = (await status(store)).as_json()
        assert {key: found["rosters"][0][key] for key in ("stale", "paused", "due", "members")} == {
            "stale": 0,
            "paused": 3,
            "due": 0,
            "members": 3,
        }
        assert found["jobs"][0]["paused"] == {
            "by": "ana",
            "reason": "vendor",
            "since": "2026-01-01T12:00:00Z",
            "until": None,
        }
        await operate.stop_all(store, "fire", by="mia")
        stopped = (await status(store)).as_json()
        assert stopped["verdict"] == "Everything is stopped since 12:00 by mia: 'fire'."
        assert stopped["stopped"]["by"] == "mia"


async def test_needs_attention_names_each_cause_once(store_url):
    async with opened(store_url, shop(gone={"schedule": every("1h")})) as store:
        await joined(store, 8)
        await succeed(store, "1 = 1", HOUR_MS)
        await succeed(store, "member < 's00005'", 2 * DAY_MS)
        await fail(store, "member < 's00003'")
        await fail(store, "member IN ('s00003', 's00004')", "f2", "no route")
        await operate.hold(store, member="sellers/s00007", reason="consent revoked")
        await operate.pause(store, member="sellers/s00006", reason="long", by="ana")
        await look(store, f"UPDATE rota.pause SET since = {NOON_MS - 30 * HOUR_MS}")
        await look(
            store,
            "INSERT INTO rota.dead_letter (turn, run, job, roster, member, tries, losses, reason, died_at)"
            f" VALUES (1, 1, 'sync', 'sellers', 's00001', 3, 0, 'TemplateError: x', {NOON_MS - HOUR_MS})",
        )
        values = {"name": "host:7", "kind": "worker", "version": "1", "concurrency": 1, "queues": ""}
        await store.write(lambda: query("add_worker", worker="w", lease_ms=-5_000, **values))
        del store.catalog.jobs["gone"]
        found = await status(store)
        assert [(one.kind, one.text, one.count) for one in found.matters] == [
            ("worker", "1 worker lost, host:7 last heard of 0 s ago", 1),
            ("stale", "3 of sellers stale: sync, HTTPError: TokenExpired since 11:00", 3),
            ("stale", "2 of sellers stale: sync, HTTPError: no route since 11:00", 2),
            ("dead", "1 dead letter of sync, the newest 11:00: TemplateError: x", 1),
            ("held", "1 turn of sync on hold: consent revoked", 1),
            ("pause", "member sellers/s00006 paused by ana for 1 d 6 h: long", 1),
            ("unknown", "the job gone is not in this release: its turns wait", 1),
        ]
        assert found.reasons == 2
        assert found.verdict == "Nothing has been started or settled yet though 5 runs are due."
        await store.write(lambda: query("put_meta", name="pass_at", value=str(NOON_MS)))
        assert (await status(store)).verdict == "No worker is alive; 1 was lost."
        assert (await status(store)).as_json()["lastPassAt"] == "2026-01-01T12:00:00Z"


async def test_a_large_roster_is_read_from_its_last_count(store_url, monkeypatch):
    monkeypatch.setattr(freshness, "SMALL", 10)
    monkeypatch.setattr(freshness, "PAGE", 7)
    async with opened(store_url, shop()) as store:
        await joined(store, 25)
        live = await store.read(lambda: freshness.current("sellers", NOON_MS))
        assert live[""].new == live["sync"].new == 25
        assert await freshness.recount(store, "sellers") == 25
        await succeed(store, "member < 's00005'", HOUR_MS)
        kept = await store.read(lambda: freshness.current("sellers", NOON_MS))
        assert (kept[""].new, kept[""].counted_at) == (25, NOON_MS)
        assert await freshness.recount(store, "sellers") == 0
        store.clock.at_ms += MINUTE_MS
        assert await freshness.recount(store, "sellers") == 25
        again = (await status(store)).rosters[0].counts
        assert (again.fresh, again.new, again.members) == (5, 20, 25)


async def test_the_next_hour_counts_a_short_period_as_often_as_it_comes(store_url):
    async with opened(store_url, catalog("sellers", quick={"each": "sellers", "schedule": every("10m")})) as store:
        await joined(store, 24)
        assert (await status(store)).rosters[0].next_hour == 24 * 6


async def test_sums_of_a_day_count_runs_and_not_tries(store_url):
    async with opened(store_url, shop()) as store:
        rows = [("sync", 10, 6, 2, 1, 0, 1, 0, 0)]
        await store.write(lambda: query("add_rollup", rows, worker="w1"))
        assert (await status(store)).as_json()["last24h"] == {"runs": 7, "succeeded": 6, "dead": 1}


async def test_why_says_that_all_is_well_and_what_comes_next(store_url):
    async with opened(store_url, shop()) as store:
        await joined(store, 2)
        await succeed(store, "1 = 1", HOUR_MS)
        assert await why(store, "s00000") == "● s00000 is fresh. Everything is on time. Next: sync in 23 h."


async def test_why_tells_what_is_behind_what_happened_what_comes_and_who_else(store_url):
    async with opened(store_url, shop()) as store:
        await joined(store, 5)
        await succeed(store, "1 = 1", 2 * DAY_MS)
        await fail(store, "member < 's00003'")
        turn = (await look(store, "SELECT id FROM rota.turn WHERE member = 's00000'"))[0][0]
        line = Line(turn, 1, 1, "sync", "sellers", "s00000", None, None, None, "w", "retry", "x", None, "f1", 1)
        await store.write(lambda: query("write_journal", [line, line, line._replace(outcome="dead")]))
        await operate.hold(store, member="sellers/s00000", reason="after death")
        assert (await why(store, "sellers/s00000")).splitlines() == [
            "▲ s00000 is stale.",
            "sync last succeeded 2 d ago (Tue 12:00); the target is 1 d, grace 2 h 24 min.",
            "Since 11:00 it failed 3 times; each time HTTPError: TokenExpired (client.py:112).",
            "It is on hold, so nothing runs until someone acts (after death).",
            "2 other sellers fail the same way.",
        ]
        await operate.unhold(store, member="sellers/s00000")
        assert "It is due since 12:00 and no worker is alive: start one, or run `rota tick`." in await why(
            store, "s00000"
        )
        await operate.pause(store, member="sellers/s00000", reason="holiday", by="ana")
        assert (await why(store, "s00000")).splitlines()[0] == "‖ s00000 is paused."
        assert "It is paused by ana since 12:00: holiday; nothing runs until someone resumes it." in await why(
            store, "s00000"
        )


async def test_why_names_what_the_failing_ones_share(store_url):
    known = catalog(("sellers", {"facets": ["app", "region"]}), sync={"each": "sellers", "schedule": every("24h")})
    async with opened(store_url, known) as store:
        await rosters.reconcile(store)
        entries = [
            {"key": f"s{n:02}", "data": {"app": "eu-7" if n < 6 else f"eu-{n % 3}", "region": "eu" if n % 2 else "us"}}
            for n in range(40)
        ]
        await rosters.join_many(store, "sellers", entries)
        await succeed(store, "1 = 1", 2 * DAY_MS)
        await fail(store, "member < 's06'")
        said = (await why(store, "s00")).splitlines()[-1]
        assert said == "5 other sellers fail the same way. All 6 have app eu-7; 15% of all sellers do."
        await fail(store, "member >= 's04' AND member < 's06'", "f2", "no route")
        assert (await why(store, "s00")).splitlines()[-1] == "3 other sellers fail the same way."


async def test_why_needs_one_member(store_url):
    known = catalog("sellers", "users", sync={"each": "sellers", "schedule": every("24h")})
    async with opened(store_url, known) as store:
        await rosters.reconcile(store)
        await rosters.join(store, "sellers", "s1")
        await rosters.join(store, "users", "s1")
        await rosters.join(store, "users", "u1")
        with pytest.raises(BadInput, match="sellers/s1, users/s1"):
            await why(store, "s1")
        with pytest.raises(NotFound, match="no roster has a member 'x'"):
            await why(store, "x")
        with pytest.raises(NotFound):
            await why(store, "sellers/x")
        with pytest.raises(NotFound, match="no turn of mail"):
            await why(store, "sellers/s1", "mail")
        assert await why(store, "u1") == "◌ u1 has no turns: no job runs for its roster yet."
        assert (await why(store, "sellers/s1")).startswith(
            "◌ s1 is new: it has not run yet.\nsync has never succeeded;"
        )


async def test_the_journal_is_paged_backwards_and_filtered(store_url):
    async with opened(store_url, shop()) as store:
        await joined(store, 2)
        turn = (await look(store, "SELECT id FROM rota.turn WHERE member = 's00001'"))[0][0]
        lines = [
            Line(
                turn if n % 5 == 0 else 999,
                n,
                1,
                "sync" if n % 2 else "mail",
                "sellers",
                None,
                *[None] * 3,
                "w",
                "succeeded",
                *[None] * 3,
                1,
            )
            for n in range(20)
        ]
        await store.write(lambda: query("write_journal", lines))
        first = await runs.runs(store, limit=8)
        then = await runs.runs(store, runs.Wanted(before=first.before), limit=50)
        assert [row.run for row in (*first.items, *then.items)] == list(range(19, -1, -1))
        assert then.before is None
        assert len((await runs.runs(store, runs.Wanted(job="sync"))).items) == 10
        assert [row.run for row in (await runs.runs(store, runs.Wanted(member="s00001"))).items] == [15, 10, 5, 0]
        assert [row.run for row in (await runs.runs(store, runs.Wanted(id=f"{turn}-10"))).items] == [10]
        assert (await runs.runs(store, runs.Wanted(outcome="dead"))).items == []
        with pytest.raises(BadInput, match="succeeded"):
            await runs.runs(store, runs.Wanted(outcome="won"))
        with pytest.raises(BadInput, match="1 to 500"):
            await runs.runs(store, limit=501)


async def test_a_filter_looks_at_a_bounded_part_of_history(store_url, monkeypatch):
    monkeypatch.setattr(reads, "SCAN", 5)
    async with opened(store_url, shop()) as store:
        lines = [
            Line(1, n, 1, "sync" if n == 0 else "mail", *[None] * 5, "w", "succeeded", *[None] * 3, 1)
            for n in range(12)
        ]
        await store.write(lambda: query("write_journal", lines))
        page = await runs.runs(store, runs.Wanted(job="sync"))
        looks = 1
        while not page.items:
            page = await runs.runs(store, runs.Wanted(job="sync", before=page.before))
            looks += 1
        assert (looks, page.items[0].run) == (3, 0)


async def test_a_member_in_detail(store_url):
    async with opened(store_url, shop()) as store:
        await joined(store, 1)
        found = await runs.member_detail(store, "s00000")
        assert (found.roster, found.member.key, [(one.turn.job, one.state) for one in found.turns]) == (
            *("sellers", "s00000"),
            [("sync", "new")],
        )
        assert await runs.errors(store) == []
        assert await runs.workers(store) == []


async def test_old_things_go_a_batch_at_a_time_and_young_ones_stay(store_url, monkeypatch):
    monkeypatch.setattr(chores, "BATCH", 2)
    async with opened(store_url, shop()) as store:
        for ago in (3, 2, 2, 1, 0):
            at = NOON_MS - ago * DAY_MS
            store.clock.at_ms = at
            await look(store, f"INSERT INTO rota.audit (at, by, act, target, count) VALUES ({at}, 'a', 'x', 'all', 1)")
            await look(
                store,
                "INSERT INTO rota.dead_letter (turn, run, job, tries, losses, reason, died_at)"
                f" VALUES (1, 1, 'mail', 1, 0, 'x', {at})",
            )
            await store.write(lambda: query("add_rollup", [("mail", 1, 1, 0, 0, 0, 0, 0, 0)], worker="w1"))
        for what, old in (("audit", 3), ("dead", 3), ("rollups", 2), ("journal", 0), ("errors", 0), ("pauses", 0)):
            gone = []
            while not gone or gone[-1] == 2:
                gone.append(await store.write(lambda: chores.prune(what, DAY_MS + MINUTE_MS)))  # noqa: B023
            assert sum(gone) == old, what
        assert [row[0] for row in await look(store, "SELECT count(*) FROM rota.audit")] == [2]


async def test_old_journal_rows_go_and_on_postgresql_whole_days(store_url):
    async with opened(store_url, shop()) as store:
        line = Line(1, 1, 1, "mail", *[None] * 5, "w", "succeeded", *[None] * 3, 1)
        for ago in (40, 31, 29, 0):
            store.clock.at_ms = NOON_MS - ago * DAY_MS
            lines = [line._replace(run=ago)]
            await store.write(lambda: query("write_journal", lines))  # noqa: B023
        store.clock.at_ms = NOON_MS
        assert await store.write(lambda: chores.prune("journal", 30 * DAY_MS)) == 2
        assert {row[0] for row in await look(store, "SELECT run FROM rota.journal")} == {29, 0}
        dictionary = store.db.dictionary
        old = await store.read(lambda: chores.old_partitions(dictionary, "rota", -40 * DAY_MS))
        if dictionary.dialect == "sqlite":
            assert old == []
            return
        assert len(old) >= 8
        assert await store.read(lambda: chores.old_partitions(dictionary, "rota", 30 * DAY_MS)) == []
        await store.write(lambda: chores.drop_partition(dictionary, old[0]))
        left = await store.read(lambda: chores.old_partitions(dictionary, "rota", -40 * DAY_MS))
        assert left == old[1:]


async def test_rollups_of_finished_hours_and_gone_workers_are_folded(store_url):
    async with opened(store_url, shop()) as store:
        for worker in ("w1", "w2", "alive"):
            await store.write(lambda: query("add_rollup", [("mail", 2, 1, 1, 0, 0, 0, 5, 7)], worker=worker))  # noqa: B023
        assert await store.write(chores.fold_rollups) == 0
        store.clock.at_ms += 2 * HOUR_MS
        values = {"name": "x", "kind": "worker", "version": "1", "concurrency": 1, "queues": ""}
        await store.write(lambda: query("add_worker", worker="alive", lease_ms=15_000, **values))
        assert await store.write(chores.fold_rollups) == 2
        assert await store.write(chores.fold_rollups) == 0
        rows = await look(
            store, "SELECT worker, runs, succeeded, retry, busy_ms, late_ms FROM rota.rollup ORDER BY worker"
        )
        assert rows == [("", 4, 2, 2, 10, 14), ("alive", 2, 1, 1, 5, 7)]


async def test_keys_and_lost_workers_are_forgotten_after_their_time(store_url):
    async with opened(store_url, shop()) as store:
        made = await store.write(lambda: turns.enqueue([Fresh("mail", "{}", "k1", None, 0, 0, HOUR_MS)]))
        await store.write(lambda: query("free_keys", [("mail", "k1", made[0][0])]))
        values = {"name": "x", "kind": "worker", "version": "1", "concurrency": 1, "queues": ""}
        await store.write(lambda: query("add_worker", worker="w", lease_ms=0, **values))
        store.clock.at_ms += HOUR_MS - 1
        assert (await store.write(chores.prune_keys), await store.write(chores.prune_workers)) == (0, 0)
        store.clock.at_ms += 2
        assert (await store.write(chores.prune_keys), await store.write(chores.prune_workers)) == (1, 1)


PLANS = {
    "job_counts": ({"most": 5}, [("sync", DAY_MS, 0), ("mail", HOUR_MS, 1)]),
    "stale_groups": ({"job": "sync", "most": 5, "groups": 5}, None),
    "member_turns": ({"roster": "sellers", "member": "s00001", "most": 5}, None),
    "turns_of_jobs": ({"most": 20_001}, [("sync", "sellers")]),
    "same_cause": ({"job": "sync", "error": "f1", "most": 5}, None),
    "failing_members": ({"job": "sync", "error": "f1", "looked": 5, "most": 5}, None),
    "runs_of_turns": (
        {"before": 9, "run": None, "job": None, "outcome": None, "error": None, "since_at": None, "most": 5},
        [(1,)],
    ),
    "few_turns": ({"roster": "sellers", "most": 20_001}, None),
    "held_reasons": ({}, [("sync",)]),
    "dead_newest": ({}, [("sync",)]),
    "dead_by_error": ({"error": "f1", "most": 5}, None),
}
# A walk over a whole table that grows with members or with history; a partial index of what is held or runs is small.
SMALL_WALK = r"(?!.*USING (COVERING )?INDEX (rota_)?turn_(held|running))"
FULL_WALK = re.compile(rf"^SCAN (turn|journal|dead|member)\b{SMALL_WALK}|Seq Scan on (turn|journal_\d)")


@pytest.mark.parametrize("name", PLANS)
async def test_no_read_walks_over_all_members_or_all_history(store_url, name):
    async with opened(store_url, shop()) as store:
        await joined(store, 300)
        dictionary = store.db.dictionary
        values, rows = PLANS[name]
        compiled = dictionary[name]
        explain = "EXPLAIN QUERY PLAN " if dictionary.dialect == "sqlite" else "EXPLAIN "
        if dictionary.dialect == "postgres":
            await look(store, "ANALYZE rota.turn")
            await look(store, "SET enable_seqscan = off")
        text = explain + compiled.text
        dictionary._compiled[name] = type(compiled)(
            name=name, text=text, columns=compiled.columns, values=compiled.values
        )
        plan = await store.write(lambda: query(name, rows, **values))
        lines = [str(row[-1]) for row in plan]
        assert [line for line in lines if FULL_WALK.search(line)] == [], lines
