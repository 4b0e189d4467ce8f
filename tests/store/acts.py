"""The rest of the machine: what operators do to turns, pauses and the emergency stop.

Always true: as in `machine`.

Not here: adding, claiming, ending and time (machine), how many scripts are played on what (test_contract).
"""

import contextlib
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from rota.errors import Conflict
from rota.operate import _Rules
from rota.store import operators, pauses
from rota.store.operators import Deed, Which
from tests.store.machine import HOUR_MS, Scripts, picks
from tests.store.world import CATALOG, Door

RULES = _Rules(CATALOG)
TARGETS = [("job", "mail"), ("job", "daily"), ("job", "digest"), ("roster", "users"), ("member", "users/a")]


class StoreMachine(Scripts):
    """Any script of operations on the store."""

    @rule(what=st.sampled_from(TARGETS), on=st.booleans(), until=st.sampled_from((None, None, HOUR_MS)))
    def pause_or_resume(self, what: tuple[str, str], on: bool, until: int | None) -> None:
        if not on:
            self._resume(what)
            return
        scope, name = what
        ends_at = None if until is None or scope == "member" else self.model.now + until
        self.write(lambda: pauses.pause(scope, name, ends_at, Deed("ann", "pause", name, "why")), gate="exclusive")
        self.model.pauses[what] = ends_at
        self.model.audited += 1
        self._mark(what, 1)

    def _resume(self, what: tuple[str, str]) -> None:
        scope, name = what
        held = what in self.model.held()
        ended = self.write(lambda: pauses.resume(scope, name, Deed("ann", "resume", name, None)), gate="exclusive")
        assert ended == held
        self.model.pauses.pop(what, None)
        self.model.audited += held
        self._mark(what, 0)

    def _mark(self, target: tuple[str, str], paused: int) -> None:
        for turn in self.model.turns.values():
            if target[0] == "member" and turn.member == target[1].partition("/")[2]:
                turn.paused = paused

    @rule(on=st.booleans(), cancel=st.booleans())
    def stop_or_resume(self, on: bool, cancel: bool) -> None:
        if not on or ("all", "*") in self.model.pauses:
            self._resume_all()
            return
        stopped = [
            door.write(
                lambda: pauses.stop(Deed("ann", "stop", "all", "fire"), cancel=cancel, most=100), gate="exclusive"
            )
            for door in self.played
        ]
        running = [place for place, turn in self.model.turns.items() if turn.state == "running"]
        for door, one in zip(self.played, stopped, strict=True):
            assert sorted(door.order[each.turn] for each in one.running) == running
            over = {door.order[each.turn] for each in one.running if each.over}
            assert over == {
                place
                for place in running
                if self.model.leases.get(self.model.turns[place].worker or "", -1) < self.model.now
            }
        for place in running if cancel else ():
            self.model.turns[place].cancel = 1
        self.model.pauses["all", "*"] = None
        self.model.audited += 1

    def _resume_all(self) -> None:
        ended = self.write(
            lambda: pauses.resume_all(Deed("ann", "resume", "all", None), catch_up=None, spread_ms=None),
            gate="exclusive",
        )
        assert ended == (("all", "*") in self.model.pauses)
        self.model.audited += ended
        self.model.pauses.pop(("all", "*"), None)

    def _which(self, door: Door, place: int) -> Which:
        return Which(turn=self.real(door, place))

    @precondition(lambda self: self.model.turns)
    @rule(act=st.sampled_from(("hold", "unhold", "cancel", "run_now")), pick=picks, all_of_member=st.booleans())
    def operate(self, act: str, pick: int, all_of_member: bool) -> None:
        places = sorted(self.model.turns)
        place = places[pick % len(places)]
        member = self.model.turns[place].member
        meant = [place]
        if all_of_member and member is not None and act != "run_now":
            meant = [at for at in places if self.model.turns[at].member == member]
        deed = Deed("ann", act, "turn", None)

        def do(door: Door) -> Any:
            which = self._which(door, place)
            if len(meant) > 1:
                which = Which(roster="users", member=member)
            if act == "run_now":
                found = door.write(lambda: operators.run_now(which, RULES, deed))
                return None if found is None else (door.order[found.turn], found.run, found.created)
            made = {
                "hold": lambda: operators.hold(which, deed),
                "unhold": lambda: operators.unhold(which, RULES, deed),
                "cancel": lambda: operators.cancel(which, RULES, deed),
            }[act]
            acted = door.write(made)
            running = [door.order[turn.id] for turn in acted.running]
            return sorted(door.order[turn.id] for turn in acted.changed), sorted(running)

        running = [at for at in meant if self.model.turns[at].state == "running"]
        if act == "run_now":
            run, created = self.model.turns[place].run, self.model.run_now(place)
            self.model.audited += 1
            self.seen["run_now"] += created
            assert self.both(do) == (place, run, created)
            return
        changed, wished = self.model.cancel(meant) if act == "cancel" else (getattr(self.model, act)(meant), [])
        self.model.audited += bool(changed or wished)
        self.seen[act] += len(changed)
        self.seen["wished"] += len(wished)
        assert self.both(do) == (changed, running)

    @precondition(lambda self: self.model.letters)
    @rule(pick=picks)
    def requeue(self, pick: int) -> None:
        number = pick % len(self.model.letters)
        letter = self.model.letters[number]
        expected = self.model.requeue(number)
        self.model.audited += expected is not None
        self.seen["requeue"] += expected is not None
        deed = Deed("ann", "requeue", "dead", None)

        def requeue(door: Door) -> Any:
            real = self.real(door, letter.turn)
            with contextlib.suppress(Conflict):
                made = door.write(
                    lambda: operators.requeue(
                        lambda: operators.letters(id=None, run=(real, letter.run), error=None, most=1),
                        RULES,
                        deed,
                        spread_ms=0,
                        alone=True,
                    )
                )
                if expected is not None:
                    door.order.setdefault(made[0].turn, expected[0])
                return door.order[made[0].turn], made[0].run
            return None

        assert self.both(requeue) == expected
