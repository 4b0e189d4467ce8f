"""`rota audit`: who did what, on what, and why.

Always true: newest first, bounded, read only.

Not here: writing it, which every act does in its own transaction (operate.py).
"""

from collections.abc import Iterable

import click

from rota.cli import rows
from rota.cli.paper import Block, Fields, Result, Table
from rota.cli.root import command
from rota.cli.session import Session
from rota.cli.words import Words, count
from rota.insight import runs as lists


@command("audit", "rota audit", "rota audit --target job:refresh --limit 200 --json")
@click.option("--target", metavar="TARGET", help="Only acts on this, such as job:refresh, member:sellers/s1 or all.")
@click.option("--limit", type=click.IntRange(1, lists.MOST), default=50, metavar="N")
@click.option("--before", type=int, metavar="ID", help="Go on where the last page ended (its `next`).")
async def audit(session: Session, target: str | None, limit: int, before: int | None) -> Result:
    """List what operators did, newest first."""
    async with session.opened() as store:
        found = await lists.audit(store, target=target, limit=limit, before=before)
    following = found[-1].id if len(found) == limit else None
    return Result(fields={"items": [rows.audit(one) for one in found], "next": following}, text=_listed)


def _listed(fields: Fields, words: Words) -> Iterable[Block]:
    if not fields["items"]:
        yield "Nobody has done anything yet."
        return
    yield Table(
        heads=("AT", "BY", "ACT", "TARGET", ">COUNT", "REASON"),
        rows=[
            [words.at(one["at"]), one["by"], one["act"], one["target"], count(one["count"]), one["reason"] or "–"]
            for one in fields["items"]
        ],
    )
    if fields["next"] is not None:
        yield f"more: --before {fields['next']}"
