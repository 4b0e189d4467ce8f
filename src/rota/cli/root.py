"""The tree of commands, the options that all of them have, and the one place where a command begins and ends.

Always true: a module of a command is imported only when the command is called; every command has `--json`; whatever
goes wrong ends as an exit code and a sentence (or a problem object) on stderr.

Not here: what a command does, and what is a fault (faults.py).
"""

import asyncio
import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import click

from rota.cli import faults
from rota.cli.paper import Result, say
from rota.define.names import nearest
from rota.errors import RotaError
from rota.version import VERSION

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "up": ("worker:up", "Be a worker in one process, for small deployments."),
    "worker": ("worker:worker", "Run what is due, until told to stop."),
    "tick": ("tick:tick", "Run what is due now, once, then exit."),
    "status": ("status:status", "The morning glance: is every member fresh?"),
    "why": ("status:why", "Why a member is as it is."),
    "doctor": ("doctor:doctor", "Look for what is wrong, and say how to mend it."),
    "roster": ("rosters:roster", "Rosters: ls, show, sync, pause, resume, rebalance."),
    "member": ("members:member", "Members: ls, show, add, rm, run, pause, resume, move, hold, unhold."),
    "job": ("jobs:job", "Jobs: ls, show, run, pause, resume."),
    "runs": ("runs:runs", "Runs: ls, show, tail, retry, requeue, cancel."),
    "limit": ("limits:limit", "Limits: ls, show, set, reset."),
    "cooldown": ("limits:cooldown", "Cool-downs of scopes: ls, clear, set."),
    "cache": ("caches:cache", "The cache: ls, show, clear."),
    "stop": ("stop:stop", "Emergency stop of everything."),
    "resume": ("stop:resume", "End the emergency stop."),
    "audit": ("audit:audit", "Who did what, and why."),
    "db": ("db:db", "The store: init, migrate, check, prune, backup."),
}

Answer = Result | None
Body = Callable[..., Answer | Coroutine[Any, Any, Answer]]


class Command(click.Command):
    """A command whose help starts with examples."""

    examples: Sequence[str] = ()

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples first, then what it does."""
        _write_examples(formatter, self.examples)
        super().format_help_text(ctx, formatter)


class Group(click.Group):
    """A group that suggests the nearest of its commands when one is unknown."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of that name, or what was probably meant."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(f"there is no command {args[0]!r}{nearest(args[0], self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)


class Lazy(Group):
    """The root: it knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's form
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's form
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        found: click.Command = getattr(importlib.import_module(f"rota.cli.{module}"), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- as above
        """The list, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples first."""
        _write_examples(formatter, ("rota tick", "rota worker -p 4", "rota status", "rota why sellers/s1"))
        super().format_help_text(ctx, formatter)


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    if not examples:
        return
    formatter.write_paragraph()
    for example in examples:
        formatter.write(f"  $ {example}\n")


def _shared(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every command has; on the root and on each leaf, where the leaf's own go first."""
    for option in reversed(
        [
            click.option("--app", metavar="MODULE[:ATTR]", help="The application (or ROTA_APP)."),
            click.option("--db", metavar="URL", help="The store, instead of the URL in the code (or ROTA_DB)."),
            click.option("--json", is_flag=True, help="One JSON object."),
            click.option("-q", "--quiet", is_flag=True, help="No text, only the exit code."),
            click.option("-v", "--verbose", is_flag=True, help="Log lines on stderr, and tracebacks."),
            click.option("--no-color", is_flag=True, help="Plain text (or NO_COLOR)."),
            click.option("--tz", metavar="ZONE", help="The zone of times in text (or ROTA_TZ)."),
            click.option("--yes", is_flag=True, help="Agree to what would be asked."),
            click.option("--by", metavar="NAME", help="Who asks, for the audit."),
        ]
    ):
        verb = option(verb)
    return verb


_SHARED: Final = ("app", "db", "json", "quiet", "verbose", "no_color", "tz", "yes", "by")


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION, "-V", "--version", message="rota %(version)s")
@_shared
def root(**_: object) -> None:
    """Recurring work for every one of your users.

    Each option can also be set as ROTA_<COMMAND>_<OPTION>.
    """


def group(name: str) -> Callable[[Callable[..., None]], Group]:
    """A group of commands below the root."""
    return click.group(name, cls=Group)


def command(
    name: str, *examples: str, of: click.Group | None = None, finds: bool = True
) -> Callable[[Body], click.Command]:
    """A command: its body is called with a Session and its own options, and its Result is printed.

    With `finds` the application is imported first, where no event loop runs yet, as it would be anywhere else.
    """

    def declare(body: Body) -> click.Command:
        def call(**given: Any) -> int:
            return _begun({key: given.pop(key) for key in _SHARED}, body, given, finds=finds)

        parameters = getattr(body, "__click_params__", [])
        own = click.command(name, cls=Command, help=inspect.getdoc(body))(_shared(call))
        assert isinstance(own, Command)  # noqa: S101 -- said by cls
        own.params[:0] = reversed(parameters)
        own.examples = examples
        words = ("ROTA", *([of.name or ""] if of is not None else []), name)
        for parameter in own.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                option = max(parameter.opts, key=len).removeprefix("--")
                parameter.envvar = "_".join((*words, option)).upper().replace("-", "_")
                parameter.show_envvar = True
        if of is not None:
            of.add_command(own)
        return own

    return declare


def _begun(shared: dict[str, Any], body: Body, given: dict[str, Any], *, finds: bool) -> int:
    """Merge the shared options, call the body, print what it found."""
    from rota.cli.logs import log_to_stderr
    from rota.cli.session import Manner, Session
    from rota.settings import Settings

    context = click.get_current_context()
    before = context.find_root().params
    manner = Manner(**{name: shared[name] or before[name] for name in _SHARED})
    settings = Settings.read()
    log_to_stderr(settings, verbose=manner.verbose)
    session = Session(manner, settings)
    if finds:
        session.find()
    found = body(session, **given)
    answer = asyncio.run(found) if inspect.iscoroutine(found) else found
    if answer is None:
        return 0
    assert isinstance(answer, Result)  # noqa: S101 -- a coroutine was run above
    names = context.command_path.split()[1:]
    session.paper.result(f"rota.{'.'.join(names)}/1", answer)
    if answer.at_once:
        faults.leave_at_once(answer.exit)
    return answer.exit


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit code."""
    given = list(arguments)
    try:
        code = root.main(args=given, prog_name="rota", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        return faults.INTERRUPTED
    except BrokenPipeError:
        return _closed()
    except Exception as fault:  # noqa: BLE001 -- the one place: everything ends as a sentence and a code
        return _refused(fault, given)
    return code if isinstance(code, int) else faults.DONE


def _closed() -> int:
    """Whoever read our output has gone (`rota … | head`): that is no fault."""
    sys.stderr.close()
    return faults.DONE


def _refused(fault: Exception, given: Sequence[str]) -> int:
    words = set(given[: given.index("--")] if "--" in given else given)
    if "-v" in words or "--verbose" in words:
        traceback.print_exception(fault)
    if "--json" in words:
        say(json.dumps(faults.problem(fault), ensure_ascii=False), sys.stderr)
        return faults.exit_of(fault)
    if isinstance(fault, click.UsageError) and fault.ctx is not None:
        say(fault.ctx.get_usage(), sys.stderr)
    if not ({"-q", "--quiet"} & words) or not isinstance(fault, RotaError):
        say(f"rota: {faults.sentence(fault)}", sys.stderr)
    return faults.exit_of(fault)
