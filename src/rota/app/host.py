"""What the objects that an application hands out need of it.

Always true: whoever asks for the store gets it open.

Not here: the application itself (rota.py).
"""

from typing import Any, Protocol

from rota.clock import Clock
from rota.define.catalog import Catalog
from rota.engine.enqueue import Enqueuer
from rota.store.store import Store


class Host(Protocol):
    """An application, as its jobs and rosters see it."""

    @property
    def clock(self) -> Clock:
        """The clock of the application."""

    @property
    def catalog(self) -> Catalog:
        """What the application declares."""

    @property
    def _host(self) -> "Host | None":
        """The application that has taken it in."""

    @property
    def enqueuer(self) -> Enqueuer:
        """Collects what is enqueued; there once the store is open."""

    async def opened(self) -> Store:
        """The open store."""
        ...

    def decode(self, text: str) -> Any:
        """Stored JSON as a value."""
