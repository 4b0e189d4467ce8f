"""The command line of every contender's own script: `fill N` takes jobs in, `left` tells what the system still lists.

Always true: only the standard library; one object of JSON on one line.

Not here: any contender.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping

VARIANT = os.environ.get("SIDE_VARIANT", "")
STORE = os.environ.get("SIDE_STORE", "")


def answer(fill: Callable[[int], None], left: Callable[[], Mapping[str, Iterable[int]]]) -> None:
    """Do what the command line asks for."""
    if sys.argv[1] == "fill":
        number = int(sys.argv[2])
        fill(number)
        print(json.dumps({"acknowledged": list(range(number))}))
    else:
        print(json.dumps({name: sorted(numbers) for name, numbers in left().items()}))
