"""The rows that travel between store and engine, as plain tuples with names.

Always true: a record is never changed; the order of the fields of `Claim` is the order of the columns in
`queries/turns.sql`, which a test compares.

Not here: what an outcome does to a turn (engine/settle.py), the SQL.
"""

from typing import Final, NamedTuple

from rota.turn.gates import Bounds, Heat

BEGUN: Final = 2  # of `caught`: an attempt of this run has started, so the run is late by its due time, not by its slot


class Claim(NamedTuple):
    """A turn as its claimer got it: `attempt` is the fence, `tries` counts this one, instants are ms UTC."""

    id: int
    job: str
    roster: str | None
    member: str | None
    key: str | None
    args: str | None
    standing: int
    due_at: int | None
    slot_at: int | None
    priority: int
    manual: int
    caught: int
    run: int
    attempt: int
    tries: int
    losses: int
    waited_ms: int
    phase_ms: int
    prior_start_at: int | None
    start_at: int | None
    done: int
    failed: int
    steps: str | None
    leased_until: int
    claimed_at: int
    zone: str | None = None
    data: str | None = None
    owner: str | None = None
    weight: int | None = None


class Ask(NamedTuple):
    """What a claimer wants of one job: `lease_ms` is the longest an attempt may take, `cap` the most at once.

    `bounds` is what its runs share with others, beyond the cap.
    """

    job: str
    roster: str | None
    lease_ms: int
    cap: int | None
    bounds: Bounds | None = None


class After(NamedTuple):
    """What the turn is after an attempt: `due_at` is an instant, or None: `delay_ms` from the store's now."""

    state: str
    due_at: int | None
    delay_ms: int | None
    slot_at: int | None
    next_run: int
    tries: int
    losses: int
    waited_ms: int
    manual: int
    caught: int
    leaders: int
    fresh_ms: int | None
    reason: str | None
    result: str | None


class Failure(NamedTuple):
    """What went wrong, bounded and grouped: the fingerprint is the cause's name."""

    fingerprint: str
    kind: str
    message: str
    place: str | None
    traceback: str | None


class Lead(NamedTuple):
    """News for a follower: the bit of its leader, whether it failed, and the mask of all leaders."""

    job: str
    bit: int
    failed: int
    leaders: int


class Line(NamedTuple):
    """One row of the journal, without its end, which the store's clock writes."""

    turn: int
    run: int
    attempt: int
    job: str
    roster: str | None
    member: str | None
    slot_at: int | None
    due_at: int | None
    started_at: int | None
    worker: str | None
    outcome: str
    reason: str | None
    link: str | None
    error: str | None
    slots: int


class Wake(NamedTuple):
    """What the end of an attempt sets free: turns that wait for it (by what they wait for), and the pause of a batch.

    `works` are scopes that its probe has shown to work, `unproved` those it has shown nothing of.
    """

    frees: tuple[str, ...] = ()
    works: tuple[str, ...] = ()
    unproved: tuple[str, ...] = ()
    batch: tuple[str, int] | None = None


class End(NamedTuple):
    """The end of one attempt. `after` is None when the turn goes; `leads` only when the run has ended.

    `journal` says whether a row is kept; `skipped` are rows for slots that this end passes over.
    """

    claim: Claim
    worker: str
    outcome: str
    reason: str | None
    after: After | None
    started_at: int | None
    busy_ms: int
    failure: Failure | None = None
    dead: bool = False
    journal: bool = True
    link: str | None = None
    leads: tuple[Lead, ...] = ()
    skipped: tuple[Line, ...] = ()
    wake: Wake | None = None
    heats: tuple[Heat, ...] = ()


class Well(NamedTuple):
    """The end of an attempt that simply succeeded, which most do: short, as it is on the hot path.

    `slot_at` is the next slot of a standing turn, `fresh_ms` how long the success keeps it fresh or within grace.
    """

    claim: Claim
    worker: str
    started_at: int | None
    busy_ms: int
    slot_at: int | None
    fresh_ms: int
    journal: bool
    leads: tuple[Lead, ...] = ()
    wake: Wake | None = None

    @property
    def outcome(self) -> str:
        """The journal's word."""
        return "succeeded"

    @property
    def reason(self) -> None:
        """A success needs none."""
        return


Ending = End | Well


class Judged(NamedTuple):
    """What becomes of fresh claims before anything starts.

    `run` are started; `back` (id, due_at, slot_at, caught) return to waiting; `newer` (id, slot_at) run for a
    newer slot; `lines` account for the slots passed over.
    """

    run: list[Claim]
    back: list[tuple[int, int | None, int | None, int]]
    newer: list[tuple[int, int]]
    lines: list[Line]


class Fresh(NamedTuple):
    """A one-off to be enqueued: due at an instant, or after a delay counted by the store's clock."""

    job: str
    args: str
    key: str | None
    due_at: int | None
    delay_ms: int
    priority: int
    remember_ms: int
