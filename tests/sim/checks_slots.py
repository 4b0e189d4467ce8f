"""Slots: one run for each at most, every one accounted for, the next from the one before (I-9, I-10, I-11, G-16).

Always true: the calendar is asked, never the engine; while releases with different rules are about, either rule may
have been followed.

Not here: who may claim (checks), sums over a run (checks_sums).
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import product

from rota.define.contract import Place
from rota.define.evenly import Every
from rota.define.job import JobSpec
from rota.define.wallclock import offset_at
from tests.sim.checks import STOP_MS, Checker, Watch
from tests.sim.records import FINAL, Line, Turn

_MEMBER = "SELECT zone, data FROM rota_member WHERE roster = ? AND key = ?"
STEPS_MS = 1_800_000  # the store's clock steps by half an hour at most


class Slots(Checker):
    """What becomes of each slot."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._slots: dict[int, dict[int, str]] = defaultdict(dict)  # slots that are accounted for, by turn
        self._places: dict[int, Place] = {}  # by turn: where the member stood when the turn was claimed
        self._before: dict[int, tuple[int, int]] = {}  # by turn: the slot that ran last, and when it started
        self.former: dict[str, list[JobSpec]] = defaultdict(list)  # what earlier releases said of a job

    def claimed(self, who: str, old: Turn, new: Turn) -> None:
        self._places[new.id] = self._place(new)
        spec = self.watch.spec(new.job)
        if spec.schedule is None or new.slot_at is None or new.manual or new.tries != 1:
            return
        now = self.watch.now_ms()
        late_ms = now - new.slot_at
        waited = old.waits_for is not None and self.watch.latest_ms >= new.slot_at  # due, before the clock was set back
        if late_ms < 0 and not (new.caught or waited or self.former[new.job]):
            self.watch.fail("I-11", "claimed", -late_ms, "ms before its slot:", new)
        self.watch.most("largest lateness, s", late_ms / 1000)
        before = self._before.get(new.id)
        self._before[new.id] = (new.slot_at, now)
        if before is not None and isinstance(spec.schedule, Every) and new.slot_at > before[0]:
            self.watch.least(
                "smallest start gap less the slot gap, s", (now - before[1] - new.slot_at + before[0]) / 1000
            )

    def wrote(self, old: Turn | None, line: Line) -> None:
        if line.slot_at is None or line.outcome not in FINAL:
            return
        known = self._slots[line.turn]
        ahead = line.outcome == "cancelled" and line.worker is None  # its rule may bring it back: nothing ran
        if line.slot_at in known:
            self.watch.fail("I-9", "the slot", line.slot_at, "was", known[line.slot_at], "already:", line)
        elif not ahead:
            known[line.slot_at] = line.outcome

    def went_on(self, old: Turn, new: Turn, lines: Sequence[Line]) -> None:
        if new.caught and not old.caught:
            self.watch.sometimes["spread"] += 1
        spec = self.watch.spec(new.job)
        if spec.schedule is None or old.slot_at is None:
            return
        accounted = sum(line.slots for line in lines if line.slot_at is not None and line.outcome in FINAL)
        if new.slot_at == old.slot_at and not accounted:
            return
        if new.slot_at is None:
            self.watch.fail("I-10", "a turn lost its slot:", old, new)
            return
        self._accounted(old, new, new.slot_at, accounted)

    def _accounted(self, old: Turn, new: Turn, slot_at: int, accounted: int) -> None:
        assert old.slot_at is not None
        now = self.watch.now_ms()
        moved = old.slot_at > now or (new.on_end, new.phase_ms, new.era) != (old.on_end, old.phase_ms, old.era)
        if not accounted and moved:
            self.watch.sometimes["moved"] += 1  # a zone, a place, a rule: from a slot still to come to another
            if slot_at < now - STOP_MS and old.slot_at > now:
                self.watch.fail("G-16", "moved to a slot in the past, now", now, old, new)
            return
        specs = [self.watch.spec(new.job), *self.former[new.job]]
        place = (self._places.get(old.id) if old.state == "running" else None) or self._place(old)
        # The reaper knows already who moved meanwhile.
        places = [place, self._place(old)] if old.on_end else [place]
        # The old slot is owed in any case: after a change of zone it may not be on the calendar any more.
        owed = {1 + spec.schedule.count_between(old.slot_at, slot_at - 1, place) for spec in specs if spec.schedule}
        if accounted not in owed:
            self.watch.fail("I-10", owed, "slots passed and", accounted, "are accounted for:", old, new)
        self._clocks_changed(specs[0], place, old.slot_at, slot_at)
        pairs = [(spec.schedule, where) for spec, where in product(specs, places) if spec.schedule is not None]
        if all(schedule.last_slot(slot_at, where) != slot_at for schedule, where in pairs):
            self.watch.fail("I-11", "is no slot of the schedule:", old, new)

    def _clocks_changed(self, spec: JobSpec, place: Place, old_at: int, new_at: int) -> None:
        if spec.schedule is None or isinstance(spec.schedule, Every):
            return
        zone = place.zone or "UTC"
        if offset_at(old_at, zone) != offset_at(new_at, zone):
            self.watch.sometimes["clocks changed between two slots"] += 1

    def _place(self, turn: Turn) -> Place:
        rows = self.watch.rows(_MEMBER, turn.roster, turn.member) if turn.member is not None else []
        zone, data = rows[0] if rows else (None, "{}")
        return Place(turn.phase_ms, zone, json.loads(data))
