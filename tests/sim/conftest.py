"""The option of the simulation: how many worlds a run lives."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--worlds", type=int, default=None, help="how many worlds the simulation lives, from seed 0 on")
