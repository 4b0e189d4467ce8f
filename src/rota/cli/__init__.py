"""The command line: `rota …`; each command lives in a module that is imported when it is called."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of the process; its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["-V"], ["--version"]):
        from rota.version import VERSION

        print(f"rota {VERSION}")  # noqa: T201 -- before click is imported: scripts ask this often
        return 0
    from rota.cli.root import run

    return run(given)
