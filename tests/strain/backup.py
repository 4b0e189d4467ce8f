"""P-10: a backup taken while workers run is restored and worked on: it opens, holds together, and nothing owed is lost.

SQLite by `rota db backup` and by SQLite's own backup in steps; PostgreSQL by pg_dump. What was acknowledged before the
backup began must be in it, ended or owed; what it says runs is lost with its workers and runs again.

Always true: the restored store is worked on by fresh processes; the one it was copied from is stopped first.

Not here: continuous archiving of either database.
"""

import asyncio
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw

from tests.e2e import shop
from tests.e2e.fleet import Fleet, until
from tests.servers import PostgresServer
from tests.strain.report import Report
from tests.strain.stage import Size, Stage, fleet_on

WARM: dict[Size, int] = {"short": 300, "plain": 3_000, "long": 30_000}  # runs that have ended before the backup
MEMBERS = 50
FRESH = 200  # runs that are added to the restored store
HELPING = 25  # runs enqueued at once, all the time
PAGES = 50  # a step of SQLite's own backup: small, so that writers come in between
WORKING = ("--lease", "2s", "--poll", "100ms", "--concurrency", "8")

Copy = Callable[[Fleet], Awaitable[str]]  # takes a backup and restores it; the address of what was restored


class Ways:
    """How a store is copied while it is in use."""

    def __init__(self, stage: Stage, server: PostgresServer) -> None:
        self._stage = stage
        self._server = server

    async def by_command(self, fleet: Fleet) -> str:
        """`rota db backup`."""
        file = self._stage.new_folder() / "copy.db"
        process = fleet.start("db", "backup", str(file))
        assert await asyncio.to_thread(process.wait, 120) == 0, fleet.log[-500:]
        return f"sqlite:///{file}"

    async def by_steps(self, fleet: Fleet) -> str:
        """SQLite's own backup, which begins anew whenever another process has written."""
        file = self._stage.new_folder() / "copy.db"
        source, target = apsw.Connection(_path(fleet.url)), apsw.Connection(str(file))
        with target.backup("main", source, "main") as backup:
            for _ in range(200):
                if backup.done:
                    break
                await asyncio.to_thread(backup.step, PAGES)
            while not backup.done:  # it never gets to the end while others write: the rest at once
                await asyncio.to_thread(backup.step)
        source.close()
        target.close()
        return f"sqlite:///{file}"

    async def by_dump(self, fleet: Fleet) -> str:
        """pg_dump, and psql into an empty database."""
        file = self._stage.new_folder() / "copy.sql"
        bin_, url = self._server.bin, fleet.url
        dump = [bin_ / "pg_dump", "--schema=rota", "--file", file, "--dbname", url]
        await asyncio.to_thread(subprocess.run, dump, check=True)
        name = self._server.fresh_database()
        restore = [bin_ / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", self._server.url(name), "-f", file]
        await asyncio.to_thread(subprocess.run, restore, check=True, stdout=subprocess.DEVNULL)
        return self._server.url(name)


def _path(url: str) -> str:
    return url.removeprefix("sqlite:///")


async def _feed(acknowledged: set[str]) -> None:
    while True:
        acknowledged |= {handle.id for handle in await shop.step.enqueue_many([(1, 20)] * HELPING)}
        await asyncio.sleep(0.05)


async def _copied(url: str, folder: Path, copy: Copy, warm: int) -> tuple[str, set[str]]:
    """Work on a store, copy it meanwhile; where the copy is, and what had been acknowledged before."""
    async with fleet_on(shop.rota, url, folder) as fleet:
        await shop.shops.join_many([{"key": f"shop-{number}"} for number in range(MEMBERS)])
        acknowledged: set[str] = set()
        feeder = asyncio.create_task(_feed(acknowledged))
        await fleet.workers(2, *WORKING)
        await until(lambda: len(fleet.lines("end")) >= warm, 120)
        before = set(acknowledged)
        where = await copy(fleet)
        await until(lambda: len(acknowledged) > len(before) + HELPING)  # work went on meanwhile
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)
        return where, before


async def _went_on(url: str, folder: Path, before: set[str]) -> dict[str, object]:
    """Work on what was restored; what it came to."""
    async with fleet_on(shop.rota, url, folder) as fleet:
        check = fleet.start("db", "check")
        checked = await asyncio.to_thread(check.wait, 60)
        running = await fleet.count("SELECT count(*) FROM rota.turn WHERE state = 'running'")
        owed = await fleet.count("SELECT count(*) FROM rota.turn WHERE standing = 0")
        ended_before = await fleet.count("SELECT count(*) FROM rota.journal WHERE outcome = 'succeeded'")
        known = {f"{turn}-{run}" for turn, run in await fleet.look("SELECT id, run FROM rota.turn")}
        known |= {f"{turn}-{run}" for turn, run in await fleet.look("SELECT turn, run FROM rota.journal")}
        await fleet.workers(2, *WORKING)
        fresh = {handle.id for handle in await shop.step.enqueue_many([(2, 5)] * FRESH)}
        await until(fleet.quiet, 120)
        rows = await fleet.look("SELECT turn, run FROM rota.journal WHERE outcome = 'succeeded'")
        ends = Counter(f"{turn}-{run}" for turn, run in rows)
        turns = await fleet.look("SELECT count(*), count(DISTINCT member) FROM rota.turn WHERE standing = 1")
        checked_again = await asyncio.to_thread(fleet.start("db", "check").wait, 60)
        return {
            "check": (checked, checked_again),
            "running": running,
            "owed": owed,
            "ended": ended_before,
            "missing": len(before - known),
            "undone": len((before | fresh) - ends.keys()),
            "reused": len(fresh & known),
            "twice": sum(count > 1 for count in ends.values()),
            "turns": tuple(turns[0]),
        }


def run(stage: Stage) -> Report:
    """Back up and go on, each way."""
    report = Report(scenario="P-10", title="backup while running", store="both", form=stage.size)
    server = stage.shared
    ways = Ways(stage, server)
    for name, url, copy in (
        ("rota db backup", "", ways.by_command),
        ("SQLite's backup", "", ways.by_steps),
        ("pg_dump", server.url(server.fresh_database()), ways.by_dump),
    ):
        folder = stage.new_folder()
        where, before = asyncio.run(_copied(url or f"sqlite:///{folder / 'store.db'}", folder, copy, WARM[stage.size]))
        if where.startswith("sqlite"):
            found = apsw.Connection(_path(where)).execute("PRAGMA integrity_check").fetchall()
            report.hold(found == [("ok",)], f"{name}: integrity_check {found[:3]}")
        came = asyncio.run(_went_on(where, stage.new_folder(), before))
        report.say(
            name,
            f"{len(before):,} acknowledged before, {came['missing']} missing; it says {came['ended']:,} ended,"
            f" {came['owed']}"
            f" owed, {came['running']} running; {came['undone']} not done after, {came['twice']} ended twice",
            **{name: came},
        )
        for what in ("missing", "undone", "reused", "twice"):
            report.hold(came[what] == 0, f"{name}: {came[what]} {what}")
        report.hold(came["check"] == (0, 0), f"{name}: rota db check ended with {came['check']}")
        report.hold(came["turns"] == (MEMBERS, MEMBERS), f"{name}: {came['turns']} turns of {MEMBERS} members")
    return report
