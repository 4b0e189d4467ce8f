"""Policies: rates, cool-downs, batches, serial keys, caps by key, fallback chains, each fleet-wide (I-15, G-10, G-11).

Each is modelled from what handlers said and what commits show, with arithmetic of its own; the engine's buckets are
read only to see that a `spend` was committed.

Always true: what the engine refuses without need is not seen here but in healing, where nothing may be left waiting.

Not here: caps of a whole job and places (checks_sums).
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rota.define.job import JobSpec
from rota.define.policy import Limit
from tests.sim.checks import DELETE, Checker, Watch
from tests.sim.loop import Process
from tests.sim.records import FINAL, Line, Turn

PROBE_MS = 60_000  # how long one probe keeps the others waiting (design 6: one probe)
FORGOTTEN_MS = 72_000_000  # a scope is forgotten a day after it was last written: twenty hours after it has cooled
ROUNDED_MS = 1.0  # instants are whole milliseconds
_MEMBER = "SELECT data, owner FROM rota_member WHERE roster = ? AND key = ?"
_BUCKET = "SELECT scope, tat_ns, rate FROM rota_bucket WHERE rowid = ?"
_KEPT = "SELECT 1 FROM rota_bucket WHERE scope = ?"
_LEARNED = "SELECT job FROM rota_gate WHERE scope = ?"
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def values_of(watch: Watch, turn: Turn) -> dict[str, Any]:
    """What the holes of a name are filled with for a turn."""
    rows = watch.rows(_MEMBER, turn.roster, turn.member) if turn.member is not None else []
    data, owner = rows[0] if rows else ("{}", None)
    return {**json.loads(data), "owner": owner, "member": turn.member}


def filled(template: str, values: Mapping[str, Any]) -> str:
    """A name for one turn; where a value is missing, one for all without it."""
    holes = re.findall(r"{(\w+)}", template)
    if any(values.get(hole) is None for hole in holes):
        return template
    return re.sub(r"{(\w+)}", lambda hole: str(values[hole[1]]), template)


def interval_ms(limit: Limit) -> float:
    """The distance of two starts at a rate."""
    count, _, unit = limit.rate.partition("/")
    return _UNITS_MS[unit] / int(count)


class Limits(Checker):
    """In no time w more starts than rate × w + burst: the generic cell rate algorithm, kept again."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._used_ms: dict[str, float] = {}  # by key: up to when its rate is used up
        self._asked: dict[tuple[str, str], list[tuple[Limit, int]]] = defaultdict(list)
        self._touched: list[int] = []
        self._swept = False

    def claimed(self, who: str, old: Turn, new: Turn) -> None:
        limits = self.watch.spec(new.job).limits
        if not limits:
            return
        now, values = self.watch.now_ms(), values_of(self.watch, new)
        for limit in limits:
            key, step = filled(limit.name, values), interval_ms(limit)
            used = max(self._used_ms.get(key, 0.0), now) + step
            if used - now > limit.burst * step + ROUNDED_MS:
                self.watch.fail("I-15", "started", used - now, "ms ahead of", limit, "at", key, new)
            self._used_ms[key] = used

    def spends(self, process: Process, limit: Limit, key: str, n: int) -> None:
        """A handler asks for more of a limit; it counts once a commit of its process shows it."""
        self._asked[process.name, key].append((limit, n))

    def touched(self, kind: int, table: str, row: int) -> None:
        self._swept |= kind == DELETE and table == "rota_bucket"
        if table == "rota_bucket" and self._asked:
            self._touched.append(row)

    def committed(self, lines: Sequence[Line]) -> None:
        if self._swept:  # what is not used is forgotten, and stays so when the clock is set back after that
            now, self._swept = self.watch.now_ms(), False
            for key in [key for key, used in self._used_ms.items() if used <= now]:
                if not self.watch.rows(_KEPT, key):
                    del self._used_ms[key]
        touched, self._touched = self._touched, []
        for row in touched:
            for key, used_ns, _ in self.watch.rows(_BUCKET, row):
                asked = self._asked.get((self.watch.who, key))
                if asked:
                    self._spent(key, used_ns / 1e6, asked)

    def _spent(self, key: str, used_ms: float, asked: list[tuple[Limit, int]]) -> None:
        now = self.watch.now_ms()
        for one in asked:
            limit, n = one
            used = max(self._used_ms.get(key, 0.0), now) + n * interval_ms(limit)
            if used <= used_ms + ROUNDED_MS:
                self._used_ms[key] = used
                asked.remove(one)
                self.watch.sometimes["spent"] += 1
                return

    def went_on(self, old: Turn, new: Turn, lines: Sequence[Line]) -> None:
        if new.waits_for is not None and new.waits_for != old.waits_for:
            self.watch.sometimes[f"waits for a {new.waits_for.split()[0]}"] += 1


