"""What decides whether a due turn may start now: rates, cool-downs, and what runs of one key keep from each other.

A bucket keeps the generic cell rate algorithm (GCRA): one instant, `tat`, up to which its rate is used up. A second
instant, `line`, is how far room has been promised to turns that wait for theirs, so that who comes later stands behind.

Always true: what a bucket lets start in any time w is at most rate × w + burst; a turn without room is told the exact
instant at which it has some; while a scope cools nothing of it starts, and after that one probe before the others.

Not here: reading and writing the rows (store/claiming.py), who is asked when (engine).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rota.define.job import JobSpec
from rota.define.policy import Limit, filled_template, is_open_template
from rota.define.units import Rate

NS: Final = 1_000_000  # nanoseconds of a millisecond: 20,000/s is one in 50,000 ns
PARK_MS: Final = 30_000  # a turn that waits for another's end is called by it; this is how long it waits without a call
PROBE_MS: Final = 60_000  # how long one probe keeps the others waiting: an LLM's answer takes as long

EARLY_MS: Final = 50  # a run may be claimed so long before the instant it starts at: more than a claim is ever late by
LATE_MS: Final = 25  # handlers begin so long after their claims; for what is refilled meanwhile a burst is smaller,
LATE_PART: Final = 25  # by one part in so many at most: so the starts, and not only the claims, keep to rate and burst
TOGETHER_MS: Final = 25  # how often a backlog under a limit is looked at: the room of that time is given away at once
COOL_MS: Final = 60_000  # a scope that does not say for how long: a minute, a guess
COOL_MOST_MS: Final = 900_000  # and a quarter of an hour after some of them in a row (domains 2.1)


class Bounds(NamedTuple):
    """What a job's runs share with others: templates that are filled for each turn."""

    limits: tuple[Limit, ...]
    scope: str | None
    serial: str | None
    cap: int | None
    cap_by: str | None
    batch: int | None

    @property
    def gated(self) -> tuple[str, ...]:
        """The scopes that are the same for every run of the job: while one is closed, nothing of it is looked at."""
        names = [limit.name for limit in self.limits] + ([self.scope] if self.scope else [])
        return tuple(dict.fromkeys(name for name in names if not is_open_template(name)))

    @property
    def keyed(self) -> bool:
        """Whether turns of the job may have different buckets: one without room must not keep others waiting."""
        names = [limit.name for limit in self.limits] + ([self.scope] if self.scope else [])
        return any(is_open_template(name) for name in names)


def bounds_of(spec: JobSpec) -> Bounds | None:
    """What a job's runs share with others; None where a plain claim does."""
    cap, batch = spec.cap, spec.batch
    if not spec.limits and not spec.scope and not spec.serial and batch is None and (cap is None or cap.by is None):
        return None
    # The handler's scope of a job with fallbacks closes that link and not the job.
    scope = None if spec.links else spec.scope
    by = None if cap is None else cap.by
    return Bounds(spec.limits, scope, spec.serial, None if cap is None else cap.n, by, batch.size if batch else None)


def values_of(
    args: Mapping[str, Any], data: Mapping[str, Any], member: str | None, owner: str | None
) -> dict[str, Any]:
    """What the holes of a template may name: arguments, the member's data, `member` (its key) and `owner`."""
    return {**args, **data, "member": member, "key": member, "owner": owner}


def filled(template: str, values: Mapping[str, Any]) -> str:
    """The name of a bucket or key; a value that is missing leaves its hole as it is, one bucket for all without it."""
    name = filled_template(template, values)
    return template if name is None else name


class Heat(NamedTuple):
    """What puts a scope on cool-down: for how long (None: longer each time in a row) and why.

    `limit` is the one of that name, if there is one; `job` is closed as a whole where nothing else says which runs are
    of this scope.
    """

    scope: str
    delay_ms: int | None
    reason: str
    limit: Limit | None = None
    job: str | None = None


