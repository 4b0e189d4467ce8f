"""The operators' verbs on both databases: what each does to the tables, and the one audit row it leaves."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from rota import operate, rosters
from rota.clock import Clock
from rota.define.policy import Retry
from rota.define.schedule import every
from rota.errors import BadInput, Conflict, IllegalTransition, NotFound
from rota.insight import runs
from rota.store import chores, pauses, turns
from rota.store.port import query
from rota.turn.records import Fresh
from tests.store.held import DAY_MS, HOUR_MS, NOON_MS, HeldClock, catalog, look, opened

MINUTE_MS = 60_000


class MovingClock(HeldClock):
    """Sleeping moves it, so that waiting costs a test nothing."""

    def __init__(self):
        super().__init__()
        self.slept = 0.0

    async def wait(self, seconds):
        self.slept += seconds
        self.at_ms += int(seconds * 1000)

    sleep = wait


def jobs(**options):
    given = {"each": "sellers", "schedule": every("24h"), **options}
    return catalog("sellers", sync=given, mail={}, report={"schedule": every("6h")})


TURN = (
    "SELECT id, state, due_at, slot_at, manual, run, tries, paused, reason, cancel, caught FROM rota.turn"
    " WHERE job = :job ORDER BY id"
)
FIELDS = ("id", "state", "due_at", "slot_at", "manual", "run", "tries", "paused", "reason", "cancel", "caught")


async def turn(store, job="sync"):
    rows = await look(store, TURN, job=job)
    return dict(zip(FIELDS, rows[0], strict=True)) if rows else None


async def change(store, job="sync", **values):
    sets = ", ".join(f"{name} = {value!r}" if value is not None else f"{name} = NULL" for name, value in values.items())
    await look(store, f"UPDATE rota.turn SET {sets} WHERE job = :job", job=job)


async def start(store, job="sync", worker="w1", lease_ms=15_000):
    values = {"name": f"host:{worker}", "kind": "worker", "version": "1", "concurrency": 4, "queues": ""}
    await store.write(lambda: query("add_worker", worker=worker, lease_ms=lease_ms, **values))
    await change(store, job, state="running", worker=worker, leased_until=NOON_MS + DAY_MS, attempt=1, tries=1)


async def acts(store):
    return [(row.act, row.target, row.number, row.by, row.reason) for row in reversed(await runs.audit(store))]


async def journal(store):
    return await look(store, "SELECT job, outcome, reason, slot_at, slots, run FROM rota.journal ORDER BY id")


async def sellers(store, *keys):
    await rosters.reconcile(store)
    await rosters.join_many(store, "sellers", keys or ["s1"])


async def test_a_run_by_hand_pulls_the_turn_forward_and_leaves_its_slot(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        before = await turn(store)
        asked = await operate.run_now(store, "sync", "s1", reason="a customer called", by="ana")
        after = await turn(store)
        assert (asked.turn, asked.run, asked.created, asked.paused) == (before["id"], 1, True, None)
        assert (after["due_at"], after["slot_at"], after["manual"]) == (NOON_MS, before["slot_at"], 1)
        again = await operate.run_now(store, "sync", "s1", by="ben")
        assert (again.turn, again.run, again.created) == (before["id"], 1, False)
        assert await acts(store) == [
            ("run_now", "turn:sync@sellers/s1", 1, "ana", "a customer called"),
            ("run_now", "turn:sync@sellers/s1", 0, "ben", None),
        ]


async def test_a_run_by_hand_finds_the_run_that_is_owed_already(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        await change(store, slot_at=NOON_MS - 5, due_at=NOON_MS + 60_000, tries=1)
        asked = await operate.run_now(store, "sync", "s1")
        after = await turn(store)
        assert not asked.created
        assert (after["due_at"], after["slot_at"], after["manual"], after["tries"]) == (NOON_MS, NOON_MS - 5, 0, 1)
        await start(store)
        assert not (await operate.run_now(store, "sync", "s1")).created


async def test_starts_by_hand_at_the_same_time_are_one_run(store_url):
    async with opened(store_url, jobs(), Clock()) as store:
        await sellers(store)
        asked = await asyncio.gather(*[operate.run_now(store, "sync", "s1") for _ in range(12)])
        assert sorted(one.created for one in asked) == [False] * 11 + [True]
        assert len({(one.turn, one.run) for one in asked}) == 1
        await die(store, "mail", turn=77, args="{}")
        again = [operate.requeue(store, id="77-1") for _ in range(6)]
        made = await asyncio.gather(*again, return_exceptions=True)
        assert sorted(type(one).__name__ for one in made) == ["Conflict"] * 5 + ["list"]
        assert len(await look(store, "SELECT id FROM rota.turn WHERE job = 'mail'")) == 1


async def test_a_start_by_hand_inside_the_cool_off_is_refused_with_the_time_left(store_url):
    async with opened(store_url, jobs(min_gap="1h")) as store:
        await sellers(store)
        await change(store, start_at=NOON_MS - 10 * MINUTE_MS)
        with pytest.raises(Conflict, match="try again in 50 min"):
            await operate.run_now(store, "sync", "s1")
        assert await acts(store) == []
        store.clock.at_ms += 50 * MINUTE_MS
        assert (await operate.run_now(store, "sync", "s1")).created


async def test_what_cannot_be_run_by_hand_gets_a_sentence(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        with pytest.raises(NotFound, match=r"no job 'sink'.*sync"):
            await operate.run_now(store, "sink", "s1")
        with pytest.raises(NotFound, match="no member 's9' in sellers"):
            await operate.run_now(store, "sync", "s9")
        with pytest.raises(BadInput, match="a member of sellers"):
            await operate.run_now(store, "sync")
        with pytest.raises(BadInput, match="one-off"):
            await operate.run_now(store, "mail")
        assert (await operate.run_now(store, "report")).created
        assert (await operate.run_now(store, "report")).created is False


async def test_a_run_by_hand_of_a_held_turn_lets_it_go(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        await operate.hold(store, member="sellers/s1", job="sync", reason="consent revoked")
        assert (await turn(store))["state"] == "held"
        assert (await operate.run_now(store, "sync", "s1")).created
        after = await turn(store)
        assert (after["state"], after["due_at"], after["manual"], after["reason"]) == ("waiting", NOON_MS, 1, None)


async def test_pausing_again_changes_who_and_why_and_resuming_ends_it_once(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        until = datetime.fromtimestamp((NOON_MS + HOUR_MS) / 1000, UTC)
        await operate.pause(store, job="sync", reason="vendor", by="ana")
        store.clock.at_ms += 1000
        await operate.pause(store, job="sync", reason="vendor still", until=until, by="ben")
        held = await store.read(pauses.active)
        assert held == [pauses.Pause("job", "sync", "ben", "vendor still", NOON_MS, NOON_MS + HOUR_MS)]
        assert await operate.resume(store, job="sync", by="ana")
        assert await operate.resume(store, job="sync", by="ana") is False
        assert [(act[0], act[1]) for act in await acts(store)] == [("pause", "job:sync")] * 2 + [("resume", "job:sync")]
        assert len(await look(store, "SELECT id FROM rota.pause WHERE ended_at IS NOT NULL")) == 1


async def test_a_pause_of_a_member_marks_its_turns_until_its_end(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        until = datetime.fromtimestamp((NOON_MS + HOUR_MS) / 1000, UTC)
        await operate.pause(store, member="sellers/s1", reason="holiday", until=until)
        assert (await turn(store))["paused"] == 1
        assert await store.write(chores.end_pauses) == 0
        store.clock.at_ms += HOUR_MS
        assert await store.write(chores.end_pauses) == 1
        assert (await turn(store))["paused"] == 0
        assert await look(store, "SELECT ended_at FROM rota.pause") == [(NOON_MS + HOUR_MS,)]
        await operate.pause(store, member="sellers/s1", reason="again")
        assert await operate.resume(store, member="sellers/s1")
        assert (await turn(store))["paused"] == 0


async def test_a_pause_needs_one_known_target_a_reason_and_an_end_ahead(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        past = datetime.fromtimestamp((NOON_MS - 1000) / 1000, UTC)
        for wrong, error in [
            ({"reason": "x"}, BadInput),
            ({"job": "sync", "roster": "sellers", "reason": "x"}, BadInput),
            ({"job": "sync", "reason": "  "}, BadInput),
            ({"job": "sync", "reason": "x", "until": past}, BadInput),
            ({"job": "sink", "reason": "x"}, NotFound),
            ({"roster": "buyers", "reason": "x"}, NotFound),
            ({"member": "sellers/s9", "reason": "x"}, NotFound),
            ({"member": "s1", "reason": "x"}, BadInput),
        ]:
            with pytest.raises(error):
                await operate.pause(store, **wrong)
        with pytest.raises(NotFound):
            await operate.resume(store, job="sink")
        assert await acts(store) == []


async def test_a_stop_is_recorded_each_time_and_kept_as_it_was_first(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        await start(store)
        heard = []
        store.events.listen(lambda event: heard.append(event.name))
        first = await operate.stop_all(store, "bad release", by="mia")
        again = await operate.stop_all(store, "me too", running="cancel", by="ben")
        assert (first.first, again.first) == (True, False)
        assert [(one.job, one.member, one.worker, one.over) for one in again.running] == [
            ("sync", "s1", "host:w1", False)
        ]
        assert (await turn(store))["cancel"] == 1
        held = await store.read(pauses.active)
        assert [(one.scope, one.by, one.reason) for one in held] == [("all", "mia", "bad release")]
        assert await operate.resume_all(store, catch_up="none", spread="30m", by="mia")
        assert await operate.resume_all(store, by="mia") is False
        assert [act[0] for act in await acts(store)] == ["stop", "stop", "resume"]
        assert heard == ["stop", "resume"]
        said = await store.read(lambda: pauses.catch_up_said(DAY_MS))
        assert said == [pauses.Said(NOON_MS, NOON_MS, "none", 30 * MINUTE_MS)]


async def test_a_waiting_stop_returns_when_what_runs_has_lost_its_worker(store_url):
    clock = MovingClock()
    async with opened(store_url, jobs(), clock) as store:
        await sellers(store)
        await start(store, lease_ms=3_000)
        stopped = await operate.stop_all(store, "fire", wait="1m")
        assert 3 <= clock.slept < 4
        assert [one.over for one in stopped.unheard] == [True]
        await operate.stop_all(store, "fire", wait=60)
        assert clock.slept < 4


async def test_a_waiting_stop_waits_no_longer_than_asked(store_url):
    clock = MovingClock()
    async with opened(store_url, jobs(), clock) as store:
        await sellers(store)
        await start(store, lease_ms=DAY_MS)
        stopped = await operate.stop_all(store, "fire", wait=timedelta(seconds=5))
        assert 5 <= clock.slept < 6
        assert (len(stopped.running), stopped.unheard) == (1, ())


async def test_unhold_accounts_for_the_slots_that_came_meanwhile(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        slot_at = (await turn(store))["slot_at"]
        held = await operate.hold(store, member="sellers/s1", reason="consent revoked", by="ana")
        assert held == [(await turn(store))["id"]]
        assert (await turn(store))["reason"] == "consent revoked"
        store.clock.at_ms = slot_at + 3 * DAY_MS + 5
        assert await operate.unhold(store, member="sellers/s1") == held
        after = await turn(store)
        assert (after["state"], after["due_at"], after["slot_at"], after["manual"], after["caught"]) == (
            "waiting",
            slot_at + 3 * DAY_MS + 5,
            slot_at + 3 * DAY_MS,
            0,
            1,
        )
        assert await journal(store) == [("sync", "skipped", "held", slot_at, 3, 1)]
        assert await operate.unhold(store, member="sellers/s1") == []
        assert [act[0] for act in await acts(store)] == ["hold", "unhold"]


async def test_a_turn_let_go_before_its_slot_runs_and_keeps_it(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        slot_at = (await turn(store))["slot_at"]
        await operate.hold(store, member="sellers/s1", reason="look first")
        await operate.unhold(store, member="sellers/s1")
        after = await turn(store)
        assert (after["due_at"], after["slot_at"], after["manual"]) == (NOON_MS, slot_at, 1)
        assert await journal(store) == []


async def test_a_running_turn_is_not_held(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        await start(store)
        with pytest.raises(IllegalTransition, match="sync is running"):
            await operate.hold(store, member="sellers/s1", reason="x")
        with pytest.raises(NotFound):
            await operate.hold(store, id="999-1", reason="x")
        with pytest.raises(NotFound):
            await operate.hold(store, id=f"{(await turn(store))['id']}-7", reason="x")


async def test_cancel_goes_on_to_the_next_slot_and_says_so_in_the_journal(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        before = await turn(store)
        done = await operate.cancel(store, member="sellers/s1", job="sync", reason="not today", by="ana")
        after = await turn(store)
        assert (done.cancelled, done.wished) == ([before["id"]], [])
        assert after["due_at"] == after["slot_at"] == before["slot_at"] + DAY_MS
        assert (after["run"], after["tries"]) == (2, 0)
        assert await journal(store) == [("sync", "cancelled", "not today", before["slot_at"], 1, 1)]


async def test_cancel_of_an_overdue_run_passes_over_what_came_since(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        slot_at = (await turn(store))["slot_at"]
        store.clock.at_ms = slot_at + 2 * DAY_MS + 1
        await operate.cancel(store, id=f"{(await turn(store))['id']}-1")
        assert (await turn(store))["slot_at"] == slot_at + 3 * DAY_MS
        assert [row[1:5] for row in await journal(store)] == [
            ("cancelled", None, slot_at, 1),
            ("skipped", "cancelled", slot_at + 2 * DAY_MS, 2),
        ]


async def test_cancel_of_a_run_by_hand_leaves_the_slot(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        slot_at = (await turn(store))["slot_at"]
        await operate.run_now(store, "sync", "s1")
        await operate.cancel(store, member="sellers/s1")
        after = await turn(store)
        assert (after["due_at"], after["slot_at"], after["manual"], after["run"]) == (slot_at, slot_at, 0, 2)


async def test_cancel_of_what_runs_is_a_wish(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        await start(store)
        done = await operate.cancel(store, member="sellers/s1")
        assert (done.cancelled, done.wished) == ([], [(await turn(store))["id"]])
        assert (await turn(store))["cancel"] == 1
        assert await journal(store) == []


async def test_cancel_of_a_one_off_frees_its_key(store_url):
    async with opened(store_url, jobs()) as store:
        await rosters.reconcile(store)
        made = await store.write(lambda: turns.enqueue([Fresh("mail", "{}", "k1", None, HOUR_MS, 0, DAY_MS)]))
        done = await operate.cancel(store, id=made[0][0])
        assert done.cancelled == [made[0][0]]
        assert await turn(store, "mail") is None
        assert await look(store, "SELECT key, expires_at FROM rota.key") == [("k1", NOON_MS + DAY_MS)]
        with pytest.raises(NotFound):
            await operate.cancel(store, id=made[0][0])


async def test_cancelling_a_due_run_lets_its_followers_go_on(store_url):
    known = catalog(
        "sellers", sync={"each": "sellers", "schedule": every("24h")}, digest={"each": "sellers", "after": ["sync"]}
    )
    async with opened(store_url, known) as store:
        await sellers(store)
        await operate.hold(store, member="sellers/s1", job="digest", reason="x")
        await operate.unhold(store, member="sellers/s1", job="digest")
        assert (await turn(store, "digest"))["due_at"] is None
        store.clock.at_ms = (await turn(store))["slot_at"]
        await operate.cancel(store, member="sellers/s1", job="sync")
        assert (await turn(store, "digest"))["due_at"] == store.clock.at_ms
        with pytest.raises(BadInput, match="say member= too"):
            await operate.cancel(store, job="digest")


DEAD = (
    "INSERT INTO rota.dead_letter (turn, run, job, roster, member, key, args, tries, losses, reason, error, died_at)"
    " VALUES (:turn, :run, :job, :roster, :member, :key, :args, 3, 0, 'boom', 'f1', :died_at)"
)


async def die(store, job, *, turn=1, run=1, roster=None, member=None, key=None, args=None):
    values = {"turn": turn, "run": run, "roster": roster, "member": member, "key": key, "args": args}
    await look(store, DEAD, job=job, died_at=NOON_MS, **values)


async def test_a_dead_one_off_runs_again_once_with_its_arguments_and_key(store_url):
    async with opened(store_url, jobs(retry=Retry(tries=1))) as store:
        await rosters.reconcile(store)
        first = (await store.write(lambda: turns.enqueue([Fresh("mail", '{"to":"x"}', "k1", None, 0, 0, DAY_MS)])))[0][
            0
        ]
        await look(store, "DELETE FROM rota.turn WHERE id = :id", id=first)
        await store.write(lambda: query("free_keys", [("mail", "k1", first)]))
        await die(store, "mail", turn=first, key="k1", args='{"to":"x"}')
        made = await operate.requeue(store, id=f"{first}-1", by="ana")
        assert [(one.turn > first, one.run) for one in made] == [(True, 1)]
        row = await look(store, "SELECT id, key, args, standing, due_at, tries FROM rota.turn WHERE job = 'mail'")
        assert row == [(made[0].turn, "k1", '{"to":"x"}', 0, NOON_MS, 0)]
        assert await look(store, "SELECT turn, expires_at FROM rota.key") == [(made[0].turn, None)]
        with pytest.raises(Conflict, match=f"as run {made[0].turn}-1"):
            await operate.requeue(store, id=made[0].letter)
        assert await acts(store) == [("requeue", f"dead:{first}-1", 1, "ana", None)]
        again = await store.write(lambda: turns.enqueue([Fresh("mail", "{}", "k1", None, 0, 0, DAY_MS)]))
        assert again == [(made[0].turn, False)]


async def test_a_members_dead_letter_is_a_manual_run(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store, "s1", "s2")
        before = await turn(store)
        await die(store, "sync", turn=before["id"], roster="sellers", member="s1")
        await die(store, "sync", turn=999, roster="sellers", member="gone")
        made = await operate.requeue(store, error="f1", spread="10m")
        assert [(one.turn, one.run) for one in made] == [(before["id"], 1)]
        after = await turn(store)
        assert (after["manual"], after["slot_at"]) == (1, before["slot_at"])
        assert NOON_MS <= after["due_at"] < NOON_MS + 10 * MINUTE_MS
        left = await runs.dead_letters(store)
        assert [one.member for one in left] == ["gone"]
        with pytest.raises(Conflict, match="sellers/gone has left"):
            await operate.requeue(store, id=left[0].id)
        with pytest.raises(NotFound):
            await operate.requeue(store, id=12345)
        with pytest.raises(BadInput):
            await operate.requeue(store)


async def test_many_dead_letters_are_spread_and_a_lone_jobs_run_is_its_turn(store_url):
    async with opened(store_url, jobs()) as store:
        await rosters.reconcile(store)
        for n in range(4):
            await die(store, "mail", turn=100 + n, args="{}")
        await die(store, "report", turn=(await turn(store, "report"))["id"])
        made = await operate.requeue(store, error="f1", spread="5m")
        assert len(made) == 5
        due = await look(store, "SELECT due_at FROM rota.turn WHERE job = 'mail' ORDER BY id")
        assert [row[0] - NOON_MS for row in due] == [0, MINUTE_MS, 2 * MINUTE_MS, 3 * MINUTE_MS]
        assert (await turn(store, "report"))["manual"] == 1


async def test_who_does_it_must_be_named(store_url):
    async with opened(store_url, jobs()) as store:
        with pytest.raises(BadInput, match="by="):
            await operate.stop_all(store, "x", by=" ")
        with pytest.raises(BadInput, match="reason"):
            await operate.stop_all(store, "")
        with pytest.raises(BadInput, match="finish"):
            await operate.stop_all(store, "x", running="kill")


async def test_the_detail_of_an_audit_row_is_json(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        asked = await operate.run_now(store, "sync", "s1")
        row = (await runs.audit(store, target="turn:sync@sellers/s1"))[0]
        assert json.loads(row.detail) == {"run": f"{asked.turn}-1", "created": True}
        assert (row.at, await runs.audit(store, before=row.id)) == (NOON_MS, [])


async def test_a_pause_of_everything_is_told_to_who_runs_by_hand(store_url):
    async with opened(store_url, jobs()) as store:
        await sellers(store)
        await operate.pause(store, roster="sellers", reason="moving", by="ana")
        asked = await operate.run_now(store, "sync", "s1")
        assert asked.paused == "paused by ana: moving"
