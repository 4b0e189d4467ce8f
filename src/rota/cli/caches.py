"""`rota cache …`: what is in the cache, one entry, and clearing.

Always true: a value is shown only when it is asked for by its key; clearing is confirmed and recorded.

Not here: the cache (cache.py of the package).
"""

import base64
from collections.abc import Iterable

import click

from rota import operate
from rota.cli import acts
from rota.cli.paper import Block, Fields, Result
from rota.cli.root import command, group
from rota.cli.session import Session
from rota.cli.words import Words, count, duration, many
from rota.errors import BadInput, NotFound


@group("cache")
def cache() -> None:
    """The cache behind rota.cache."""


@command("ls", "rota cache ls", "rota cache ls panchangam: --limit 100", of=cache)
@click.argument("prefix", metavar="[PREFIX]", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="At most so many keys.")
async def ls(session: Session, prefix: str | None, limit: int) -> Result:
    """Say what the cache holds; with a PREFIX, list the keys that begin so."""
    async with session.opened():
        found = await session.rota.opened_cache()
        stats = await found.stats()
        keys: list[str] = []
        if prefix is not None:
            async for key in found.scan(prefix):
                keys.append(key)
                if len(keys) == limit:
                    break
    fields = {
        "caches": [{"cache": "rota", "kind": found.kind, "entries": stats.entries, "bytes": stats.bytes}],
        "errors": stats.errors,
        "prefix": prefix,
        "keys": keys,
    }
    return Result(fields=fields, text=_listed)


def _listed(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    one = fields["caches"][0]
    entries = "unknown" if one["entries"] is None else many(one["entries"], "entry", "entries")
    size = "" if one["bytes"] is None else f", {count(one['bytes'])} bytes"
    away = " · it cannot be reached" if fields["errors"] else ""
    yield f"{one['cache']} ({one['kind']}): {entries}{size}{away}"
    yield from fields["keys"]
    if fields["prefix"] is not None and not fields["keys"]:
        yield f"no key begins with {fields['prefix']!r}"


@command("show", "rota cache show panchangam:pune:2026-03-01", of=cache)
@click.argument("key", metavar="KEY")
async def show(session: Session, key: str) -> Result:
    """Show one entry: its value, and how long it is kept."""
    async with session.opened():
        found = await session.rota.opened_cache()
        value = await found.get(key)
        left = await found.ttl(key)
    if value is None:
        raise NotFound(f"the cache has no entry {key!r}")
    try:
        text, encoding = value.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(value).decode(), "base64"
    fields = {
        "key": key,
        "bytes": len(value),
        "ttl": None if left is None else left.total_seconds(),
        "encoding": encoding,
        "value": text,
    }
    return Result(fields=fields, text=_shown)


def _shown(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    yield f"{fields['key']}: {count(fields['bytes'])} bytes, kept for {duration(fields['ttl'])} more"
    yield fields["value"]


@command("clear", "rota cache clear --prefix panchangam:pune: --yes", "rota cache clear --all --yes", of=cache)
@click.option("--prefix", metavar="PREFIX", help="The entries whose keys begin so.")
@click.option("--all", "everything", is_flag=True, help="Every entry.")
@acts.reason_option
@acts.count_option
async def clear(
    session: Session, prefix: str | None, reason: str | None, count: int | None, *, everything: bool
) -> Result:
    """Delete entries; what is computed anew comes back by itself."""
    if everything == bool(prefix):
        raise BadInput("say either --prefix PREFIX or --all")
    async with session.opened() as store:
        found = await session.rota.opened_cache()
        number = (await found.stats()).entries if everything else None
        what = f"clear the whole cache ({'unknown' if number is None else number} entries)"
        session.confirm(what if everything else f"clear the cache's entries under {prefix!r}", number, count)
        gone = await operate.clear_cache(store, found, prefix=prefix or "", reason=reason, by=session.by)
    return Result(
        fields={"prefix": prefix, "all": everything, "cleared": gone},
        text=lambda _fields, _words: (f"{many(gone, 'entry', 'entries')} cleared.",),
    )
