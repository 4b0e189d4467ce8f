"""The bell between processes that share a SQLite file: a datagram on a Unix socket, a hint and nothing more.

Each process binds a socket in a folder named after the file; ringing sends one empty datagram to each of
the others. Measured in `docs/adr`: half a millisecond, where polling `data_version` every 5 ms gives three.

Always true: losing every datagram costs only the poll interval; a socket nobody answers is removed.

Not here: deciding when to ring (sqlite.py rings after a commit, at most every 20 ms).
"""

import asyncio
import contextlib
import hashlib
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path


class Bell:
    """One process's socket among those of a file."""

    def __init__(self, file: Path, token: str) -> None:
        digest = hashlib.sha256(str(file).encode()).hexdigest()[:16]
        self._folder = Path(tempfile.gettempdir()) / f"rota-{digest}"
        self._own = self._folder / token
        self._socket: socket.socket | None = None
        self._sender: socket.socket | None = None

    def listen(self, heard: Callable[[], None]) -> None:
        """Bind the socket and call `heard` in the running loop at every ring."""
        if not hasattr(socket, "AF_UNIX") or self._socket is not None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            bell.settimeout(0)
            bell.bind(str(self._own))
            self._socket = bell
            asyncio.get_running_loop().add_reader(bell, self._answer, heard)

    def _answer(self, heard: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            while self._socket is not None:
                self._socket.recv(16)
        heard()

    def ring(self) -> None:
        """Send a datagram to every other process of the file."""
        if not hasattr(socket, "AF_UNIX") or not self._folder.is_dir():
            return
        if self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sender.settimeout(0)
        for other in self._folder.iterdir():
            if other == self._own:
                continue
            try:
                self._sender.sendto(b"", str(other))
            except BlockingIOError:
                pass  # its queue is full: it has been rung already
            except OSError:
                other.unlink(missing_ok=True)  # nobody is there any more

    def close(self) -> None:
        """Take the socket away."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        if self._socket is None:
            return
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        with contextlib.suppress(OSError):
            self._own.unlink(missing_ok=True)
            self._folder.rmdir()
