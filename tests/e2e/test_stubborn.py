"""A tick whose handlers will not end says what it did and is gone all the same: cron must not pile up processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import stubborn
from tests.e2e.fleet import REPOSITORY


@pytest.mark.parametrize("job", ["never", "swallows"])
async def test_a_tick_with_a_handler_that_will_not_end_prints_its_summary_and_goes(job: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rota.db'}"
    stubborn.rota.use(url)
    async with stubborn.rota:
        await (stubborn.never if job == "never" else stubborn.swallows).enqueue()
    found = ticked(job, url)
    assert found.returncode == 1, found.stderr
    summary = json.loads(found.stdout)
    assert (summary["due"], summary["dead"]) == (1, 1)


def ticked(job: str, url: str) -> subprocess.CompletedProcess[str]:
    words = [
        sys.executable,
        "-m",
        "rota",
        "--app",
        "tests.e2e.stubborn:rota",
        "--db",
        url,
        "tick",
        "--job",
        job,
        "--json",
    ]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=40, check=False)
