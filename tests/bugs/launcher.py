"""`python -m tests.bugs.launcher 14 rota worker …`: run a module as a program, with one deliberate bug in it.

Always true: the bug is there before the first line of the program.

Not here: which bugs there are (table).
"""

import runpy
import sys

from tests.bugs.edits import install
from tests.bugs.table import BUGS


def main() -> None:
    """Put the bug in and become the program."""
    number = int(sys.argv[1])
    install(BUGS[number].edits, number)
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
