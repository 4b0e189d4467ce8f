"""`python -m tests.bugs.worlds 0 50`: live worlds of the simulation, seeds 0 to 49, until one sees something false.

Always true: the last line printed tells how many worlds were lived and what was seen, as JSON.

Not here: the worlds (tests/sim), the bugs (table).
"""

import json
import sys

from tests.bugs.plugin import MARK
from tests.sim.world import live


def main() -> int:
    """Live the worlds of some seeds; 1 when one complained."""
    first, end = int(sys.argv[1]), int(sys.argv[2])
    for seed in range(first, end):
        violation = live(seed).violation
        failed = [] if violation is None else [f"world {seed}: {violation}"]
        print(f"{MARK}{json.dumps({'ran': seed + 1, 'failed': failed, 'broken': []})}", flush=True)
        if failed:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