@dataclass(slots=True)
class _Scope:
    """A scope that was refused: until when it cools, and who is on the way to see whether it works again."""

    until: int
    cooled: bool = False  # a probe went out: from then on it does not cool, though the clock be set back
    probes: dict[tuple[int, int], int] = field(default_factory=dict)


class Cools(Checker):
    """Nothing of a scope starts while it cools, and then one run before the others."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._said: dict[tuple[int, int], tuple[str, int]] = {}  # by attempt: the scope that it was refused under
        self._scopes: dict[str, _Scope] = {}
        self._learned: dict[str, set[str]] = defaultdict(set)  # by job: scopes it did not declare
        self._until: dict[str, int] = {}  # until when a scope cooled last: later it is forgotten
        self._swept = False

    def touched(self, kind: int, table: str, row: int) -> None:
        self._swept |= kind == DELETE and table == "rota_bucket"

    def committed(self, lines: Sequence[Line]) -> None:
        """What was forgotten in its time stays so when the clock is set back after that."""
        if self._swept:
            now, self._swept = self.watch.now_ms(), False
            over = [name for name, scope in self._scopes.items() if now > scope.until + FORGOTTEN_MS]
            for name in over:
                if not self.watch.rows(_KEPT, name):
                    del self._scopes[name]

    def refused(self, turn: int, attempt: int, scope: str, after_ms: int) -> None:
        """A handler raises RateLimited."""
        self._said[turn, attempt] = (scope, after_ms)

    def _of(self, spec: JobSpec, turn: Turn) -> list[str]:
        if spec.links:
            return []
        names = [limit.name for limit in spec.limits] + ([spec.scope] if spec.scope else [])
        if not names:
            return sorted(self._learned[spec.name])
        values = values_of(self.watch, turn)
        return [*(filled(name, values) for name in names), *sorted(self._learned[spec.name])]

    def claimed(self, who: str, old: Turn, new: Turn) -> None:
        if not self._scopes:
            return
        now = self.watch.now_ms()
        for name in self._of(self.watch.spec(new.job), new):
            scope = self._scopes.get(name)
            if scope is None:
                continue
            if now > scope.until + FORGOTTEN_MS:
                del self._scopes[name]
                continue
            if now < scope.until and not scope.cooled:
                self.watch.fail("I-15", "started while", name, "cools for another", scope.until - now, "ms:", new)
            if scope.probes and now < max(scope.probes.values()) + PROBE_MS:
                self.watch.fail("I-15", "a second probe of", name, "beside", scope.probes, "now", now, new)
            self.watch.sometimes["probe"] += 1
            scope.cooled = True
            scope.probes[new.id, new.attempt] = now

    def ended(self, old: Turn, new: Turn | None, line: Line) -> None:
        attempt = (old.id, old.attempt)
        for name, scope in list(self._scopes.items()):
            if scope.probes.pop(attempt, None) is not None and line.outcome == "succeeded":
                self.watch.sometimes["a probe came through"] += 1
                del self._scopes[name]
        said = self._said.pop(attempt, None)
        if said is None:
            return
        # A handler that says "too often" after its time was over has ended before, and nobody heard it.
        late = line.outcome != "rate_limited" and "rate limited" not in (line.reason or "")
        if not late and line.outcome in {"rate_limited", "retry", "dead"}:
            self._cool(old, *said)

    def _cool(self, turn: Turn, name: str, after_ms: int) -> None:
        until = self.watch.now_ms() + after_ms
        known = self._scopes.get(name)
        if known is None:
            known = self._scopes[name] = _Scope(until)
        known.until, known.cooled = until if known.cooled else max(known.until, until), False
        spec = self.watch.spec(turn.job)
        if self.watch.now_ms() > self._until.get(name, 0) + FORGOTTEN_MS:
            known = {row[0] for row in self.watch.rows(_LEARNED, name)}
            for job, learned in self._learned.items():
                learned.difference_update({name} if job not in known else ())
        self._until[name] = max(self._until.get(name, 0), until)
        if name not in self._of(spec, turn):
            self._learned[turn.job].add(name)
        self.watch.sometimes["cooled"] += 1


class Links(Checker):
    """A process calls no link whose scope it knows to cool, and the journal names the link that answered."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._until_s: dict[tuple[str, str], float] = {}
        self._answered: dict[tuple[int, int], str] = {}

    def called(self, process: Process, scope: str, now_s: float) -> None:
        """A link is called."""
        self.watch.sometimes["link called"] += 1
        until_s = self._until_s.get((process.name, scope), 0.0)
        if now_s < until_s - 0.001:
            self.watch.fail("I-15", process.name, "calls a link of", scope, "that cools for", until_s - now_s, "s more")

    def refused(self, process: Process, scope: str, until_s: float) -> None:
        """A link was refused."""
        known = self._until_s.get((process.name, scope), 0.0)
        self._until_s[process.name, scope] = max(known, until_s)

    def answered(self, process: Process, scope: str, attempt: tuple[int, int], name: str) -> None:
        """A link has answered: its scope works, for everyone."""
        for known in [one for one in self._until_s if one[1] == scope]:
            del self._until_s[known]
        self._answered[attempt] = name

    def ended(self, old: Turn, new: Turn | None, line: Line) -> None:
        name = self._answered.pop((old.id, old.attempt), None)
        if line.outcome != "succeeded" or not self.watch.spec(line.job).links:
            return
        self.watch.sometimes["a fallback answered"] += name not in {None, "link0"}
        if name is not None and line.link != name:
            self.watch.fail("links", name, "answered, and the journal says", line.link, line)


