"""A plugin for pytest: `python -m pytest -p tests.bugs.plugin --bug 14 …` runs tests with one deliberate bug.

Always true: the bug is there before the first conftest is read; the last line printed tells how many tests ran, which
failed, and which never came to run, as JSON.

Not here: which bugs there are (table), what a failure means (`python -m tests.bugs`).
"""

import json

import pytest

from tests.bugs.edits import install
from tests.bugs.table import BUGS

MARK = "bugs: "  # begins the line that the runner reads


class _Count:
    """What ran and what came of it."""

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.failed: list[str] = []
        self.broken: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.ran.add(report.nodeid)
        if report.failed:
            (self.failed if report.when == "call" else self.broken).append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(report.nodeid)

    def pytest_unconfigure(self) -> None:
        found = {"ran": len(self.ran), "failed": self.failed, "broken": self.broken}
        print(f"\n{MARK}{json.dumps(found)}", flush=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bug", type=int, default=0, help="the number of a deliberate bug; 0: none")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    number = early_config.known_args_namespace.bug
    if number:
        install(BUGS[number].edits, number)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Count())
