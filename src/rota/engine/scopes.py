"""What this process knows of scopes that cool, so that what it learns from one call holds for its next at once.

The store is the truth, and claims read it; this is for the moments between: runs that are claimed and not yet started,
links of a fallback chain, and failures in a row that open a scope like a breaker.

Always true: a cool-down learnt here is written for everyone; knowledge that is lost costs a call and nothing else.

Not here: the rows (store/gates.py), what a claim makes of them (store/claiming.py).
"""

from collections import Counter
from collections.abc import Collection, Iterable
from math import ceil
from typing import Final

from rota.errors import StoreUnavailable
from rota.store import gates
from rota.store.store import Store
from rota.turn.gates import COOL_MS, PROBE_MS, Heat

WHOLE_S: Final = 0.001  # the store counts whole milliseconds; a part of one is no reason to wait
REFRESH_S: Final = 1.0  # how old the knowledge of the fleet's cool-downs may be where a chain asks for it
MOST: Final = 500  # cool-downs that are read at once; who has more has other troubles
CROWD: Final = 1_000  # so many are kept before those that have cooled are forgotten
IN_A_ROW: Final = 5  # failures of a scope, without a success in between, that open it: a guess


class Scopes:
    """The scopes that one process knows to cool."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._until_s: dict[str, float] = {}
        self._half_open: set[str] = set()
        self._fresh: set[str] = set()  # scopes of which no claim knows yet that they cool
        self._told_s: dict[str, float] = {}  # of the others: since when claims know of it
        self._last_told_s = float("-inf")
        self._crowd = CROWD
        self._probe_s: dict[str, float] = {}
        self._row: Counter[str] = Counter()
        self._read_s = float("-inf")
        self.learned: dict[str, set[str]] = {}  # scopes that close jobs which do not declare them

    @property
    def untold(self) -> bool:
        """Whether there are cool-downs that no claim knows of yet."""
        return bool(self._fresh)

    def quiet(self, began_s: float) -> bool:
        """Whether a claim that began at this instant knew all that is known here: then there is nothing to ask."""
        return not self._fresh and self._last_told_s <= began_s

    def acknowledged(self, scopes: Iterable[str]) -> None:
        """The store has these cool-downs now: claims that begin from here on know of them."""
        told = self._fresh.intersection(scopes)
        if told:
            self._last_told_s = self._store.clock.monotonic()
            self._fresh -= told
            self._told_s |= dict.fromkeys(told, self._last_told_s)

    def wait_ms(self, scope: str) -> int:
        """How long until a scope may be called, 0 for now; one caller probes for the others when it has cooled."""
        now_s = self._store.clock.monotonic()
        left_s = self._until_s.get(scope, 0.0) - now_s
        if left_s >= WHOLE_S:
            return ceil(left_s * 1000)
        if scope not in self._half_open:
            self._until_s.pop(scope, None)
            return 0
        left_s = self._probe_s.get(scope, 0.0) - now_s
        if left_s > 0:
            return max(1, int(left_s * 1000))
        self._probe_s[scope] = now_s + PROBE_MS / 1000
        return 0

    def cools(self, scopes: Iterable[str], began_s: float) -> str | None:
        """The first of some scopes that cools though a claim that began at this instant need not know of it."""
        from_s = self._store.clock.monotonic() + WHOLE_S
        cooling = sorted(scope for scope in scopes if self._until_s.get(scope, 0.0) >= from_s)
        return next((one for one in cooling if one in self._fresh or self._told_s.get(one, 0.0) > began_s), None)

    async def refresh(self) -> None:
        """Read the fleet's cool-downs, once a second at most."""
        now_s = self._store.clock.monotonic()
        if now_s - self._read_s < REFRESH_S:
            return
        self._read_s = now_s
        known = set(self._half_open)  # what is noted while the answer is on its way is not forgotten by it
        try:
            found = await self._store.read(lambda: gates.cooling(MOST))
        except StoreUnavailable:
            return
        for one in found:
            self._half_open.add(one.scope)
            if one.left_ms > 0 and not one.probing:
                self._until_s[one.scope] = max(now_s + one.left_ms / 1000, self._until_s.get(one.scope, 0.0))
        for scope in known - {one.scope for one in found} - self._fresh:
            self._forget(scope)

    def note(self, scope: str, after_ms: int | None, job: str | None = None) -> None:
        """A call was refused: remember it here, until the store has it."""
        now_s = self._store.clock.monotonic()
        until_s = now_s + (COOL_MS if after_ms is None else after_ms) / 1000
        self._until_s[scope] = max(until_s, self._until_s.get(scope, 0.0))
        self._half_open.add(scope)
        self._fresh.add(scope)
        self._probe_s.pop(scope, None)
        if len(self._until_s) > self._crowd:
            self._prune(now_s)
        if job is not None:
            self.learned.setdefault(job, set()).add(scope)

    async def cool(self, scopes: Collection[str], after_ms: int | None, reason: str) -> None:
        """Put scopes on cool-down: here at once, for the whole fleet as soon as the store has them."""
        for scope in scopes:
            self.note(scope, after_ms)
        try:
            await self._store.write(lambda: gates.cool([Heat(scope, after_ms, reason) for scope in scopes]))
        except StoreUnavailable:
            return  # it holds here, and whoever asks next learns it anew
        self.acknowledged(scopes)

    async def worked(self, scope: str) -> None:
        """A call came through: a scope that had cooled works again, for everyone."""
        self._row.pop(scope, None)
        left_s = self._until_s.get(scope, 0.0) - self._store.clock.monotonic()
        if scope not in self._half_open or left_s >= WHOLE_S:
            return  # it works anyway, or the call began before the scope cooled
        self._forget(scope)
        try:
            await self._store.write(lambda: gates.works([scope]))
        except StoreUnavailable:
            return

    def failed(self, scope: str) -> bool:
        """A call failed; whether that is one too many in a row, so that the scope shall cool."""
        self._row[scope] += 1
        if self._row[scope] < IN_A_ROW and scope not in self._half_open:
            return False
        self._row.pop(scope, None)
        return True

    def succeeded(self, scopes: Iterable[str]) -> None:
        """Runs of these scopes succeed: failures are counted anew."""
        for scope in scopes:
            self._row.pop(scope, None)

    @property
    def counting(self) -> bool:
        """Whether failures of any scope are being counted."""
        return bool(self._row)

    def open(self, scopes: Iterable[str]) -> None:
        """The store says, or is being told, that these work again."""
        for scope in scopes:
            self._forget(scope)

    def _prune(self, now_s: float) -> None:
        """Forget what has cooled and was never called again, such as the scope of a member that left."""
        for scope in [one for one, until_s in self._until_s.items() if until_s < now_s]:
            self._forget(scope)
        self._crowd = max(CROWD, 2 * len(self._until_s))

    def _forget(self, scope: str) -> None:
        self._fresh.discard(scope)
        self._half_open.discard(scope)
        self._told_s.pop(scope, None)
        self._until_s.pop(scope, None)
        self._probe_s.pop(scope, None)
