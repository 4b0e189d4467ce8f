"""What failing members have in common: values of the roster's facets that they share and others do not.

Always true: at least `LEAST` members fail before anything is said; a value is named only when it is at least twice as
frequent among them as in the roster; a roster larger than `SAMPLE` is judged by a part of it, and the word is "about".

Not here: which members fail, and why (why).
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rota.insight.words import share
from rota.store.port import Op, query

LEAST = 5  # failing members: fewer have things in common by chance
MOST = 500  # failing members that are looked at
LOOKED = 1_000  # stale ones that they are looked for among: those who have been stale longest
SAMPLE = 2_000  # members of the roster that are looked at: 10 ms
NAMED = 2  # values that a paragraph names


class Alike(NamedTuple):
    """A value of a facet: how many of the failing members have it, and how many of those looked at in the roster."""

    facet: str
    value: str
    failing: int
    of: int
    base: int
    seen: int

    def sentence(self, roster: str) -> str:
        """It in words."""
        who = f"All {self.of:,}" if self.failing == self.of else f"{self.failing:,} of {self.of:,}"
        about = "about " if self.seen == SAMPLE else ""
        return f"{who} have {self.facet} {self.value}; {about}{share(self.base, self.seen)} of all {roster} do."


def alike(roster: str, facets: Sequence[str], job: str, error: str) -> Op[list[Alike]]:
    """The values that the members failing for one cause share most clearly."""
    if not facets:
        return []
    found = yield from query("failing_members", job=job, error=error, looked=LOOKED, most=MOST)
    failing = [json.loads(row[0]) for row in found]
    if len(failing) < LEAST:
        return []
    seen = [json.loads(row[0]) for row in (yield from query("sample_members", roster=roster, most=SAMPLE))]
    shared: list[Alike] = []
    for facet in facets:
        base = Counter(str(data[facet]) for data in seen if data.get(facet) is not None)
        ours = Counter(str(data[facet]) for data in failing if data.get(facet) is not None)
        for value, count in ours.items():
            one = Alike(facet, value, count, len(failing), base[value], len(seen))
            if count * 2 > len(failing) and count * len(seen) >= 2 * base[value] * len(failing):
                shared.append(one)
    shared.sort(key=lambda one: (-one.failing, one.base, one.facet))
    return shared[:NAMED]
