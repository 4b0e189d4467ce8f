"""`python -m tests.strain [P-1 …] [--short | --long]`: play scenarios, print each, keep one JSON file of each.

Always true: the exit code is 1 when something did not hold; a scenario that breaks is reported like one that fails.

Not here: the scenarios, a module for each.
"""

import argparse
import importlib
import sys
import time
import traceback

from tests.strain.report import FOLDER, Report, table
from tests.strain.stage import Stage

SCENARIOS = {
    "P-1": "plans",
    "P-2": "snapshot",
    "P-3": "bells",
    "P-4": "pooler",
    "P-5": "overlap",
    "P-5b": "sharing",
    "P-6": "claims",
    "P-7": "outage",
    "P-8": "file",
    "P-10": "backup",
}


def play(name: str, stage: Stage) -> Report:
    """Play one scenario, and keep what it found."""
    began_s = time.monotonic()
    try:
        report: Report = importlib.import_module(f"tests.strain.{SCENARIOS[name]}").run(stage)
    except Exception as error:  # noqa: BLE001 -- the others are played all the same
        traceback.print_exc()
        report = Report(scenario=name, title=SCENARIOS[name], store="-", form=stage.size)
        report.wrong.append(f"it broke: {error!r}")
    report.seconds = time.monotonic() - began_s
    report.save()
    return report


def main() -> int:
    """Play what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.strain", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="P-n", help=f"of {', '.join(SCENARIOS)}; all without")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_const", const="short", dest="size", help="as in CI")
    form.add_argument("--long", action="store_const", const="long", dest="size", help="as before a release")
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    reports: list[Report] = []
    with Stage(options.size or "plain") as stage:
        for name in options.scenarios or SCENARIOS:
            reports.append(play(name, stage))
            print(reports[-1], flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "strain.md").write_text(table(reports) + "\n")
    return int(any(report.wrong for report in reports))


if __name__ == "__main__":
    sys.exit(main())
