"""The first use of a job, a roster or a lane, by a caller's transaction and by a process that starts at the same time.

Always true: a race is built: the test goes on only when the server says who waits.

Not here: races of claims and ends (test_races), kinds of connection (test_foreign_matrix).
"""

import asyncio

import asyncpg

from rota import Member, Rota, every
from rota.rosters import reconcile

PATIENCE_S = 10
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


class Shop:
    """An application, as each of two processes has it."""

    def __init__(self, url: str) -> None:
        self.rota = Rota(url)
        self.users = self.rota.roster("users")

        @self.rota.job
        async def welcome(email: str) -> None: ...

        @self.rota.job(each=self.users, schedule=every("24h"))
        async def visit(user: Member) -> None: ...

        self.welcome = welcome


async def test_who_enqueues_and_joins_in_a_transaction_does_not_die_of_a_process_that_starts(postgres_url: str) -> None:
    """Rule 10 of reliability 4: the caller has the lane and wants the roster's row, and whoever starts wants both."""
    shop, worker = Shop(postgres_url), Shop(postgres_url)
    async with shop.rota, worker.rota:
        view, caller = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
        async with caller.transaction():
            await shop.welcome.enqueue("ada@example.org", on=caller)
            starting = asyncio.create_task(reconcile(await worker.rota.opened()))
            async with asyncio.timeout(PATIENCE_S):
                while not await view.fetchval(WAITING):
                    assert not starting.done(), "it did not wait"
                    await asyncio.sleep(0)
            await shop.users.join("ada", on=caller)
        await starting
        assert await worker.users.get("ada") is not None
        await view.close()
        await caller.close()
