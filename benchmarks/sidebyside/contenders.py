"""Who is put to the test of killed workers: each with its store, its settings, and the commands of its worker.

Always true: each worker has the same number of places, started as its documents say; a row with settings of its own
stands beside the row of the defaults; the settings are those that the system's documents name for it.

Not here: what the jobs do (the `*_side.py` of each), and the kills (kills.py).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.children import ROOT
from benchmarks.peers.environments import interpreter

PLACES = 4  # jobs at once, for everybody
SIDE = "benchmarks.sidebyside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One row: `kind` is the store it needs, `peer` the list of versions (empty for rota), `side` its script."""

    name: str
    settings: str
    kind: str
    peer: str
    side: str
    variant: str = ""

    @property
    def python(self) -> Path:
        """Its interpreter, made when it is missing."""
        return interpreter(self.peer) if self.peer else Path(sys.executable)

    def script(self, *words: str) -> list[str]:
        """A command that runs its script."""
        return [str(self.python), "-m", f"{SIDE}.{self.side}", *words]

    def worker(self, store: str) -> Sequence[Sequence[str]]:
        """The commands whose processes are its worker."""
        return _WORKERS[self.side](self, store)


def _celery(who: Contender, store: str) -> list[list[str]]:
    app = f"{SIDE}.celery_side"
    return [[str(who.python), "-m", "celery", "-A", app, "worker", "-c", str(PLACES), "-l", "WARNING"]]


def _rq(who: Contender, store: str) -> list[list[str]]:
    tuned = "--maintenance-interval 5 --job-monitoring-interval 5 --worker-ttl 20".split()
    command = [str(who.python.with_name("rq")), "worker", "--quiet", "--url", store]
    return [[*command, *(tuned if who.variant == "tuned" else [])]] * PLACES  # one job at a time for each process


def _huey(who: Contender, store: str) -> list[list[str]]:
    return [[str(who.python.with_name("huey_consumer")), f"{SIDE}.huey_side.huey", "-w", str(PLACES), "-q"]]


def _pgqueuer(who: Contender, store: str) -> list[list[str]]:
    return [who.script("work", str(PLACES))]


def _rota(who: Contender, store: str) -> list[list[str]]:
    command = [str(who.python), "-m", "rota", "--app", f"{SIDE}.rota_side:rota", "--db", store, "worker"]
    lease = ["--lease", "5s"] if who.variant == "tuned" else []
    return [[*command, "--concurrency", str(PLACES), *lease]]


_WORKERS = {
    "celery_side": _celery,
    "rq_side": _rq,
    "huey_side": _huey,
    "pgqueuer_side": _pgqueuer,
    "rota_side": _rota,
}

CONTENDERS = (
    Contender(name="Celery, Redis", settings="defaults (early ack)", kind="redis", peer="celery", side="celery_side"),
    Contender(
        name="Celery, Redis",
        settings="acks_late, reject_on_worker_lost",
        kind="redis",
        peer="celery",
        side="celery_side",
        variant="late",
    ),
    Contender(
        name="Celery, Redis",
        settings="the same, prefetch 1, visibility 10 s, looked at each second",
        kind="redis",
        peer="celery",
        side="celery_side",
        variant="tuned",
    ),
    Contender(name="RQ, Redis", settings="defaults", kind="redis", peer="rq", side="rq_side"),
    Contender(
        name="RQ, Redis",
        settings="Retry(max=3), monitoring and maintenance 5 s, worker TTL 20 s",
        kind="redis",
        peer="rq",
        side="rq_side",
        variant="tuned",
    ),
    Contender(name="Huey, SQLite", settings="defaults", kind="sqlite", peer="huey_redis", side="huey_side"),
    Contender(name="Huey, Redis", settings="defaults", kind="redis", peer="huey_redis", side="huey_side"),
    Contender(
        name="PgQueuer, PostgreSQL",
        settings="defaults (heartbeat 30 s)",
        kind="postgres",
        peer="pgqueuer",
        side="pgqueuer_side",
    ),
    Contender(
        name="PgQueuer, PostgreSQL",
        settings="heartbeat and dequeue timeout 5 s",
        kind="postgres",
        peer="pgqueuer",
        side="pgqueuer_side",
        variant="tuned",
    ),
    Contender(name="rota, SQLite", settings="defaults (lease 15 s)", kind="sqlite", peer="", side="rota_side"),
    Contender(name="rota, PostgreSQL", settings="defaults (lease 15 s)", kind="postgres", peer="", side="rota_side"),
    Contender(
        name="rota, PostgreSQL", settings="lease 5 s", kind="postgres", peer="", side="rota_side", variant="tuned"
    ),
)


def environment_of(who: Contender, store: str, ledger: Path) -> dict[str, str]:
    """What its processes find in their environment, beside the machine's own variables."""
    return {
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SIDE_STORE": store,
        "SIDE_VARIANT": who.variant,
        "SIDE_LEDGER": str(ledger),
    }
