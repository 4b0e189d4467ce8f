"""What the ledger says about killed workers: which jobs were lost, failed, stuck or run twice, and how long it took.

Always true: a pure function of the acknowledged jobs, the lines, the kills and what the system itself still lists; a
start that no end follows in a killed process is a hit of that kill.

Not here: killing (crew.py), and the words of the table (page.py).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.sidebyside.ledger import Line

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill: when, and whom."""

    at_ns: int
    pids: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What the system itself lists at the end, by numbers of jobs."""

    waiting: frozenset[int] = frozenset()
    reserved: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Counts of jobs, and seconds; None where it never came to that."""

    jobs: int
    kills: int
    hits: int
    ended: int
    lost: int
    failed: int
    waiting: int
    stuck: int
    stuck_though_ended: int
    run_twice: int
    ended_twice: int
    done_s: float | None
    again_median_s: float | None
    again_longest_s: float | None


def judge(acknowledged: Iterable[int], lines: Sequence[Line], kills: Sequence[Kill], left: Left) -> Verdict:
    """Hold a system to the jobs that it took."""
    taken = set(acknowledged)
    starts = [line for line in lines if line.what == "start"]
    ends = [line for line in lines if line.what == "end"]
    hits = hits_of(lines, kills)
    struck = Counter(line.number for line, _ in hits)
    started = Counter(line.number for line in starts)
    finished = Counter(line.number for line in ends)
    open_ = taken - finished.keys()
    again = seconds_until_again(starts, hits)
    complete = starts and not open_
    return Verdict(
        jobs=len(taken),
        kills=len(kills),
        hits=len(hits),
        ended=len(taken & finished.keys()),
        lost=len(open_ - left.waiting - left.reserved - left.failed),
        failed=len(open_ & left.failed),
        waiting=len(open_ & left.waiting),
        stuck=len(open_ & left.reserved),
        stuck_though_ended=len(left.reserved & finished.keys()),
        run_twice=sum(1 for number in taken if started[number] > 1 + struck[number]),
        ended_twice=sum(1 for number in taken if finished[number] > 1),
        done_s=(first_ends(ends) - starts[0].at_ns) / SECOND_NS if complete else None,
        again_median_s=median(again) if again else None,
        again_longest_s=max(again) if again else None,
    )


def first_ends(ends: Sequence[Line]) -> int:
    """The instant at which the last job ended for the first time."""
    first: dict[int, int] = {}
    for line in ends:
        first.setdefault(line.number, line.at_ns)
    return max(first.values())


def hits_of(lines: Sequence[Line], kills: Sequence[Kill]) -> list[tuple[Line, int]]:
    """Each start that a kill cut off, with the instant of the kill."""
    open_: dict[tuple[int, int], list[Line]] = {}
    for line in lines:
        under_way = open_.setdefault((line.number, line.pid), [])
        if line.what == "start":
            under_way.append(line)
        elif under_way:
            under_way.pop(0)
    killed = {pid: kill.at_ns for kill in kills for pid in kill.pids}
    return [(line, killed[pid]) for (_, pid), cut in open_.items() if pid in killed for line in cut]


def seconds_until_again(starts: Sequence[Line], hits: Sequence[tuple[Line, int]]) -> list[float]:
    """For each hit after which its job was started again: how long that took, from the kill."""
    found = []
    for cut, killed_ns in hits:
        later = [line.at_ns for line in starts if line.number == cut.number and line.at_ns > killed_ns]
        if later:
            found.append((min(later) - killed_ns) / SECOND_NS)
    return found
