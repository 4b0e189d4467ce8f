"""The journal's partitions on PostgreSQL: made ahead, dropped when old, and never a reason not to open."""

from tests.store.held import DAY_MS, HeldClock, catalog, look, opened


async def days(store) -> set[str]:
    rows = await look(store, "SELECT relname FROM pg_class WHERE relname LIKE 'journal\\_%' AND relkind = 'r'")
    return {row[0] for row in rows} - {"journal_rest"}


async def test_today_and_a_week_ahead_are_there_when_a_store_is_open(postgres_url):
    clock = HeldClock()
    today = clock.now_ms() // DAY_MS
    async with opened(postgres_url, catalog(), clock) as store:
        assert await days(store) == {f"journal_{day}" for day in range(today, today + 8)}


async def test_rows_that_lie_in_the_rest_do_not_keep_a_store_from_opening(postgres_url):
    clock = HeldClock()
    async with opened(postgres_url, catalog(), clock) as store:
        clock.at_ms += 20 * DAY_MS
        text = (
            "INSERT INTO rota.journal (turn, run, attempt, job, ended_at, outcome) VALUES (1, 1, 1, 'x', {now}, 'dead')"
        )
        await look(store, text + " RETURNING 1")
    today = clock.now_ms() // DAY_MS
    async with opened(postgres_url, catalog(), clock) as store:
        made = await days(store)
        assert f"journal_{today}" not in made
        assert f"journal_{today + 1}" in made
        assert await look(store, "SELECT count(*) FROM rota.journal") == [(1,)]


async def test_days_older_than_the_journal_is_kept_are_dropped(postgres_url):
    clock = HeldClock()
    first = clock.now_ms() // DAY_MS
    async with opened(postgres_url, catalog(), clock) as store:
        clock.at_ms += 40 * DAY_MS
        await store.db.keep_up(30 * DAY_MS)
        made = await days(store)
        assert f"journal_{first}" not in made
        assert f"journal_{first + 40}" in made
