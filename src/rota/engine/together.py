"""One call of a handler for a whole batch: a list of members goes in, an outcome for each comes back.

Always true: every member of the batch comes to exactly one value, outcome or exception; what the handler raises is what
all of them came to.

Not here: which runs make a batch (store/claiming.py), what an outcome means (settle.py).
"""

from collections.abc import Sequence

import msgspec

from rota.define.current import CURRENT
from rota.define.job import JobSpec
from rota.define.outcome import Fail, Outcome
from rota.define.stored import encode_result
from rota.engine.attempt import MakeRun, Places, member_of
from rota.errors import BadInput
from rota.turn.records import Claim


async def run_together(spec: JobSpec, claims: Sequence[Claim], make_run: MakeRun, places: Places) -> list[object]:
    """The whole way of one batch: what each of its members came to, in their order."""
    try:
        members = [member_of(claim) for claim in claims]
        first = make_run(spec, claims[0], members[0])
        arguments = spec.arguments.call_args(members, first, claims[0].args)
    except (BadInput, msgspec.DecodeError) as error:
        return [Fail(str(error))] * len(claims)
    CURRENT.set(first)
    try:
        came = await spec.handler(**arguments) if spec.is_async else await places.call(spec, arguments)
        return _each(spec, came, len(claims))
    except Exception as error:  # noqa: BLE001 -- the one place: whatever a handler raises is what its batch came to
        return [error] * len(claims)


def _each(spec: JobSpec, came: object, count: int) -> list[object]:
    if came is None or isinstance(came, Outcome):
        return [came] * count
    if not isinstance(came, list | tuple) or len(came) != count:
        found = f"a list of {len(came)}" if isinstance(came, list | tuple) else type(came).__name__
        message = f"{spec.name} got {count} members and returned {found}: return None, or a list with an entry for each"
        return [RuntimeError(message)] * count
    return [one if one is None or isinstance(one, BaseException) else _kept(spec, one) for one in came]


def _kept(spec: JobSpec, one: object) -> object:
    return encode_result(one) if spec.keep == "latest" else None
