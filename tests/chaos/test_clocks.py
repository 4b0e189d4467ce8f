"""A stepped clock is seen at once by those who were given it, and only their wall clock is wrong."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.clocks import DAY_S, HOUR_S, TEN_YEARS_S, SteppingClock, SteppingPostgres, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "there")

NEAR_S = 5.0  # between two looks at two clocks, on a busy machine
ASKED = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


def test_a_running_process_sees_each_step_at_its_next_question_and_its_monotonic_clock_stays(tmp_path: Path):
    clock = SteppingClock(tmp_path)
    command = [sys.executable, "-c", ASKED]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=clock.joined(), **pipes) as process:
        for offset_s in (0, HOUR_S, -2 * HOUR_S, -DAY_S, TEN_YEARS_S):
            clock.step_to(offset_s)
            process.stdin.write("\n")
            process.stdin.flush()
            wall_s, monotonic_s = (float(word) for word in process.stdout.readline().split())
            assert abs(wall_s - clock.now_ms() / 1000) < NEAR_S
            assert abs(monotonic_s - time.monotonic()) < NEAR_S
        process.stdin.close()


def test_a_postgres_tells_the_stepped_time_and_goes_on_working():
    server = SteppingPostgres()
    try:
        server.start()
        for offset_s in (0, 2 * HOUR_S, -2 * HOUR_S, TEN_YEARS_S, 0):
            server.clock.step_to(offset_s)
            told_s = float(server.psql("SELECT extract(epoch FROM clock_timestamp())"))
            assert abs(told_s - server.clock.now_ms() / 1000) < NEAR_S
        assert server.psql("SELECT count(*) FROM pg_sleep(0.05)") == "1"
    finally:
        server.close()
