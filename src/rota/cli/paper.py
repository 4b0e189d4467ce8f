"""Writes results: data on stdout, everything else on stderr; colour and width only on a terminal.

A command returns a `Result`: the fields of its JSON object, and a function that tells the same fields as text. Text is
made of lines and tables; on a terminal rich draws them, elsewhere they are plain columns.

Always true: text can say nothing that the JSON does not hold; rich is imported only on a terminal.

Not here: what the commands find out, how a progress is drawn (tick_view.py).
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

from rota.cli.words import Words

if TYPE_CHECKING:
    from rich.text import Text

MARKS: Final = {"▲": "red", "⬣": "red", "✗": "red", "◷": "yellow", "!": "yellow", "‖": "bright_black", "●": "green"}
MARKS_OK: Final = {"✓": "green", "◌": "bright_black", "◠": "blue"}
GAP: Final = "  "

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under heads; a head that begins with ">" is of a column that is aligned to the right."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = str | Table

# Control characters but line feed and tab, and marks that turn the direction: names and errors come from anywhere.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command found or did: the JSON object (its schema is added), and how to say it.

    `at_once`: the process ends without waiting for its threads, as handlers in them will never end.
    """

    fields: Fields
    text: Callable[[Fields, Words], Iterable[Block]]
    exit: int = 0
    at_once: bool = False


class Paper:
    """Where a command writes."""

    def __init__(self, words: Words, *, as_json: bool, quiet: bool, color: bool | None) -> None:
        """`color`: True and False decide, None asks the terminal."""
        self.words = words
        self.as_json = as_json
        self.quiet = quiet
        self._color = color
        self.terminal = sys.stdout.isatty() if color is not True else True

    def result(self, schema: str, result: Result) -> None:
        """Print a result in the form that was asked for."""
        if self.as_json:
            self.json({"schema": schema, **result.fields}, indent=2 if sys.stdout.isatty() else None)
        elif not self.quiet:
            self.blocks(result.text(result.fields, self.words))

    def json(self, fields: Fields, *, indent: int | None = None, file: TextIO | None = None) -> None:
        """Print one object."""
        say(json.dumps(fields, ensure_ascii=False, indent=indent), file or sys.stdout)

    def blocks(self, blocks: Iterable[Block]) -> None:
        """Print lines and tables."""
        if self.terminal:
            self._draw(blocks)
            return
        for block in blocks:
            for line in plain(block):
                say(line, sys.stdout)

    def aside(self, line: str) -> None:
        """Print a remark."""
        if not self.quiet:
            say(line, sys.stderr)

    def _draw(self, blocks: Iterable[Block]) -> None:
        from rich.console import Console
        from rich.table import Table as Grid
        from rich.text import Text

        console = Console(
            no_color=self._color is False or None, force_terminal=self._color, highlight=False, soft_wrap=False
        )
        for block in blocks:
            if isinstance(block, str):
                console.print(_marked(Text(harmless(block))), soft_wrap=True)
                continue
            grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
            for head in block.heads:
                right = head.startswith(">")
                grid.add_column(head.removeprefix(">"), justify="right" if right else "left", overflow="fold")
            for row in block.rows:
                grid.add_row(*[_marked(Text(harmless(cell))) for cell in row])
            console.print(grid)


def _marked(text: "Text") -> "Text":
    """The text with the mark it begins with in the colour of its state."""
    mark = text.plain.lstrip()[:1]
    colour = {**MARKS, **MARKS_OK}.get(mark)
    if colour is not None and text.plain.lstrip()[1:2] in {"", " "}:
        start = text.plain.index(mark)
        text.stylize(colour, start, start + 1)
    return text


def plain(block: Block) -> list[str]:
    """The lines of a block without a terminal: columns side by side, no rules, no white space at the end."""
    if isinstance(block, str):
        return block.splitlines() or [""]
    heads = [head.removeprefix(">") for head in block.heads]
    rights = [head.startswith(">") for head in block.heads]
    lines = [heads, *[[cell.replace("\n", " ") for cell in row] for row in block.rows]]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    return [
        GAP.join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, rights, strict=True)
        ).rstrip()
        for line in lines
    ]


def say(line: str, file: TextIO) -> None:
    """Print a line; letters that the terminal's encoding lacks are replaced, not fatal."""
    encoding = file.encoding or "utf-8"
    line = harmless(line)
    file.write(line.encode(encoding, "replace").decode(encoding) + "\n")
    file.flush()


def harmless(text: str) -> str:
    r"""Text that cannot steer a terminal: control characters and those that turn the direction are spelt out.

    >>> print(harmless("a seller" + chr(27) + "[2J"))
    a seller\x1b[2J
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
