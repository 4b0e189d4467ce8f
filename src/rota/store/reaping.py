"""Attempts that nobody keeps alive any more: which they are, and how one goes back to the others.

The store's clock says when a lease is over. When it says so of an hour and more, the clock itself may have leapt: such
a worker is doubted, and what it held is lost only once somebody who watched it says that it has fallen silent (G-19).

Always true: what is found is locked until the transaction ends; a worker that beats in time loses nothing, whatever the
store's clock shows.

Not here: watching the doubted (engine/doubts.py), what a loss means for a turn (engine/settle.py).
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from rota.store.consequences import slot_of_run
from rota.store.port import Op, query
from rota.store.sql import Call
from rota.turn.records import Claim, Line


class Doubted(NamedTuple):
    """A worker whose life the clock cannot tell: its last beat (-1: it has no row), and its lease (None: no row)."""

    worker: str
    beat_at: int
    lease_ms: int | None


Silent = tuple[str, int]  # a doubted worker and the beat since which nothing has come


def lost(most: int, silent: Sequence[Silent] = ()) -> Op[list[tuple[Claim, str]]]:
    """Attempts nobody keeps alive any more, locked until the transaction ends, with the worker that had them."""
    ids = {row[0] for row in (yield from query("lost_ids", most=most))}
    ids.update(row[0] for row in (yield from query("silent_ids", silent, most=most)))
    rows = yield from query("turns_by_id", [(turn,) for turn in sorted(ids)])
    return [(Claim(*row[:29]), row[29]) for row in sorted(rows, key=itemgetter(0))]


def doubted() -> Op[list[Doubted]]:
    """The workers with runs whose life the clock cannot tell."""
    return [Doubted(*row) for row in (yield from query("doubted"))]


def give_back(claim: Claim, worker: str, why: str) -> Op[None]:
    """Let a lost attempt of a job that this process does not know wait for a process that does."""
    yield from query("give_back", turn=claim.id, attempt=claim.attempt)
    who = (claim.job, claim.roster, claim.member)
    when = (slot_of_run(claim), claim.due_at, claim.start_at)
    line = Line(claim.id, claim.run, claim.attempt, *who, *when, worker, "lost", why, None, None, 1)
    yield Call("write_journal", {}, [line])
