"""The checks of `rota doctor` that look into an open store.

Always true: each only reads, is bounded, and says what to do about what it finds.

Not here: limits of time, versions, application, whether the store answers (doctor.py).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from rota.cli.session import Session
from rota.cli.words import duration, many
from rota.insight import runs as lists
from rota.insight.status import status as status_of
from rota.store import reads
from rota.store.port import Op, Row, query
from rota.store.sql import Call
from rota.store.store import Store
from rota.version import VERSION

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"

FULL: Final = 2  # what SQLite calls synchronous=FULL
PASS_S: Final = 120.0  # no pass for two minutes though work is due: nothing drives the engine
UNEVEN: Final = 1  # what balanced placement leaves (design 4)
UNEVEN_SHARE: Final = 0.1  # a tenth more or less is what a person sees in the heat-map
OLD_SNAPSHOT_MS: Final = 300_000  # five minutes: longer than a dump of a small store, short enough to save the queue
LATE_S: Final = 60.0  # due for a minute and not started: more than a busy second


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found: a level (ok, warning, error), a sentence, and what to do."""

    level: str
    check: str
    text: str
    fix: str | None = None


Check = Callable[[Session, Store], Awaitable[list[Finding]]]


def _one(check: str, text: str, *, level: str = OK, fix: str | None = None) -> list[Finding]:
    return [Finding(level=level, check=check, text=text, fix=fix)]


async def durability(session: Session, store: Store) -> list[Finding]:
    """Whether an acknowledged commit survives a crash of the machine (G-20, G-22)."""
    del session
    if store.db.dialect == "sqlite":
        return await _sqlite(store)
    rows = {row[0]: row[1] for row in await store.read(lambda: query("server_settings"))}
    weak = [f"{name}={value}" for name, value in rows.items() if value in {"off", "local"}]
    if not weak:
        return _one("durability", "durability: fsync, full_page_writes and synchronous_commit are on")
    text = f"durability: {', '.join(weak)}, so the newest acknowledged runs may be lost in a crash"
    return _one("durability", text, level=WARNING, fix="turn them on in postgresql.conf")


async def _sqlite(store: Store) -> list[Finding]:
    def settings() -> Op[tuple[Row, Row]]:
        synchronous = yield Call("sql", {"text": "PRAGMA synchronous"})
        mode = yield Call("sql", {"text": "PRAGMA journal_mode"})
        return synchronous[0], mode[0]

    (synchronous,), (mode,) = await store.read(settings)
    found: list[Finding] = []
    if mode not in {"wal", "memory"}:
        text = f"SQLite's journal is {mode}, not wal: writers and readers wait for each other"
        found += _one("durability", text, level=WARNING, fix="open the file once with nothing else using it")
    if synchronous >= FULL:
        return found + _one("durability", "durability: WAL, synchronous=full")
    text = "durability: synchronous=normal, so the newest commits may vanish when the machine loses power"
    return found + _one("durability", text, level=WARNING, fix="drop ?synchronous=normal unless that was meant")


async def library(session: Session, store: Store) -> list[Finding]:
    """The checkpoint race of older SQLite (reliability 4, rule 16)."""
    del session
    if not getattr(store.db, "fragile", False):
        return []
    found = (await store.read(lambda: query("library")))[0][0]
    text = f"{found} of ?driver=sqlite3 can corrupt a file in a rare race; checkpoints are taken under a lock file"
    return _one("library", text, level=WARNING, fix="use a Python with SQLite 3.51.3 or later where you can")


async def pooler(session: Session, store: Store) -> list[Finding]:
    """Whether something stands between us and PostgreSQL, and who keeps it from cleaning up."""
    if store.db.dialect != "postgres":
        return []

    def twice() -> Op[tuple[Row, Row]]:
        first = yield Call("backend", {})
        second = yield Call("backend", {})
        return first[0], second[0]

    first, second = await store.read(twice)
    url = session.manner.db or session.settings.db
    port = urlsplit(url).port if url else None
    found: list[Finding] = []
    if first[0] != second[0]:
        found += _one("pooler", "a transaction pooler stands in between: work is found by polling, which is enough")
    elif port is not None and first[1] not in {0, port}:
        found += _one(
            "pooler", f"something listens for PostgreSQL on port {port}: with a pooler, work is found by polling"
        )
    for pid, name, age_ms in await store.read(lambda: query("old_snapshots", older_ms=OLD_SNAPSHOT_MS)):
        text = f"session {pid} ({name or 'nameless'}) holds a snapshot for {duration(age_ms / 1000)}: dead rows pile up"
        found += _one("snapshots", text, level=WARNING, fix=f"end its transaction: SELECT pg_terminate_backend({pid})")
    return found


