"""Members of rosters, and the door through which they come in.

Always true: a member that left `checked_member` can be stored as it is on both stores, and its data are its own: a
later change of the dict that was given does not reach it.

Not here: joining and leaving (rosters), what a schedule asks of a member's data (define/schedule).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rota.define.names import checked_key, checked_name, checked_zone, data_text
from rota.define.policy import is_field
from rota.define.units import shown
from rota.errors import BadInput, ConfigError

_FIELDS = frozenset({"key", "zone", "data", "owner", "weight"})
_OTHERS = "'zone', 'data', 'owner', 'weight'"
MOST_WEIGHT = 1_000_000  # a member worth a million others has a slot of its own anyway


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a roster: its key, and optionally a zone, data, an owner and a weight.

    `roster` is the name of its roster, set by rota. `weight` is a whole number from 1 to 1,000,000: how much work the
    member is, compared to others, when slots are filled.

    >>> from rota import Member
    >>> Member("s1", zone="Europe/Berlin", data={"region": "eu"}).data["region"]
    'eu'
    """

    key: str
    zone: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)
    owner: str | None = None
    weight: int = 1
    roster: str = field(default="", kw_only=True)


def checked_member(
    key: object,
    zone: object = None,
    data: object = None,
    owner: object = None,
    weight: object = 1,
    *,
    roster: str = "",
) -> Member:
    """A member that can be stored; `BadInput` says which part cannot be taken."""
    text = "{}" if data is None else data_text(data, what="the member's data")
    found_data: dict[str, Any] = {} if text == "{}" else json.loads(text)
    return Member(
        checked_key(key, what="member key"),
        checked_zone(zone),
        found_data,
        None if owner is None else checked_key(owner, what="owner key"),
        checked_weight(weight),
        roster=roster,
    )


def checked_weight(weight: object) -> int:
    """A whole number from 1 to 1,000,000."""
    if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= MOST_WEIGHT:
        raise BadInput(f"the weight of a member must be a whole number from 1 to {MOST_WEIGHT:,}, not {shown(weight)}")
    return weight


def member_of(entry: object, *, roster: str = "") -> Member:
    """A member from what a source may yield: a key, a dict with `key`, or a `Member`."""
    if isinstance(entry, str):
        return checked_member(entry, roster=roster)
    if isinstance(entry, Member):
        return checked_member(entry.key, entry.zone, entry.data, entry.owner, entry.weight, roster=roster)
    if isinstance(entry, Mapping):
        unknown = [str(name) for name in entry if name not in _FIELDS]
        if "key" not in entry or unknown:
            raise BadInput(f"a member as a dict must have 'key' and may have {_OTHERS}, but it is {shown(entry)}")
        return checked_member(**entry, roster=roster)
    raise BadInput(f"a member must be a key, a dict with 'key', or a Member, not {shown(entry)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterSpec:
    """What `rota.roster(...)` was told: a name, and where it is synced from a source, how."""

    name: str
    source: Callable[[], object] | None
    facets: tuple[str, ...]
    max_shrink: float


def roster_spec(name: object, *, source: object = None, facets: object = (), max_shrink: object = 0.2) -> RosterSpec:
    """Check what was written; every fault is a `ConfigError`."""
    found = checked_name(name, what="roster", error=ConfigError)
    if source is not None and not callable(source):
        raise ConfigError(f"source= of roster {found!r} must be a function that yields members, not {shown(source)}")
    if isinstance(facets, str) or not isinstance(facets, list | tuple) or not all(is_field(facet) for facet in facets):
        raise ConfigError(f"facets= of roster {found!r} must be a list of names of data fields, not {shown(facets)}")
    if isinstance(max_shrink, bool) or not isinstance(max_shrink, int | float) or not 0 <= max_shrink <= 1:
        raise ConfigError(f"max_shrink= of roster {found!r} must be a share from 0 to 1, not {shown(max_shrink)}")
    return RosterSpec(name=found, source=source, facets=tuple(facets), max_shrink=float(max_shrink))