class Batches(Checker):
    """One batch of a job in flight, of at most its size, and its pause before the next."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._running: dict[str, set[int]] = defaultdict(set)
        self._commit: dict[str, int] = {}
        self._over_at: dict[str, int] = {}
        self._leaps: Counter[str] = Counter()  # how often the clock had leapt when its batch began

    def claimed(self, who: str, old: Turn, new: Turn) -> None:
        batch = self.watch.spec(new.job).batch
        if batch is None:
            return
        running, commit, now = self._running[new.job], self.watch.commits, self.watch.now_ms()
        leapt = self._leaps[new.job] != self.watch.sometimes["leap"]  # what keeps batches apart ends by the clock
        if running and self._commit[new.job] != commit and not leapt:
            self.watch.fail("I-15", "a second batch of", new.job, "while", sorted(running), "run:", new)
        over_at = self._over_at.get(new.job)
        if not running and not leapt and over_at is not None and now < over_at + batch.pause_ms:
            self.watch.fail("I-15", "a batch of", new.job, "began", now - over_at, "ms after the last,", batch, new)
        if not running:
            self._leaps[new.job] = self.watch.sometimes["leap"]
        running.add(new.id)
        self._commit[new.job] = commit
        if len(running) > batch.size:
            self.watch.fail("I-15", len(running), "in a batch of", batch, new)
        self.watch.sometimes["a full batch"] += len(running) == batch.size > 1

    def ended(self, old: Turn, new: Turn | None, line: Line) -> None:
        running = self._running.get(old.job)
        if running and old.id in running:
            running.discard(old.id)
            if not running:
                self._over_at[old.job] = self.watch.now_ms()


class Serials(Checker):
    """Runs of one serial key never overlap, retries and waits of a run included.

    A run keeps the keys that it was claimed under until it ends, or until it waits for another one, as its member has
    moved: what waits for a key holds none, so no two wait for each other.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._holders: dict[str, tuple[int, int]] = {}
        self._keys: dict[tuple[int, int], set[str]] = defaultdict(set)

    def claimed(self, who: str, old: Turn, new: Turn) -> None:
        template = self.watch.spec(new.job).serial
        if template is None:
            return
        run, key = (new.id, new.run), filled(template, values_of(self.watch, new))
        holder = self._holders.get(key)
        if holder is not None and holder != run:
            self.watch.fail("I-15", "the run", run, "of", key, "began before", holder, "had ended:", new)
        self._holders[key] = run
        self._keys[run].add(key)

    def ended(self, old: Turn, new: Turn | None, line: Line) -> None:
        if line.outcome in FINAL:
            self._free(old)

    def went_on(self, old: Turn, new: Turn, lines: Sequence[Line]) -> None:
        kind, _, key = (new.waits_for or "").partition(" ")
        if new.run != old.run:  # cancelled by a person between two attempts
            self._free(old)
        elif kind == "serial" and new.state == "waiting":
            self.watch.sometimes["gives up a key for another"] += (new.id, new.run) in self._keys
            if key in self._keys.get((new.id, new.run), ()) and self._holders.get(key) == (new.id, new.run):
                self.watch.fail("I-18", "waits for a key that it holds itself:", new)
            self._free(new)

    def gone(self, old: Turn) -> None:
        self._free(old)

    def _free(self, turn: Turn) -> None:
        run = (turn.id, turn.run)
        for key in self._keys.pop(run, ()):
            if self._holders.get(key) == run:
                del self._holders[key]


