"""Workers as real processes: draining, hurrying, and a parent that keeps its children alive."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

SLOW = """
import asyncio, os, pathlib
from rota import Member, Rota, every

rota = Rota("sqlite:///slow.db", name="slow")
cities = rota.roster("cities", source=lambda: (f"c{i}" for i in range(4)))


@rota.job(each=cities, schedule=every("24h"), first_run="now")
async def fetch(city: Member) -> None:
    pathlib.Path(f"began.{city.key}.{os.getpid()}").touch()
    while not pathlib.Path("go").exists():
        await asyncio.sleep(0.02)
"""
PATIENCE_S = 20  # two busy cores: normally well under two seconds


@pytest.fixture
def slow(empty):
    (empty / "app.py").write_text(SLOW)
    return empty


def until(what):
    """Wait for something that other processes do."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def environment():
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ROTA_")}
    return {**inherited, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@contextmanager
def running(folder, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "rota.cli", *arguments], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def began(folder):
    """Which city was begun by which process."""
    return {(city, int(pid)) for _, city, pid in (path.name.split(".") for path in folder.glob("began.*"))}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_sigterm_drains_and_exits_0(slow):
    with running(slow, "worker", "--concurrency", "2") as worker:
        until(lambda: len(began(slow)) == 2)
        worker.send_signal(signal.SIGTERM)
        (slow / "go").touch()
        assert worker.wait(PATIENCE_S) == 0
    assert len(began(slow)) == 2, "nothing more was started"


def test_a_second_signal_hurries_and_gives_back_what_runs(slow, rota):
    with running(slow, "up") as worker:
        until(lambda: len(began(slow)) == 4)
        worker.send_signal(signal.SIGTERM)
        until(lambda: worker.poll() is not None or worker.send_signal(signal.SIGTERM))
        assert worker.returncode == 143
    outcomes = [one["outcome"] for one in rota("runs", "ls", "--json").json["items"]]
    assert outcomes == ["released"] * 4


def test_ctrl_c_drains_and_exits_130(slow):
    with running(slow, "worker") as worker:
        until(lambda: len(began(slow)) == 4)
        (slow / "go").touch()
        worker.send_signal(signal.SIGINT)
        assert worker.wait(PATIENCE_S) == 130


def test_a_dead_child_is_replaced_and_what_it_held_runs_elsewhere(slow, rota):
    with running(slow, "worker", "-p", "2", "--concurrency", "2", "--lease", "60s") as parent:
        until(lambda: len(began(slow)) == 4)
        victim = dict(began(slow))["c0"]
        mine = {city for city, pid in began(slow) if pid == victim}
        os.kill(victim, signal.SIGKILL)
        until(lambda: mine <= {city for city, pid in began(slow) if pid != victim})
        (slow / "go").touch()
        until(lambda: rota("status", "--json").json["rosters"][0]["fresh"] == 4)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(PATIENCE_S) == 0
    lost = [one for one in rota("runs", "ls", "--json").json["items"] if one["outcome"] == "lost"]
    assert len(lost) == len(mine)


def test_children_drain_when_their_parent_is_killed(slow):
    with running(slow, "worker", "-p", "2", "--concurrency", "2") as parent:
        until(lambda: len(began(slow)) == 4)
        children = {pid for _, pid in began(slow)}
        parent.kill()
        (slow / "go").touch()
        until(lambda: not any(alive(pid) for pid in children))


def test_children_that_cannot_start_end_the_parent(slow):
    with running(slow, "worker", "-p", "2", "--queues", "nothing") as parent:
        assert parent.wait(PATIENCE_S) == 2
        assert "no job uses the queue 'nothing'" in parent.stderr.read()


def test_the_first_ctrl_c_ends_a_tick_in_order(slow, rota):
    with running(slow, "tick", "--concurrency", "1", "--json") as tick:
        until(lambda: len(began(slow)) == 1)
        tick.send_signal(signal.SIGINT)
        (slow / "go").touch()
        assert tick.wait(PATIENCE_S) == 130
    assert len(rota("runs", "ls", "--json").json["items"]) == 1


def on_a_terminal(folder, *arguments, **extra):
    """What a command prints on a terminal of 80 columns, and its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "rota.cli", *arguments],
        cwd=folder,
        env={**environment(), "TERM": "xterm", "COLUMNS": "80", **extra},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    text = b""
    try:
        while block := os.read(ours, 65536):
            text += block
    except OSError:
        pass  # the other end of a terminal closes with an error
    os.close(ours)
    return process.wait(PATIENCE_S), text.decode()


def test_on_a_terminal_a_tick_has_a_bar_for_each_job_and_colour_unless_refused(folder):
    code, text = on_a_terminal(folder, "tick")
    assert code == 1
    assert "refresh" in text
    assert "6/6" in text
    code, text = on_a_terminal(folder, "status")
    assert code == 0
    assert "\x1b[31m⬣" in text
    code, text = on_a_terminal(folder, "status", NO_COLOR="1")
    assert "\x1b[31m" not in text


def test_json_on_a_terminal_is_the_object_alone(folder):
    code, text = on_a_terminal(folder, "tick", "--json")
    assert code == 1
    assert json.loads(text[text.index("{") :])["succeeded"] == 4


def test_without_a_terminal_nothing_that_draws_is_imported(folder):
    script = "import sys; from rota.cli import main; main(['tick']); print('rich' in sys.modules)"
    told = subprocess.check_output([sys.executable, "-c", script], cwd=folder, env=environment(), text=True)
    assert told.splitlines()[-1] == "False"
