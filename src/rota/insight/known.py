"""Whether a job, a roster or a member exists, and the sentence when it does not.

Always true: what the code declares and what the store has kept both count as known.

Not here: what is to be told about them.
"""

from rota.define.names import nearest
from rota.errors import BadInput, NotFound
from rota.store import reads
from rota.store.port import query
from rota.store.store import Store

__all__ = ["known_job", "known_member", "known_roster", "member_of_text"]


async def known_job(store: Store, name: str) -> None:
    """Raise NotFound for a job that neither the code nor the store knows."""
    if name in store.catalog.jobs:
        return
    rows = await store.read(lambda: query("known_job", name=name))
    if not rows:
        raise NotFound(f"there is no job {name!r}{nearest(name, store.catalog.jobs)}")


async def known_roster(store: Store, name: str) -> None:
    """Raise NotFound for a roster that neither the code nor the store knows."""
    if name in store.catalog.rosters:
        return
    rows = await store.read(lambda: query("known_roster", name=name))
    if not rows:
        raise NotFound(f"there is no roster {name!r}{nearest(name, store.catalog.rosters)}")


async def known_member(store: Store, roster: str | None, key: str | None) -> None:
    """Raise NotFound for a member that is not there; without a roster there is nothing to know."""
    if roster is None or key is None:
        return
    await known_roster(store, roster)
    if await store.read(lambda: reads.member(roster, key)) is None:
        raise NotFound(f"there is no member {key!r} in {roster}: `rota member ls {roster}` lists them")


async def member_of_text(store: Store, text: str) -> tuple[str, str]:
    """The roster and key that "roster/key" names, or a key alone where only one roster has it."""
    roster, slash, key = text.partition("/")
    if slash:
        await known_member(store, roster, key)
        return roster, key
    names = {row.name for row in await store.read(reads.rosters)} | set(store.catalog.rosters)
    rows = await store.read(lambda: query("rosters_with", [(name,) for name in sorted(names)], key=text))
    if not rows:
        raise NotFound(f'no roster has a member {text!r}: write "roster/key", or look with `rota member ls`')
    if len(rows) > 1:
        listed = ", ".join(f"{row[0]}/{text}" for row in rows)
        raise BadInput(f"several rosters have a member {text!r}: say which of {listed}")
    return rows[0][0], text
