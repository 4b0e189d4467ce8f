"""What the acts of several commands have in common: pausing, resuming, and running by hand.

Always true: a pause has a reason; what touches many is confirmed first; every act says who asks.

Not here: the acts themselves (operate.py).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import click

from rota import operate
from rota.app.job import Handle
from rota.cli import faults
from rota.cli.paper import Result
from rota.cli.session import Session
from rota.define.units import duration_ms, instant, instant_text
from rota.errors import BadInput
from rota.store.store import Store

reason_option = click.option("--reason", metavar="TEXT", help="Why: others will wonder.")
until_option = click.option("--until", metavar="WHEN", help="Until an instant (2026-03-01T12:00Z) or for a time (2h).")
count_option = click.option(
    "--count", type=int, metavar="N", help="The number to agree to, with --yes, where it is large."
)


def until_of(session: Session, text: str | None) -> datetime | None:
    """An instant, or a duration from now."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        ms = duration_ms(text, name="--until")
        return instant(session.clock.now_ms()) + timedelta(milliseconds=ms)
    if found.utcoffset() is None:
        raise BadInput(f"--until must have a zone, such as {text}Z or {text}+01:00")
    return found


def since_of(session: Session, text: str | None) -> datetime | None:
    """An instant, or a duration before now."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        ms = duration_ms(text, name="--since")
        return instant(session.clock.now_ms()) - timedelta(milliseconds=ms)
    if found.utcoffset() is None:
        raise BadInput(f"--since must have a zone, such as {text}Z or {text}+01:00")
    return found


async def pause(session: Session, target: Mapping[str, str], *, reason: str | None, until: str | None) -> Result:
    """Pause a job, a roster or a member; the result says what and until when."""
    if not reason:
        raise BadInput("a pause needs --reason, because others will wonder")
    end = until_of(session, until)
    async with session.opened() as store:
        await operate.pause(store, **target, reason=reason, until=end, by=session.by)
    scope, name = next(iter(target.items()))
    said = None if end is None else instant_text(int(end.timestamp() * 1000))
    return Result(
        fields={"paused": name, "scope": scope, "by": session.by, "reason": reason, "until": said},
        text=lambda fields, words: (
            f"{scope} {name} is paused" + (f" until {words.at(fields['until'])}." if said else " until it is resumed."),
        ),
    )


async def resume(session: Session, target: Mapping[str, str], *, reason: str | None) -> Result:
    """End a pause; nothing paused is no fault, and said."""
    async with session.opened() as store:
        ended = await operate.resume(store, **target, reason=reason, by=session.by)
    scope, name = next(iter(target.items()))
    done = f"{scope} {name} goes on; what was missed is made up as each job says."
    return Result(
        fields={"resumed": name, "scope": scope, "changed": ended},
        text=lambda _fields, _words: (done if ended else f"{scope} {name} was not paused.",),
    )


async def run_now(
    session: Session, store: Store, job: str, member: str | None, *, reason: str | None, wait: str | None
) -> Result:
    """Run a job by hand, and with `wait` say what came of it: exit 1 when it failed."""
    started = await operate.run_now(store, job, member, reason=reason, by=session.by)
    fields: dict[str, Any] = {
        "run": f"{started.turn}-{started.run}",
        "job": job,
        "member": member,
        "created": started.created,
        "paused": started.paused,
        "outcome": None,
    }
    if wait is not None:
        handle = Handle(session.rota, started.turn, started.run, created=started.created)
        try:
            fields["outcome"] = await handle.wait(wait)
        except TimeoutError:
            fields["outcome"] = await handle.state()
    failed = wait is not None and fields["outcome"] != "succeeded"
    return Result(fields=fields, text=lambda found, _words: (_run(found),), exit=faults.BAD if failed else faults.DONE)


def _run(fields: Mapping[str, Any]) -> str:
    what = f"run {fields['run']} of {fields['job']}"
    if fields["outcome"] is not None:
        return f"{what}: {fields['outcome']}"
    if fields["paused"]:
        return f"{what} is due now, but it is {fields['paused']}"
    return f"{what} is due now" if fields["created"] else f"{what} was running or due already"
