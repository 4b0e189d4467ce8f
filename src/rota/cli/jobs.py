"""`rota job …`: list, show, run, pause, resume.

Always true: a job that only the store knows is listed, as unknown to this release.

Not here: runs (runs.py), one member's turns (members.py).
"""

from collections.abc import Iterable
from typing import Any

import click

from rota.cli import acts, rows
from rota.cli.paper import Block, Fields, Result, Table
from rota.cli.root import command, group
from rota.cli.session import Session
from rota.cli.words import Words, count, duration, many
from rota.define.job import JobSpec
from rota.errors import BadInput
from rota.insight.known import known_job
from rota.insight.policies import policies
from rota.insight.runs import Wanted
from rota.insight.runs import errors as errors_of
from rota.insight.runs import runs as runs_of
from rota.insight.status import status as status_of


@group("job")
def job() -> None:
    """Jobs: what is run, for whom, when, and how it goes."""


async def _jobs(session: Session) -> list[dict[str, Any]]:
    async with session.opened() as store:
        found = await status_of(store, application=session.rota.name)
    specs = session.rota.catalog.jobs
    return [
        {
            **one.as_json(),
            "schedule": specs[one.job].describe() if one.job in specs else None,
            "policies": policies(specs[one.job]) if one.job in specs else [],
            "known": one.job in specs,
        }
        for one in found.jobs
    ]


@command("ls", "rota job ls", of=job)
async def ls(session: Session) -> Result:
    """List jobs: when they run, and what is due, held and dead."""
    return Result(fields={"jobs": await _jobs(session)}, text=_listed)


def _listed(fields: Fields, words: Words) -> Iterable[Block]:
    if not fields["jobs"]:
        yield "There are no jobs: declare one with @rota.job."
        return
    yield Table(
        heads=("JOB", "ROSTER", "SCHEDULE", ">TURNS", ">DUE", ">RUNNING", ">HELD", ">DEAD", "NEXT", "POLICIES"),
        rows=[
            [
                one["job"],
                one["roster"] or "–",
                one["schedule"] or "unknown to this release",
                *[count(one[name]) for name in ("turns", "due", "running", "held", "dead")],
                f"‖ paused by {one['paused']['by']}" if one["paused"] else words.at(one["nextDueAt"]),
                ", ".join(one["policies"]) or "–",
            ]
            for one in fields["jobs"]
        ],
    )


@command("show", "rota job show refresh", of=job)
@click.argument("name", metavar="JOB")
async def show(session: Session, name: str) -> Result:
    """Show one job: its policy, its figures, its errors and last runs."""
    async with session.opened() as store:
        await known_job(store, name)
        found = await status_of(store, application=session.rota.name)
        causes = await errors_of(store, job=name, limit=5)
        last = await runs_of(store, Wanted(job=name), limit=5)
    spec = session.rota.catalog.jobs.get(name)
    mine = next((one.as_json() for one in found.jobs if one.job == name), {"job": name})
    fields = {
        **mine,
        "known": spec is not None,
        "policy": None if spec is None else _policy(spec),
        "errors": [
            {"fingerprint": one.fingerprint, "kind": one.kind, "message": one.message, "count": one.times}
            | {"lastAt": rows.at(one.last_at), "place": one.place}
            for one in causes
        ],
        "runs": [rows.run(one) for one in last.items],
    }
    return Result(fields=fields, text=_shown)


def _policy(spec: JobSpec) -> dict[str, Any]:
    return {
        "schedule": spec.describe(),
        "queue": spec.queue,
        "priority": spec.priority,
        "tries": spec.retry.tries,
        "timeout": spec.timeout_ms / 1000,
        "target": None if spec.target_ms is None else spec.target_ms / 1000,
        "grace": None if spec.grace_ms is None else spec.grace_ms / 1000,
        "catchUp": spec.catch_up.kind,
        "afterDeath": spec.after_death,
        "after": list(spec.after),
        "shared": policies(spec),
    }


def _shown(fields: Fields, words: Words) -> Iterable[Block]:
    policy = fields["policy"]
    for_whom = f" for each of {fields['roster']}" if fields.get("roster") else ""
    yield f"{fields['job']}: {policy['schedule'] if policy else 'unknown to this release'}{for_whom}"
    if fields.get("paused"):
        pause = fields["paused"]
        yield f"‖ paused by {pause['by']} since {words.at(pause['since'])}: {pause['reason']}"
    if policy:
        target = f", target {duration(policy['target'])}, grace {duration(policy['grace'])}" if policy["target"] else ""
        tries = many(policy["tries"], "try", "tries")
        yield f"queue {policy['queue']}, {tries}, timeout {duration(policy['timeout'])}{target}"
        yield from policy["shared"]
    figures = [f"{count(fields.get(name, 0))} {name}" for name in ("turns", "due", "running", "held", "dead")]
    yield f"{', '.join(figures)}; next {words.at(fields.get('nextDueAt'))}"
    for one in fields["errors"]:
        often = f"{count(one['count'])}, last {words.at(one['lastAt'])}"
        yield f" ▲ {one['kind']}: {one['message']} ({often}) {one['fingerprint']}"
    yield Table(
        heads=("ENDED", "RUN", "MEMBER", "OUTCOME", ">TOOK"),
        rows=[
            [words.at(one["endedAt"]), one["id"], one["member"] or "–", rows.outcome(one), duration(one["duration"])]
            for one in fields["runs"]
        ],
    )


@command("run", "rota job run clean --wait 1m", "rota job run refresh --member s1", of=job)
@click.argument("name", metavar="JOB")
@click.option("--member", metavar="KEY", help="For which member of its roster.")
@click.option("--wait", metavar="DURATION", help="Wait for its end; exit 1 when it failed.")
@acts.reason_option
async def run(session: Session, name: str, member: str | None, wait: str | None, reason: str | None) -> Result:
    """Run a job now; its slots stay."""
    spec = session.rota.catalog.job(name)
    if spec.each is not None and member is None:
        raise BadInput(
            f"{name} runs for each of {spec.each}: say --member KEY, or `rota tick --now --job {name}` for all"
        )
    key = member.removeprefix(f"{spec.each}/") if member is not None else None
    async with session.opened() as store:
        return await acts.run_now(session, store, name, key, reason=reason, wait=wait)


@command("pause", "rota job pause refresh --reason 'bad key' --until 2h --yes", of=job)
@click.argument("name", metavar="JOB")
@acts.reason_option
@acts.until_option
@acts.count_option
async def pause(session: Session, name: str, reason: str | None, until: str | None, count: int | None) -> Result:
    """Pause a job for everyone."""
    async with session.opened() as store:
        await known_job(store, name)
        found = await status_of(store, application=session.rota.name)
    turns = next((one.turns for one in found.jobs if one.job == name), None)
    session.confirm(f"pause {name}" + ("" if turns is None else f" with {many(turns, 'turn')}"), turns, count)
    return await acts.pause(session, {"job": name}, reason=reason, until=until)


@command("resume", "rota job resume refresh", of=job)
@click.argument("name", metavar="JOB")
@acts.reason_option
async def resume(session: Session, name: str, reason: str | None) -> Result:
    """End the pause of a job."""
    return await acts.resume(session, {"job": name}, reason=reason)
