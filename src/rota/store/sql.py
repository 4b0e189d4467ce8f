"""One SQL text with a few named holes, compiled for one database.

`queries/*.sql` hold every statement once, under a name. The holes are: `:name` (a value), `{now}` (the
store clock inside the statement), `{rows a(x bigint, y text)}` (the list argument `a` read as a table),
`{lock}` and `{lock skip}`. A statement that must differ, or that measures at least 1.3 times faster when
written for one database, has a sibling named `claim@postgres`.

Always true: tables are written `rota.turn` in the text and become `"schema".turn` on PostgreSQL and
`rota_turn` on SQLite; a value never becomes part of the text; parameters of a list argument come first
(one JSON text on SQLite, where it measured 0.7 µs a row against 8 µs for `executemany`; arrays on PostgreSQL).

Not here: running statements (sqlite, postgres, foreign), what the statements are for (queries/).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple

Dialect = Literal["sqlite", "postgres"]

_NAME = re.compile(r"^-- name: (?P<name>[a-z_]+(?:@(?:sqlite|postgres))?)\s*$", re.MULTILINE)
_HOLE = re.compile(
    r"\{rows (?P<rows>[a-z_]+)\((?P<columns>[^)]*)\)\}"
    r"|\{(?P<word>[a-z ]+)\}"
    r"|(?<![:\w]):(?P<value>[a-z_]+)"
    r"|\brota\.(?P<table>[a-z_]+)"
    r"|(?P<text>'[^']*'|--[^\n]*)",
)

_NOW_POSTGRES = "(SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint))"


class Call(NamedTuple):
    """A statement to run: its name in `queries/` and its arguments; `rows` feeds the list argument."""

    name: str
    values: Mapping[str, Any]
    rows: Sequence[Sequence[Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A statement in one database's words: `columns` are those of its list argument, `values` the rest, in order."""

    name: str
    text: str
    columns: tuple[str, ...] | None
    values: tuple[str, ...]

    def scalars(self, given: Mapping[str, Any], now_ms: int | None) -> tuple[Any, ...]:
        """The values in the order of the text; `now` is filled in where the clock is held outside."""
        return tuple([now_ms if name == "now" else given[name] for name in self.values])


