"""What a command is given: who asks and how, the application, its store, and a way to ask back.

Always true: `--db` goes before the URL in the code; an act that touches many needs a yes, from a terminal or as
`--yes`, and one that touches more than `HEAVY` also the number.

Not here: options and help (root.py), what the commands do.
"""

import os
import pwd
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

from rota.app.rota import Rota
from rota.cli.discover import Found, find
from rota.cli.faults import Declined
from rota.cli.paper import Paper
from rota.cli.words import Words, count
from rota.clock import Clock
from rota.define.names import zone_of
from rota.define.units import instant
from rota.settings import Settings
from rota.store.store import Store

HEAVY = 1_000  # more members than this and the number has to be said (ux, level 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """The options that every command has."""

    app: str | None = None
    db: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    no_color: bool = False
    tz: str | None = None
    yes: bool = False
    by: str | None = None


class Session:
    """One run of one command."""

    def __init__(self, manner: Manner, settings: Settings) -> None:
        self.manner = manner
        self.settings = settings
        self.clock = Clock()
        zone = manner.tz or settings.tz
        words = Words(self._zone(zone), instant(self.clock.now_ms()))
        self.paper = Paper(words, as_json=manner.json, quiet=manner.quiet, color=_color(manner, settings))

    @staticmethod
    def _zone(name: str | None) -> ZoneInfo | None:
        return None if name is None else zone_of(name)

    @property
    def by(self) -> str:
        """Who asks, for the audit: `--by`, else the name of the process's user."""
        if self.manner.by:
            return self.manner.by
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return "local"  # a container's user without a name

    @cached_property
    def found(self) -> Found:
        """The application, put on the store of `--db` where that is given."""
        found = find(self.manner.app, self.settings.app, Path.cwd())
        if self.manner.db is not None:
            found.rota.use(self.manner.db)
        return found

    def find(self) -> Rota:
        """Import the application now."""
        return self.found.rota

    @property
    def rota(self) -> Rota:
        """The application."""
        return self.found.rota

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        """The application's store, for the length of a block."""
        try:
            yield await self.rota.opened()
        finally:
            await self.rota.close()

    def confirm(self, what: str, number: int | None, said: int | None = None, *, heavy: bool = False) -> None:
        """Ask before an act on many; Declined where nobody agrees. `said` is the number given as `--count`."""
        heavy = heavy or (number is not None and number > HEAVY)
        if self.manner.yes:
            if heavy and number is not None and said != number:
                hint = f"--yes --count {number}"
                raise Declined(f"{what}: that are {count(number)}, so the number has to be said as well: {hint}")
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            hint = f"--yes --count {number}" if heavy and number is not None else "--yes"
            raise Declined(f"{what}: without a terminal this needs {hint}")
        wanted = str(number) if heavy and number is not None else "yes"
        sys.stderr.write(f"{what}. Type {wanted} to go on: ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().replace(",", "") != wanted:
            raise Declined("nothing was done, because the answer was not the one asked for")


def _color(manner: Manner, settings: Settings) -> bool | None:
    if manner.no_color or settings.no_color:
        return False
    return True if settings.force_color else None