class Keys(NamedTuple):
    """The names of what one turn shares: buckets of its limits, further scopes, its serial key, its cap's key."""

    limits: tuple[str, ...]
    scopes: tuple[str, ...]
    serial: str | None
    cap: str | None

    @property
    def all_scopes(self) -> tuple[str, ...]:
        """Everything that may cool for this turn."""
        return (*self.limits, *self.scopes)


def keys_of(bounds: Bounds, job: str, values: Mapping[str, Any], learned: Iterable[str] = ()) -> Keys:
    """Fill the templates of a job for one turn; `learned` are scopes that its runs were found to share."""
    limits = tuple(filled(limit.name, values) for limit in bounds.limits)
    scopes = [filled(bounds.scope, values)] if bounds.scope else []
    scopes += learned
    serial = None if bounds.serial is None else filled(bounds.serial, values)
    cap = None
    if bounds.cap_by is not None:
        cap = f"{job} {bounds.cap_by}={values.get(bounds.cap_by)}"
    return Keys(limits, tuple(dict.fromkeys(one for one in scopes if one not in limits)), serial, cap)


def narrow(scope: str, values: Mapping[str, Any]) -> bool:
    """Whether a scope that no declaration names belongs to this run alone: one of its parts is a value of the run's."""
    own = {str(value) for value in values.values() if isinstance(value, str | int) and not isinstance(value, bool)}
    return any(part in own for part in scope.split(":")[1:]) or scope in own


