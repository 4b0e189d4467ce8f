"""The operators' verbs on what runs share: the rates of limits, and cool-downs.

Targets in the audit have one form for ever: `limit:NAME`, `scope:NAME`.

Always true: an act leaves one audit row, in the transaction of the change, and wakes the workers; what changes nothing
leaves none.

Not here: looking at limits and cool-downs (insight/limits.py), the other verbs (operate.py), the statements
(store/scopes.py).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from rota.define.names import clean_text, nearest
from rota.define.policy import MOST_AT_ONCE, Limit, is_open_template
from rota.define.units import duration_ms, instant, instant_ms, rate_text, shown
from rota.errors import BadInput, NotFound
from rota.insight.limits import MOST, declared_limits, jobs_of, limit_of
from rota.operate import deed_of, needed
from rota.store import scopes
from rota.store.gates import Said
from rota.store.port import Op
from rota.store.scopes import fills
from rota.store.store import Store
from rota.turn.gates import Heat

__all__ = ["clear_cooldown", "cool", "set_limit"]

Duration = timedelta | str

LEAST_COOL_MS: Final = 1  # in no time says nothing


async def set_limit(
    store: Store,
    name: str,
    rate: str | float | None = None,
    *,
    burst: int | None = None,
    until: datetime | None = None,
    for_: Duration | None = None,
    reason: str | None = None,
    by: str = "local",
) -> None:
    """Give a limit another rate for everyone, until an instant, for a time, or until told; without a rate: as declared.

    `name` is a limit ("ads:{region}", for all of its buckets) or one bucket ("ads:eu"), which goes before. What waits
    for room gets in line anew. Raises NotFound for an unknown limit, BadInput for a wrong rate, burst or end.
    """
    text = None if rate is None else rate_text(rate)
    _check_burst(burst)
    for_ms = _for_ms(store, until, for_)
    if text is None and (burst is not None or for_ms is not None):
        raise BadInput("a burst or an end belongs to a rate: say the rate too, or none of them to go back")
    limit = await _known_limit(store, name)
    deed = deed_of(by, "set_limit", f"limit:{name}", reason)
    said = Said(name, text, burst, for_ms, deed.by if text is not None else "")
    await store.write(lambda: scopes.set_rate(said, limit, deed), wakes=True)


async def cool(store: Store, scope: str, for_: Duration, *, reason: str, by: str = "local") -> datetime:
    """Put a scope on cool-down for everyone: nothing of it starts until then, and after that one run tries it first.

    One that cools already does not end sooner. Raises NotFound for a scope that nothing uses, BadInput without a reason
    or for a template with holes. The instant at which it ends.
    """
    for_ms = duration_ms(for_, name="for_", least=LEAST_COOL_MS)
    deed = deed_of(by, "cool", f"scope:{scope}", needed(reason, "a cool-down"))
    if is_open_template(scope):
        raise BadInput(f"{scope} is many scopes: say which, with its holes filled")
    await _known_scope(store, scope)
    heat = Heat(scope, for_ms, clean_text(f"{deed.reason} (by {deed.by})"), limit_of(store.catalog, scope))
    left_ms = await store.write(lambda: scopes.cool(heat, deed), wakes=True)
    return instant(store.clock.now_ms() + left_ms)


async def clear_cooldown(store: Store, scope: str, *, reason: str | None = None, by: str = "local") -> int:
    """End the cool-down of a scope, or of all that a template may mean; what waited for it is due. How many had cooled.

    0, and no record, where none cooled. Raises NotFound for a scope that nothing uses.
    """
    deed = deed_of(by, "clear_cooldown", f"scope:{scope}", reason)
    hot: list[str] = []

    def act() -> Op[int]:
        found = yield from scopes.cooling(MOST)
        hot.extend(one.scope for one in found)
        mine = [name for name in hot if fills(scope, name)]
        return (yield from scopes.clear(mine or [scope], deed))

    count = await store.write(act, wakes=True)
    if not count:
        await _known_scope(store, scope, hot)
    return count


def _check_burst(burst: object) -> None:
    if burst is None:
        return
    if isinstance(burst, bool) or not isinstance(burst, int) or not 1 <= burst <= MOST_AT_ONCE:
        raise BadInput(f"burst must be a whole number from 1 to {MOST_AT_ONCE:,}, not {shown(burst)}")


def _for_ms(store: Store, until: datetime | None, for_: Duration | None) -> int | None:
    """For how long a rate shall hold; None until told."""
    if until is not None and for_ is not None:
        raise BadInput("say either until= or for_=, not both")
    if for_ is not None:
        return duration_ms(for_, name="for_", least=1)
    if until is None:
        return None
    left_ms = instant_ms(until, name="until") - store.clock.now_ms()
    if left_ms <= 0:
        raise BadInput(f"until must lie ahead, but {shown(until)} has passed")
    return left_ms


async def _known_limit(store: Store, name: str) -> Limit | None:
    """The declared limit of a name; None for one that only handlers spend."""
    limit = limit_of(store.catalog, name)
    if limit is not None:
        return limit
    rows = await store.read(lambda: scopes.buckets(MOST))
    spent = [row.scope for row in rows if row.tat_ns or row.rate is not None]
    if name in spent or any(row.tat_ns for row in await store.read(lambda: scopes.named([name]))):
        return None
    raise NotFound(f"there is no limit {name!r}{nearest(name, {*declared_limits(store.catalog), *spent})}")


async def _known_scope(store: Store, scope: str, hot: Iterable[str] = ()) -> None:
    """Raise NotFound for a scope that no job declares, and under which nothing was refused."""
    if jobs_of(store.catalog, scope):
        return
    used = await store.read(lambda: scopes.named([scope]))
    learned = await store.read(lambda: scopes.closes([scope]))
    if used or learned:
        return
    declared = set(declared_limits(store.catalog))
    for spec in store.catalog.jobs.values():
        declared |= {name for name in (spec.scope, *(link.scope for link in spec.links)) if name is not None}
    raise NotFound(f"there is no scope {scope!r}{nearest(scope, {*declared, *hot})}")
