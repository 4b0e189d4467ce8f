"""The run that the calling handler works on, kept in the context so that a limit can be spent by its own name.

Always true: it is set while a handler runs, in its task or thread, and nowhere else.

Not here: what a run can do (run.py).
"""

from contextvars import ContextVar
from typing import Any, Final, Protocol


class Pays(Protocol):
    """What can pay for calls under a limit: a run."""

    async def spend(self, limit: Any, n: int = 1) -> None:  # noqa: ANN401 -- a Limit, which is declared above this
        """Take `n` calls of a limit."""


CURRENT: Final[ContextVar[Pays | None]] = ContextVar("rota_run", default=None)