@cache
def statements() -> Mapping[str, str]:
    """Every statement of `queries/` by name, without its comments."""
    folder = resources.files("rota.store").joinpath("queries")
    texts = [file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")]
    parts = _NAME.split("\n".join(texts))
    found: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in found:
            message = f"two statements are named {name!r}"
            raise ValueError(message)
        lines = [line for line in body.splitlines() if not line.lstrip().startswith("--")]
        found[name] = "\n".join(lines).strip().rstrip(";")
    return found


class Dictionary:
    """The statements of one database, compiled when first asked for."""

    def __init__(self, dialect: Dialect, schema: str, *, clock_held: bool, rows_as_json: bool = False) -> None:
        """`clock_held`: the instant is bound from outside; `rows_as_json`: lists travel as one JSON text."""
        self.dialect: Dialect = dialect
        self._schema = schema
        self._bind_now = clock_held or dialect == "sqlite"
        self._rows_as_json = rows_as_json or dialect == "sqlite"
        self._compiled: dict[str, Compiled] = {}

    def __getitem__(self, name: str) -> Compiled:
        """The statement of that name, in its sibling's form where this database has one."""
        found = self._compiled.get(name)
        if found is None:
            texts = statements()
            text = texts.get(f"{name}@{self.dialect}", texts.get(name))
            if text is None:
                message = f"there is no statement {name!r} for {self.dialect}"
                raise KeyError(message)
            found = self._compiled[name] = self.compile(name, text)
        return found

    def compile(self, name: str, text: str) -> Compiled:
        """Fill the holes of one statement."""
        list_argument = re.search(r"\{rows [a-z_]+\(([^)]*)\)\}", text)
        columns = _columns(list_argument.group(1)) if list_argument else ()
        first = min(1, len(columns)) if self._rows_as_json else len(columns)
        values: list[str] = []

        def value(which: str) -> str:
            if which not in values:
                values.append(which)
            mark = "?" if self.dialect == "sqlite" else "$"
            return f"{mark}{first + values.index(which) + 1}"

        def fill(match: re.Match[str]) -> str:
            if match["text"] is not None:
                return match["text"]
            if match["table"] is not None:
                return self.table(match["table"])
            if match["value"] is not None:
                return value(match["value"])
            if match["rows"] is not None:
                return self._list(match["rows"], columns)
            if match["word"] == "now":
                return f"CAST({value('now')} AS bigint)" if self._bind_now else _NOW_POSTGRES
            return self._word(match["word"])

        filled = _HOLE.sub(fill, text)
        return Compiled(
            name=name,
            text=filled,
            columns=tuple(column for column, _ in columns) if list_argument else None,
            values=tuple(values),
        )

    def script(self, text: str) -> list[str]:
        """The statements of a migration, one by one, in this database's words."""
        bare = re.sub(r"--[^\n]*", "", text)
        if self.dialect == "postgres":
            bare = re.sub(r"\btext\b", 'text COLLATE "C"', bare)
        else:
            bare = re.sub(r"\bINDEX (\w+) ON\b", r"INDEX rota_\1 ON", bare)
        filled = _HOLE.sub(self._fill_script, bare)
        found = [one.strip() for one in filled.split(";") if one.strip()]
        return [f'CREATE SCHEMA IF NOT EXISTS "{self._schema}"', *found] if self.dialect == "postgres" else found

    def _fill_script(self, match: re.Match[str]) -> str:
        if match["table"] is not None:
            return self.table(match["table"])
        if match["word"] is not None:
            return self._word(match["word"])
        return match[0]

    def table(self, name: str) -> str:
        """The name of a table in this database."""
        if self.dialect == "sqlite":
            return f"rota_{name}"
        return f'"{self._schema}".{name}'

    def _word(self, word: str) -> str:
        holes = _WORDS_SQLITE if self.dialect == "sqlite" else _WORDS_POSTGRES
        return holes[word].replace("rota.", f'"{self._schema}".')

    def _list(self, name: str, columns: Sequence[tuple[str, str]]) -> str:
        if self.dialect == "sqlite":
            picks = ", ".join(f"value ->> {at} AS {column}" for at, (column, _) in enumerate(columns))
            return f"(SELECT {picks} FROM json_each(?1)) AS {name}"
        names = ", ".join(column for column, _ in columns)
        if self._rows_as_json:
            casts = ", ".join(f"CAST(one ->> {at} AS {kind}) AS {column}" for at, (column, kind) in enumerate(columns))
            return f"(SELECT {casts} FROM jsonb_array_elements(CAST($1 AS jsonb)) AS each_of(one)) AS {name}"
        marks = ", ".join(f"${at}::{kind}[]" for at, (_, kind) in enumerate(columns, 1))
        return f"unnest({marks}) AS {name}({names})"


def _columns(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [part.strip().split(" ", 1) for part in text.split(",")]
    return tuple((column, kind) for column, kind in pairs)


_WORDS_SQLITE: Mapping[str, str] = {
    "id": "integer PRIMARY KEY AUTOINCREMENT",
    "id journal": "integer PRIMARY KEY AUTOINCREMENT",
    "journal": "",
    "journal sequence": "",
    "journal index": "",
    "fill": "",
    "bytes": "blob",
    "lock": "",
    "lock skip": "",
    "lock of job": "",
    "lock of bucket": "",
    "lock of turn": "",
    "lock of turn skip": "",
}
_WORDS_POSTGRES: Mapping[str, str] = {
    "id": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "id journal": "bigint NOT NULL DEFAULT nextval('rota.journal_id')",
    "journal": " PARTITION BY RANGE (ended_at)",
    "journal sequence": "CREATE SEQUENCE rota.journal_id CACHE 100;",
    "journal index": "CREATE INDEX journal_place ON rota.journal (id);",
    "fill": " WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)",
    "bytes": "bytea",
    "lock": "FOR UPDATE",
    "lock skip": "FOR UPDATE SKIP LOCKED",
    "lock of job": "FOR UPDATE OF job",
    "lock of bucket": "FOR UPDATE OF bucket",
    "lock of turn": "FOR UPDATE OF turn",
    "lock of turn skip": "FOR UPDATE OF turn SKIP LOCKED",
}