class CapsByKey(Checker):
    """No more than `n` runs of a job at once for each owner, or for each value of another field.

    Counted by what the members' data say at each claim; a run whose member has left counts no more.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._running: dict[int, Turn] = {}

    def claimed(self, who: str, old: Turn, new: Turn) -> None:
        cap = self.watch.spec(new.job).cap
        if cap is None or cap.by is None:
            return
        self._running[new.id] = new
        key = values_of(self.watch, new).get(cap.by)
        same = sum(self._counts(one, new.job, cap.by, key) for one in self._running.values())
        if same > cap.n:
            self.watch.fail("I-15", same, "runs of", new.job, key, "where", cap, new)
        self.watch.sometimes["cap by key full"] += same == cap.n

    def _counts(self, one: Turn, job: str, by: str, key: Any) -> bool:
        if one.job != job or (one.member is not None and not self.watch.rows(_MEMBER, one.roster, one.member)):
            return False
        return bool(values_of(self.watch, one).get(by) == key)

    def ended(self, old: Turn, new: Turn | None, line: Line) -> None:
        self._running.pop(old.id, None)


@dataclass(slots=True)
class Policies:
    """All of them, and those that handlers tell what they do."""

    limits: Limits
    cools: Cools
    links: Links
    others: tuple[Checker, ...]

    @classmethod
    def of(cls, watch: Watch) -> "Policies":
        """One of each."""
        return cls(Limits(watch), Cools(watch), Links(watch), (Batches(watch), Serials(watch), CapsByKey(watch)))

    @property
    def all(self) -> list[Checker]:
        """As the watch wants them."""
        return [self.limits, self.cools, self.links, *self.others]
