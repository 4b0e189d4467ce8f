"""`rota stop --all` and `rota resume --all`: the emergency stop and its end.

Always true: once `stop` has returned, nothing is claimed anywhere, and no handler starts two seconds later (G-17);
both say what they did and leave a row in the audit.

Not here: pauses of single jobs, rosters and members.
"""

import sys
from collections.abc import Iterable
from typing import Any

import click

from rota import operate
from rota.cli import acts, faults, rows
from rota.cli.faults import Declined
from rota.cli.paper import Block, Fields, Result
from rota.cli.root import command
from rota.cli.session import Session
from rota.cli.words import Words, many
from rota.errors import BadInput
from rota.store.pauses import StillRunning

MOST_TOLD = 20  # attempts listed as text; JSON has them all


@command(
    "stop", "rota stop --all --reason 'bad release' --yes", "rota stop --all --running cancel --reason … --wait 30s"
)
@click.option("--all", "everything", is_flag=True, help="Everything: there is no smaller stop, pause a job instead.")
@click.option("--running", type=click.Choice(["finish", "cancel"]), default="finish", help="What becomes of what runs.")
@click.option("--wait", metavar="DURATION", help="Wait until nothing runs any more; exit 1 when something still does.")
@acts.reason_option
async def stop(session: Session, running: str, wait: str | None, reason: str | None, *, everything: bool) -> Result:
    """Stop everything, on every worker. Due times are kept; nothing is lost."""
    if not everything:
        raise BadInput("say --all: a stop is of everything; `rota job pause` and `rota roster pause` stop less")
    if not reason:
        raise BadInput("a stop needs --reason, because others will wonder")
    _confirm(session)
    async with session.opened() as store:
        found = await operate.stop_all(store, reason, running=running, wait=wait, by=session.by)
    fields = {
        "stopped": {"by": session.by, "reason": reason},
        "first": found.first,
        "running": [_running(one) for one in found.running],
        "unheard": len(found.unheard),
    }
    still = wait is not None and len(found.running) > len(found.unheard)
    return Result(fields=fields, text=_stopped, exit=faults.BAD if still else faults.DONE)


def _confirm(session: Session) -> None:
    """Level 4: the application's name is typed."""
    if session.manner.yes:
        return
    name = session.rota.name
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Declined(f"stop everything of {name}: without a terminal this needs --yes")
    sys.stderr.write(f"No run starts on any worker from now on. Type {name} to stop everything: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != name:
        raise Declined("nothing was stopped, because the name was not the one asked for")


def _running(one: StillRunning) -> dict[str, Any]:
    return {
        "run": f"{one.turn}-{one.run}",
        "job": one.job,
        "member": rows.who(one.roster, one.member),
        "worker": one.worker,
        "leaseOver": one.over,
    }


def _stopped(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    yield "Everything is stopped." if fields["first"] else "Everything was stopped already."
    still = fields["running"]
    if not still:
        yield "Nothing runs any more."
        return
    yield f"{many(len(still), 'run')} still on the way:"
    for one in still[:MOST_TOLD]:
        lost = ", not heard of any more" if one["leaseOver"] else ""
        worker = one["worker"] or "a worker that is gone"
        yield f" {one['run']}  {one['job']}  {one['member'] or '–'}  on {worker}{lost}"
    if len(still) > MOST_TOLD:
        yield f" and {many(len(still) - MOST_TOLD, 'more', 'more')}"


@command("resume", "rota resume --all", "rota resume --all --catch-up none")
@click.option("--all", "everything", is_flag=True, help="Everything that `rota stop --all` stopped.")
@click.option("--catch-up", type=click.Choice(["latest", "all", "none"]), help="For every job, instead of its own.")
@click.option("--spread", default="10m", metavar="DURATION", help="Lay out what was missed over this time.")
@acts.reason_option
async def resume(
    session: Session, catch_up: str | None, spread: str, reason: str | None, *, everything: bool
) -> Result:
    """End the emergency stop; what became due meanwhile is made up as each job says."""
    if not everything:
        raise BadInput("say --all: this ends the stop of everything; `rota job resume` ends one pause")
    async with session.opened() as store:
        ended = await operate.resume_all(store, catch_up=catch_up, spread=spread, reason=reason, by=session.by)
    how = "as each job says" if catch_up is None else f"so: {catch_up}"
    done = f"Everything goes on; what was missed is made up {how}."
    return Result(
        fields={"changed": ended, "catchUp": catch_up, "spread": spread},
        text=lambda _fields, _words: (done if ended else "Nothing was stopped.",),
    )
