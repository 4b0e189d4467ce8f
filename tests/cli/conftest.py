"""A small shop in a folder of its own, and a way to call `rota` there.

Always true: each test has a new folder, a new store and a freshly imported application; nothing of a command stays
behind.

Not here: the tests.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rota.cli import main

SHOP = """
from rota import Fail, Member, Retry, Rota, every

rota = Rota("sqlite:///shop.db", name="shop")
sellers = rota.roster("sellers", source=lambda: (f"s{i}" for i in range(6)), facets=["region"])


@rota.job(each=sellers, schedule=every("24h"), first_run="now", retry=Retry(tries=2, first="1h", jitter=0))
async def refresh(seller: Member) -> None:
    if seller.key == "s3":
        raise ValueError("401 TokenExpired")
    if seller.key == "s4":
        raise Fail("account closed")


@rota.job(schedule=every("24h"))
def clean() -> None: ...


@rota.job
async def welcome(email: str) -> None: ...
"""


class Said(NamedTuple):
    """What a command left: exit code, stdout, stderr."""

    exit: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def plain(self) -> str:
        """The text with what differs from run to run replaced: times, durations, the folder."""
        text = re.sub(r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?\d\d:\d\d(?::\d\d)?\b", "TIME", self.out)
        text = re.sub(r"\b\d+(?:\.\d)? (?:ms|s|m|h|min)\b(?: \d+ (?:s|m|h|min)\b)?", "SPAN", text)
        return re.sub(r" +", " ", text)


Rota = Callable[..., Said]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to stand in, with imports and logs put back afterwards."""
    modules, path, log = set(sys.modules), list(sys.path), logging.getLogger("rota")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith(("rota.", "rich", "click", "asyncpg", "redis")):
            del sys.modules[name]
    log.handlers.clear()
    log.propagate = True
    log.setLevel(logging.NOTSET)


@pytest.fixture
def folder(empty: Path) -> Path:
    """A folder with the shop in `app.py`."""
    (empty / "app.py").write_text(SHOP)
    return empty


@pytest.fixture
def rota(empty: Path, capsys: pytest.CaptureFixture[str]) -> Rota:
    """`rota("status", "--json")` in the folder."""

    def call(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return call


@pytest.fixture
def ticked(folder: Path, rota: Rota) -> Rota:
    """The same after one tick: four fresh, one to be retried, one dead."""
    assert rota("tick").exit == 1
    return rota
