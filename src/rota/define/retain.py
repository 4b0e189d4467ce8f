"""How long ended things are kept.

Always true: keys of one-offs are remembered for a day after the run has ended, never less (G-2).

Not here: removing what is older (engine/chores).
"""

from dataclasses import dataclass, fields

from rota.define.names import nearest
from rota.define.units import duration_ms
from rota.errors import BadSetting, RotaError

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retain:
    """Durations in ms, by what is kept (design 17: journal 30 days, dead letters and roll-ups 90, audit 400)."""

    journal: int = 30 * DAY_MS
    dead: int = 90 * DAY_MS
    rollups: int = 90 * DAY_MS
    audit: int = 400 * DAY_MS


def retention(text: str | None) -> Retain:
    """Read "journal:30d,dead:90d"; what is not named keeps its default.

    Raises BadSetting for an unknown name or a duration that cannot be read.
    """
    known = {field.name for field in fields(Retain)}
    found: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in (text or "").split(","))):
        name, _, duration = part.partition(":")
        if name not in known:
            raise BadSetting(f"retain= knows journal, dead, rollups and audit, not {name!r}{nearest(name, known)}")
        try:
            found[name] = duration_ms(duration, name=f"retain of {name}")
        except RotaError as error:
            raise BadSetting(str(error)) from None
    return Retain(**found)
