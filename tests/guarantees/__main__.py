"""`python -m tests.guarantees [--write docs/guarantees.md]`: print or write the page of guarantees."""

import sys
from pathlib import Path

from tests.guarantees.page import page


def main() -> None:
    text = page()
    if "--write" in sys.argv:
        Path(sys.argv[sys.argv.index("--write") + 1]).write_text(text, encoding="utf-8")
    else:
        print(text)


main()