async def engine(session: Session, store: Store) -> list[Finding]:
    """Whether anything drives the engine, and whether it keeps up."""
    found = await status_of(store, application=session.rota.name, environment=session.settings.env)
    findings: list[Finding] = []
    due = sum(job.due for job in found.jobs)
    ago_s = None if found.last_pass_at is None else (found.at - found.last_pass_at) / 1000
    last = "never" if ago_s is None else f"{duration(ago_s)} ago"
    late_s = 0.0 if found.due_since is None else (found.at - found.due_since) / 1000
    if found.stopped is not None:
        text = f"everything is stopped by {found.stopped.by}: {found.stopped.reason}"
        findings += _one("stop", text, level=WARNING, fix="rota resume --all")
    elif late_s > PASS_S and (ago_s is None or ago_s > PASS_S):
        text = f"last pass {last}, though {many(due, 'run is', 'runs are')} due"
        findings += _one("pass", text, level=ERROR, fix="start `rota worker`, or call `rota tick` every minute")
    else:
        findings += _one("pass", f"last pass {last}, {many(due, 'run is', 'runs are')} due")
    if late_s > LATE_S and found.stopped is None:
        text = f"the oldest due run has waited for {duration(late_s)}"
        findings += _one("lateness", text, level=WARNING, fix="more concurrency, more processes, or fewer runs")
    for matter in found.matters:
        if matter.kind in {"clock", "unknown"}:
            findings += _one(matter.kind, matter.text, level=WARNING)
    return findings


async def workers(session: Session, store: Store) -> list[Finding]:
    """How many live, which were lost, and whether they run this release."""
    del session
    found = await lists.workers(store)
    alive = [one for one in found if one.alive]
    lost = len(found) - len(alive)
    findings = _one("workers", f"{many(len(alive), 'worker')} alive")
    if lost:
        text = f"{many(lost, 'worker was', 'workers were')} lost within the last hour"
        findings += _one("workers", text, level=WARNING, fix="look into their logs: they ended without a good-bye")
    other = [one for one in alive if one.version != VERSION]
    if other:
        versions = ", ".join(sorted({one.version for one in other}))
        text = f"{len(other)} of {many(len(alive), 'worker')} run {versions}, this is {VERSION}"
        findings += _one("workers", text, level=WARNING, fix="restart them")
    for one in alive:
        if one.note:
            findings += _one("workers", f"{one.name}: {one.note}", level=WARNING, fix="a handler blocks the event loop")
    return findings


async def declared(session: Session, store: Store) -> list[Finding]:
    """What the code says and the store has not, and declarations that will hurt."""
    del session
    findings: list[Finding] = []
    known = {row.name for row in await store.read(reads.jobs)}
    for spec in store.catalog.ordered():
        if spec.grace_ms == 0 and spec.target_ms:
            text = f"{spec.name}: grace 0 s, every small delay counts as stale"
            findings += _one("grace", text, level=WARNING, fix="set grace= on the job")
        if not spec.one_off and spec.name not in known:
            text = f"{spec.name} is not in the store yet: no worker or tick of this release has run"
            findings += _one("jobs", text, level=WARNING, fix="rota roster sync")
    return findings


async def slots(session: Session, store: Store) -> list[Finding]:
    """How evenly the slots are filled."""
    del session
    counts = {
        spec.name: getattr(spec.schedule, "slot_count", 0) - len(getattr(spec.schedule, "closed", ()))
        for spec in store.catalog.ordered()
        if spec.balanced
    }
    findings: list[Finding] = []
    widest = 0
    for job, most, least, used, total in await store.read(lambda: query("slot_loads")):
        open_slots = counts.get(job)
        if not open_slots or not total:
            continue
        mean = total / open_slots
        uneven = most - (least if used >= open_slots else 0)
        widest = max(widest, uneven)
        if uneven > UNEVEN and uneven > mean * UNEVEN_SHARE:
            text = f"slots of {job} differ by {uneven}, {mean:.0f} are in one on average"
            findings += _one("slots", text, level=WARNING, fix="rota roster rebalance ROSTER --preview")
    if not findings and counts:
        findings += _one("slots", f"slots even: fullest and emptiest differ by at most {widest}")
    return findings


CHECKS: Final[Mapping[str, Check]] = {
    "durability": durability,
    "library": library,
    "pooler": pooler,
    "engine": engine,
    "workers": workers,
    "declared": declared,
    "slots": slots,
}
