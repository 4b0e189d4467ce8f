"""`rota doctor`: what is wrong, and what to do about it.

Always true: no check waits longer than `LIMIT_S`; one that takes longer or breaks is a finding itself; it works with no
worker running, and with no application and no store, too.

Not here: the checks (checks.py).
"""

import asyncio
import platform
from collections.abc import Awaitable, Iterable
from importlib.metadata import version

from rota.app.rota import Rota
from rota.cli import faults
from rota.cli.checks import CHECKS, ERROR, OK, WARNING, Finding
from rota.cli.paper import Block, Fields, Result
from rota.cli.root import command
from rota.cli.session import Session
from rota.cli.words import Words, duration, many
from rota.errors import RotaError, SchemaMismatch, StoreError
from rota.store import schema
from rota.store.port import query
from rota.store.store import Store
from rota.version import VERSION

LIMIT_S = 3.0  # for each check (ux 6): a doctor that waits is part of the illness
SKEW_S = 2.0  # a host's clock that differs more is named: lists and logs would mislead
MARKS = {OK: "✓", WARNING: "!", ERROR: "✗"}


@command("doctor", "rota doctor", "rota doctor --json", finds=False)
async def doctor(session: Session) -> Result:
    """Look for what is wrong, and say how to mend it; exit 1 when there is an error."""
    findings = [Finding(level=OK, check="versions", text=_versions())]
    rota = await _application(session, findings)
    if rota is not None:
        await _store(session, rota, findings)
    rows = [{"level": one.level, "check": one.check, "text": one.text, "fix": one.fix} for one in findings]
    errors = sum(1 for one in findings if one.level == ERROR)
    warnings = sum(1 for one in findings if one.level == WARNING)
    return Result(
        fields={"ok": errors == 0, "errors": errors, "warnings": warnings, "findings": rows},
        text=_text,
        exit=faults.BAD if errors else faults.DONE,
    )


def _versions() -> str:
    parts = (f"{name} {version(name)}" for name in ("click", "rich"))
    return f"python {platform.python_version()}, rota {VERSION}, {', '.join(parts)}"


async def _application(session: Session, findings: list[Finding]) -> Rota | None:
    started_s = session.clock.monotonic()
    try:
        rota = await asyncio.wait_for(asyncio.to_thread(session.find), LIMIT_S)
    except RotaError as error:
        findings.append(Finding(level=ERROR, check="app", text=str(error), fix="say which with --app module:attr"))
        return None
    except TimeoutError:
        text = f"importing the application takes longer than {LIMIT_S:.0f} s"
        findings.append(Finding(level=ERROR, check="app", text=text, fix="do no work at import"))
        return None
    took = duration(session.clock.monotonic() - started_s)
    catalog = rota.catalog
    counts = f"{many(len(catalog.rosters), 'roster')}, {many(len(catalog.jobs), 'job')}"
    text = f"app {session.found.reference}, {counts}, imported in {took}"
    findings.append(Finding(level=OK, check="app", text=text))
    return rota


async def _store(session: Session, rota: Rota, findings: list[Finding]) -> None:
    try:
        try:
            store = await asyncio.wait_for(rota.opened(), LIMIT_S)
            findings.append(await asyncio.wait_for(_answer(session, store), LIMIT_S))
        except SchemaMismatch as error:
            findings.append(Finding(level=ERROR, check="store", text=str(error), fix="rota db migrate"))
            return
        except (RotaError, TimeoutError) as error:
            text = str(error) or f"the store does not answer within {LIMIT_S:.0f} s"
            fix = "start it, or check --db and ROTA_DB" if isinstance(error, StoreError | TimeoutError) else None
            findings.append(Finding(level=ERROR, check="store", text=text, fix=fix))
            return
        for name, check in CHECKS.items():
            findings += await _limited(name, check(session, store))
    finally:
        await rota.close()


async def _answer(session: Session, store: Store) -> Finding:
    """How fast the store answers, and whether its clock and ours agree."""
    clock = session.clock
    started_s = clock.monotonic()
    library = await store.read(lambda: query("library"))
    took_s = clock.monotonic() - started_s
    before = clock.now_ms()
    theirs = (await store.read(lambda: query("now")))[0][0]
    skew_s = max(before - theirs, theirs - clock.now_ms(), 0) / 1000
    text = f"store {library[0][0]}, schema {schema.newest()} (current), {duration(took_s)}, clock skew {skew_s:.1f} s"
    if skew_s <= SKEW_S:
        return Finding(level=OK, check="store", text=text)
    return Finding(level=WARNING, check="store", text=text, fix="set this host's clock: is NTP running?")


async def _limited(name: str, check: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        return await asyncio.wait_for(check, LIMIT_S)
    except TimeoutError:
        return [Finding(level=WARNING, check=name, text=f"{name}: no answer within {LIMIT_S:.0f} s")]
    except RotaError as error:
        return [Finding(level=ERROR, check=name, text=f"{name}: {error}")]


def _text(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    for one in fields["findings"]:
        fix = f"    {one['fix']}" if one["fix"] else ""
        yield f" {MARKS[one['level']]} {one['text']}{fix}"
    yield _sum(fields)


def _sum(fields: Fields) -> str:
    errors, warnings = fields["errors"], fields["warnings"]
    if not errors and not warnings:
        return "Nothing is wrong."
    return ", ".join(
        text for number, text in ((errors, many(errors, "error")), (warnings, many(warnings, "warning"))) if number
    )
