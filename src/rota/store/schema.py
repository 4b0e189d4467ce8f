"""The age of a store: its version, the migrations that bring it forward, and the sentence when it does not fit.

Always true: migrations only go forward, may be run by two processes at once and twice, and each runs in
one transaction with the new version number; a store that is too old or too new is left untouched.

Not here: the tables themselves (migrations/*.sql), partitions of the journal (postgres.py).
"""

import re
from importlib import resources

from rota.errors import SchemaMismatch
from rota.store.port import Op, query
from rota.store.sql import Call, Dictionary

_FILE = re.compile(r"^(\d{4})_[a-z_]+\.sql$")


def migrations() -> list[tuple[int, str]]:
    """Every migration as (number, text), in order."""
    folder = resources.files("rota.store").joinpath("migrations")
    found = [
        (int(match[1]), file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if (match := _FILE.match(file.name))
    ]
    return sorted(found)


def newest() -> int:
    """The version this release writes."""
    return migrations()[-1][0]


def current(dictionary: Dictionary) -> Op[int]:
    """The version of the store, 0 when it is empty."""
    there = yield from query("schema_present", table=dictionary.table("meta"))
    if not there:
        return 0
    rows = yield from query("meta", name="schema")
    return int(rows[0][0]) if rows else 0


def migrate(dictionary: Dictionary, store_id: str) -> Op[list[int]]:
    """Run the migrations that are missing; the numbers that were run."""
    yield from query("schema_lock")
    version = yield from current(dictionary)
    ran: list[int] = []
    for number, text in migrations():
        if number <= version:
            continue
        for statement in dictionary.script(text):
            yield Call("sql", {"text": statement})
        yield from query("put_meta", name="schema", value=str(number))
        ran.append(number)
    if version == 0:
        yield from query("put_meta", name="store", value=store_id)
    return ran


def check(version: int, where: str) -> None:
    """Raise the sentence that explains why this release cannot use that store."""
    wanted = newest()
    if version == wanted:
        return
    if version < wanted:
        message = f"the store {where} has schema {version}, this release needs {wanted}: run `rota db migrate`"
    else:
        message = f"the store {where} has schema {version}, this release knows only {wanted}: install a newer rota"
    raise SchemaMismatch(message)
