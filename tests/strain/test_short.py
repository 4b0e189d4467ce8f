"""The parts of the strain that belong to every change: query plans on a hundred thousand turns, locks and claims.

`python -m tests.strain` plays all scenarios, at their full size.

Always true: a failure names the statement, the deadlock or the run; seeds are fixed.

Not here: outages, snapshots, poolers, files and backups, which take minutes.
"""

from collections.abc import Iterator

import pytest

from tests.servers import PostgresServer
from tests.strain import claims, overlap, plans, sharing
from tests.strain.report import Report
from tests.strain.stage import Stage


@pytest.fixture(scope="module")
def stage(postgres: PostgresServer) -> Iterator[Stage]:
    """A stage on the server of all tests."""
    with Stage("short") as stage:
        stage.shared = postgres
        yield stage


def _holds(report: Report) -> None:
    print(report)
    assert not report.wrong, "\n".join([str(report), *report.wrong])


def test_the_hot_statements_read_little_however_much_has_grown_and_whatever_the_statistics_say(stage):
    """P-1."""
    _holds(plans.run(stage))


def test_workers_that_write_overlapping_rows_in_random_order_never_deadlock(stage):
    """P-5."""
    _holds(overlap.run(stage))


def test_workers_that_share_limits_batches_and_keys_never_deadlock(stage):
    """P-5."""
    _holds(sharing.run(stage))


def test_thirty_two_connections_never_claim_too_much_or_twice_or_beyond_a_cap(stage):
    """P-6."""
    _holds(claims.run(stage))
