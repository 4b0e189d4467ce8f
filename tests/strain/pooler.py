"""P-4: everything works through a transaction pooler with four connections to the server, by polling.

The pooler is pgbouncer where the machine has it; without one the scenario is skipped, and says so.

Always true: workers and the one who enqueues know the pooler's port only; the server is asked how many sessions there
were.

Not here: other poolers, which also hand a server's connection to the next client after each transaction.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg

from rota.store.postgres import Postgres
from tests.e2e import shop
from tests.e2e.fleet import Fleet, until
from tests.servers import PostgresServer, Server
from tests.store import test_contract
from tests.store.world import START_MS, Door, HeldClock
from tests.strain.report import Report
from tests.strain.stage import Size, Stage, fleet_on

RUNS: dict[Size, int] = {"short": 500, "plain": 2_000, "long": 20_000}
SESSIONS = 4
SCRIPTS: dict[Size, int] = {"short": 5, "plain": 40, "long": 300}  # of the contract, forty steps each
WORKERS = 2
WAIT_S = 240.0  # for all runs: far above what polling needs
CLIENTS = 200


class Pooler(Server):
    """One pgbouncer in front of a PostgreSQL, in transaction mode."""

    name = "pgbouncer"

    def __init__(self, server: PostgresServer, program: str) -> None:
        super().__init__()
        self._program = program
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._bin = server.bin
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": SESSIONS,
            "max_client_conn": CLIENTS,
        }
        lines = ["[databases]", f"* = host=127.0.0.1 port={server.port} user=postgres", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self.home / "ini").write_text("\n".join(lines) + "\n")
        if self._user is not None:
            self.home.chmod(0o755)
            shutil.chown(self.home, self._user.pw_uid, self._user.pw_gid)

    def url(self, database: str) -> str:
        """The address of one database, through the pooler."""
        return f"postgresql://postgres:postgres@127.0.0.1:{self.port}/{database}"

    def _command(self) -> Sequence[str | Path]:
        return [self._program, self.home / "ini"]

    def _is_ready(self) -> bool:
        command: list[str | Path] = [
            self._bin / "pg_isready",
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "postgres",
        ]
        return subprocess.run(command, check=False).returncode == 0

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def program() -> str | None:
    """Where pgbouncer is."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


async def _drained(fleet: Fleet, count: int) -> None:
    await fleet.workers(WORKERS)
    handles = await shop.plain.enqueue_many(range(count // 2))
    handles += await asyncio.gather(*(shop.plain.enqueue(number) for number in range(count // 2, count)))
    await shop.shops.join_many([{"key": f"shop-{number}"} for number in range(20)])
    await until(fleet.quiet, WAIT_S)


def _judge(report: Report, fleet: Fleet, server: PostgresServer, database: str, count: int) -> None:
    outcomes = dict(
        line.split("|")
        for line in server.psql("SELECT outcome, count(*) FROM rota.journal GROUP BY outcome", database).splitlines()
    )
    names = ("prepared statement", "does not exist", "already exists", "unsupported startup parameter")
    heard = Counter(name for line in fleet.log.splitlines() for name in names if name in line)
    sessions = int(server.psql(f"SELECT sessions FROM pg_stat_database WHERE datname = '{database}'"))
    report.say("runs", f"{outcomes} of {count:,} and twenty members", outcomes=outcomes)
    report.say("errors", f"{dict(heard)} in the logs of {WORKERS} workers")
    report.say("sessions", f"{sessions} on the server in all, {SESSIONS} at once allowed", sessions=sessions)
    report.hold(int(outcomes.get("succeeded", 0)) == count + 20, f"not all have run: {outcomes}")
    report.hold(not heard, f"the workers complained: {dict(heard)}")


def run(stage: Stage) -> Report:
    """Drain through the pooler."""
    report = Report(scenario="P-4", title="transaction pooler", store="postgresql", form=stage.size)
    found = program()
    if found is None:
        report.skipped = "there is no pgbouncer on this machine"
        return report
    server = stage.shared
    database = server.fresh_database()
    pooler = Pooler(server, found)
    pooler.start()
    try:
        asyncio.run(_work(stage, report, pooler.url(database), server))
        _contract(stage, report, pooler, server)
    finally:
        pooler.close()
    return report


async def _work(stage: Stage, report: Report, url: str, server: PostgresServer) -> None:
    count = RUNS[stage.size]
    async with fleet_on(shop.rota, url, stage.new_folder()) as fleet:
        await _drained(fleet, count)
        _judge(report, fleet, server, url.rsplit("/", 1)[1], count)


def _contract(stage: Stage, report: Report, pooler: Pooler, server: PostgresServer) -> None:
    """Scripts of the store's contract, whose tables are looked at without the pooler."""
    database, clock = server.fresh_database(), HeldClock()
    with asyncio.Runner() as runner:
        door = Door(Postgres(pooler.url(database), clock=clock), clock, runner)
        door._view = runner.run(asyncpg.connect(server.url(database)))
        with closing(door):
            door.open()

            def fresh() -> list[Door]:
                clock.ms = START_MS
                door.empty()
                return [door]

            test_contract.SCRIPTS["pooler"] = SCRIPTS[stage.size]
            seen = test_contract._play("pooler", fresh)
    report.say(
        "contract", f"{SCRIPTS[stage.size]} scripts as the model says, {sum(seen.values()):,} things seen in them"
    )