@dataclass(slots=True)
class Bucket:
    """One named bucket while a claim works on it; instants of the rate in ns, those of cool-downs in ms."""

    scope: str
    tat_ns: int = 0
    line_ns: int = 0
    cooling_until: int = 0
    failures: int = 0
    closed_until: int = 0
    interval_ns: int = 0
    burst: int = 1
    limited: bool = False
    kept_back: bool = False
    probing: bool = False
    changed: bool = False
    early_ns: int = 0  # how far ahead of its instant room is given away
    together: int = 1  # how much room there shall be before it is looked at again

    def paced(self, rate: Rate, burst: int) -> None:
        """Say how fast it is filled; of several declarations of one name the slowest holds."""
        interval_ns = -(-rate.per_ms * NS // rate.count)
        if not self.limited or interval_ns > self.interval_ns:
            self.interval_ns, self.burst, self.kept_back = interval_ns, burst, False
        self.limited = True

    def timed(self, early_ms: int) -> None:
        """Reckon with time that passes: starts come after their claims, and claims a moment late.

        A little of a large burst is kept back for the former; where a burst is too small to make up for the latter,
        room is given away so long before its instant.
        """
        if self.limited and not self.kept_back:
            self.burst -= min(LATE_MS * NS // self.interval_ns, self.burst // LATE_PART)
            self.kept_back = True
        if self.limited and (self.burst - 1) * self.interval_ns < early_ms * NS:
            self.early_ns = early_ms * NS

    def patient(self) -> None:
        """Much waits for it: look at it when there is room for several, as far as the burst keeps it meanwhile."""
        if self.limited:
            self.together = max(1, min(self.burst // 2, TOGETHER_MS * NS // self.interval_ns))

    @property
    def half_open(self) -> bool:
        """Whether it has cooled and nobody has shown since that it works."""
        return self.failures > 0

    def room_ns(self, now_ns: int, *, promised: bool, n: int = 1) -> int:
        """The instant at which there is room for `n` more; not later than now: there is."""
        if not self.limited:
            return now_ns
        used_ns = self.tat_ns if promised else max(self.tat_ns, self.line_ns)
        return max(used_ns, now_ns) + (n - self.burst) * self.interval_ns

    def spend(self, now_ns: int, n: int = 1) -> None:
        """Use room."""
        if self.limited:
            self.tat_ns = max(self.tat_ns, now_ns) + n * self.interval_ns
            self.line_ns = max(self.line_ns, self.tat_ns)
            self.changed = True

    def promise(self, now_ns: int, *, again: bool) -> None:
        """Keep room for one turn at the end of the line; `again`: it had a place in it already."""
        if self.limited and not again:
            self.line_ns = max(self.line_ns, self.tat_ns, now_ns) + self.interval_ns
            self.changed = True

    def cool(self, now_ms: int, delay_ms: int | None) -> None:
        """It said "too often", or failed too often: closed for so long, or for longer each time in a row."""
        cooling = self.cooling_until > now_ms and not self.probing
        if delay_ms is None:
            delay_ms = min(COOL_MOST_MS, COOL_MS << min(self.failures, 10))
        self.cooling_until = max(now_ms + delay_ms, self.cooling_until if cooling else 0)
        self.failures += not cooling
        self.probing = False
        if self.limited:
            self.tat_ns = max(self.tat_ns, now_ms * NS + (self.burst - 1) * self.interval_ns)
            self.line_ns = max(self.line_ns, self.tat_ns)

    def unproved(self, now_ms: int) -> None:
        """Its probe showed nothing: the next one may try at once."""
        if self.probing:
            self.probing, self.cooling_until, self.changed = False, now_ms, True

    def open_at(self, now_ms: int) -> int:
        """From when on a claim may find something to start under it."""
        now_ns = now_ms * NS
        room_ns = self.room_ns(now_ns, promised=True)
        if room_ns <= now_ns + self.early_ns:
            return self.cooling_until
        room_ns += (self.together - 1) * self.interval_ns - self.early_ns // 2
        return max(self.cooling_until, -(-room_ns // NS))

    def room_count(self, now_ms: int) -> int:
        """How many could be claimed now."""
        if self.cooling_until > now_ms:
            return 0
        if self.half_open:
            return 1
        if not self.limited:
            return _MANY
        free_ns = now_ms * NS + self.early_ns + self.burst * self.interval_ns - max(self.tat_ns, now_ms * NS)
        return max(0, free_ns // self.interval_ns)


_MANY: Final = 1_000_000


class Verdict(NamedTuple):
    """Whether a turn may start: `start_at` (ms) is None when it may; `scope` is what it waits for, cooling or full."""

    start_at: int | None
    scope: str | None = None
    cooling: bool = False


def judge(buckets: list[Bucket], now_ms: int, *, promised: bool) -> Verdict:
    """Whether a turn that needs all of these buckets may start now, else when it has room in all of them."""
    now_ns = now_ms * NS
    verdict = Verdict(None)
    for one in buckets:
        latest = verdict.start_at or now_ms
        room_at = -(-one.room_ns(now_ns, promised=promised) // NS)
        if max(room_at, one.cooling_until) > latest:
            cooling = one.cooling_until >= room_at
            verdict = Verdict(max(room_at, one.cooling_until), one.scope, cooling)
    return verdict


def soon(buckets: list[Bucket], verdict: Verdict, now_ms: int, *, promised: bool) -> bool:
    """Whether a turn may be claimed ahead of the instant at which it has room; not past those who wait for theirs."""
    if verdict.start_at is None or verdict.cooling:
        return False
    early_ns = max(one.early_ns for one in buckets)
    passed = not promised and any(one.line_ns > one.tat_ns for one in buckets)
    return (verdict.start_at - now_ms) * NS <= early_ns and not passed


def take(buckets: list[Bucket], now_ms: int, start_at: int | None = None) -> tuple[str, ...]:
    """Use room in all of them, for a start now or at an instant soon; the scopes for which this turn is the probe."""
    probes = []
    for one in buckets:
        ahead = start_at is not None and one.room_ns(now_ms * NS, promised=True) <= (start_at - 1) * NS
        one.spend(start_at * NS if ahead and start_at is not None else now_ms * NS)
        if one.half_open:
            one.probing = one.changed = True
            one.cooling_until = now_ms + PROBE_MS
            probes.append(one.scope)
    return tuple(probes)
