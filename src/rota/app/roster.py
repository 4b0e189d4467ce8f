"""A roster as its user holds it: a named population, and who belongs to it.

Always true: a join has written the turns of the jobs this process knows when it returns.

Not here: how members are placed and stored (rosters.py).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from rota import rosters
from rota.app.host import Host
from rota.define.roster import Member, RosterSpec

KEEP: Any = UNSET  # an argument that was not given: what is stored stays


class Roster:
    """A named population: sellers, users, cities, feeds."""

    def __init__(self, rota: Host, spec: RosterSpec) -> None:
        self._rota = rota
        self.spec = spec

    def __repr__(self) -> str:
        return f"<Roster {self.name}>"

    @property
    def name(self) -> str:
        """The roster's name."""
        return self.spec.name

    async def join(
        self,
        key: str,
        *,
        zone: str | None = KEEP,
        data: Mapping[str, Any] = KEEP,
        owner: str | None = KEEP,
        weight: int = KEEP,
        slot: int | None = None,
        on: object = None,
    ) -> Member:
        """Make somebody a member, or update what is given of one who is.

        `zone` is an IANA name, `data` JSON, `owner` groups members of one user, `weight` counts in the balance
        of slots, `slot` pins the place, `on` is the caller's connection. Raises BadInput for what cannot be
        taken; nothing is written then.
        """
        store = await self._rota.opened()
        return await rosters.join(
            store, self.name, key, zone=zone, data=data, owner=owner, weight=weight, slot=slot, on=on
        )

    async def join_many(self, members: Iterable[str | Mapping[str, Any] | Member], *, on: object = None) -> int:
        """Join many: keys, dicts with `key` and the fields of `join`, or Members. How many were taken."""
        return await rosters.join_many(await self._rota.opened(), self.name, members, on=on)

    async def update(
        self,
        key: str,
        *,
        zone: str | None = KEEP,
        data: Mapping[str, Any] = KEEP,
        owner: str | None = KEEP,
        weight: int = KEEP,
        on: object = None,
    ) -> Member:
        """Change a member; `data` is replaced whole. NotFound when there is none of that key."""
        given = {"zone": zone, "data": data, "owner": owner, "weight": weight}
        chosen = {name: value for name, value in given.items() if value is not KEEP}
        return await rosters.update(await self._rota.opened(), self.name, key, **chosen, on=on)

    async def leave(self, key: str, *, on: object = None) -> bool:
        """Take somebody off; a run on its way ends first. Whether there was such a member."""
        return await rosters.leave(await self._rota.opened(), self.name, key, on=on)

    async def get(self, key: str) -> Member | None:
        """The member of that key."""
        return await rosters.get(await self._rota.opened(), self.name, key)

    async def count(self) -> int:
        """How many members there are."""
        return await rosters.count(await self._rota.opened(), self.name)

    async def members(self, after: str | None = None, limit: int = 500) -> list[Member]:
        """Members in the order of their keys, at most `limit` (500) after a key."""
        return await rosters.members(await self._rota.opened(), self.name, after=after, limit=limit)

    async def sync(self, *, force: bool = False) -> "rosters.Synced":
        """Make the roster what its source yields; refuses to shrink by more than `max_shrink` unless forced."""
        return await rosters.sync(await self._rota.opened(), self.name, force=force)
