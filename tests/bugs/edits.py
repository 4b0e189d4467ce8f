"""Deliberate bugs as edits: a piece of one module, or of one statement, that reads otherwise while a test runs.

Always true: an edit is made when its module is imported, before anybody has seen it, and the files stay as they are;
one that no longer fits the code is an error and never silently nothing; no byte code of a wrong module is kept.

Not here: which bugs there are (table), who runs them (`python -m tests.bugs`).
"""

import importlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

LAUNCHER = "tests.bugs.launcher"
SQL = "rota.store.sql"  # the module that reads the statements


@dataclass(frozen=True, slots=True)
class Edit:
    """`old` reads `new` in a module ("rota.engine.settle") or in a statement ("sql settle") and its siblings.

    In a module it stands exactly once, or the edit would not say which one it means.
    """

    place: str
    old: str
    new: str

    @property
    def statement(self) -> str | None:
        """The name of the statement, if it is one."""
        return self.place.removeprefix("sql ") if self.place.startswith("sql ") else None

    def in_text(self, text: str) -> str:
        """The text with the edit, or an error that says where to look."""
        count = text.count(self.old)
        if count == 0 or (count > 1 and self.statement is None):
            message = f"the edit of {self.place} does not fit: expected {self.old!r} once, found it {count} times"
            raise ValueError(message)
        return text.replace(self.old, self.new)


class _Loader(SourceFileLoader):
    """Compiles a module from its edited source; nothing is read from or written to the cache of byte code."""

    def __init__(self, name: str, path: str, edits: Sequence[Edit]) -> None:
        super().__init__(name, path)
        self._edits = edits

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path).decode()
        for edit in self._edits:
            if edit.place == fullname:
                text = edit.in_text(text)
        return compile(text, self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if module.__name__ == SQL:
            plain = module.__dict__["statements"]
            module.__dict__["statements"] = cache(lambda: _edited(plain(), self._edits))


def _edited(texts: Mapping[str, str], edits: Sequence[Edit]) -> Mapping[str, str]:
    changed = dict(texts)
    for edit in edits:
        if edit.statement is not None:
            changed.update({name: edit.in_text(changed[name]) for name in _siblings(edit, changed)})
    return changed


def _siblings(edit: Edit, texts: Mapping[str, str]) -> list[str]:
    """The statement of that name, or those of its siblings in which the edit has a place."""
    siblings = [name for name in texts if edit.statement in (name, name.split("@")[0])]
    found = [name for name in siblings if edit.old in texts[name]] or siblings[:1]
    if not found:
        message = f"the edit of {edit.place} does not fit: there is no such statement"
        raise ValueError(message)
    return found


class _Finder(MetaPathFinder):
    """Finds the modules that are edited."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        self._edits = edits
        self.modules = {SQL if edit.statement else edit.place for edit in edits}

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname not in self.modules:
            return None
        spec: ModuleSpec | None = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin, self._edits)
        return spec


def install(edits: Sequence[Edit], number: int) -> None:
    """From here on the modules are imported with their edits, here and in Python processes that this one starts."""
    finder = _Finder(edits)
    late = sorted(finder.modules & sys.modules.keys())
    if late:
        message = f"these modules are imported already, too late for a bug: {', '.join(late)}"
        raise RuntimeError(message)
    sys.meta_path.insert(0, finder)
    _pass_on(number)


def _pass_on(number: int) -> None:
    """Start `python -m …` through the launcher; a bug reaches processes without a word in their environment."""
    plain = subprocess.Popen.__init__

    def begin(self: Any, args: Any, *more: Any, **options: Any) -> None:
        if isinstance(args, list | tuple) and list(args[:2]) == [sys.executable, "-m"]:
            args = [sys.executable, "-m", LAUNCHER, str(number), *args[2:]]
        plain(self, args, *more, **options)

    subprocess.Popen.__init__ = begin  # type: ignore[method-assign]


def misfits(edits: Sequence[Edit]) -> list[str]:
    """What the edits say against the code as it is; empty when all fit."""
    texts = importlib.import_module(SQL).statements()
    wrong: list[str] = []
    for edit in edits:
        try:
            for text in [texts[name] for name in _siblings(edit, texts)] if edit.statement else [_source(edit.place)]:
                edit.in_text(text)
        except ValueError as error:
            wrong.append(str(error))
    return wrong


@cache
def _source(module: str) -> str:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        message = f"there is no module {module}"
        raise ValueError(message)
    return Path(spec.origin).read_text(encoding="utf-8")
