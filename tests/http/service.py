"""A service for clients to talk to: a real server that answers as it is told, and a wire that breaks as it is told.

Always true: both listen on loopback ports of their own; the server remembers what it was asked.

Not here: name service and sockets of the cage (test_cage).
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

START_SECONDS = 10  # two busy cores
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as the service saw it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Request], Response]


@dataclass
class Service:
    """A server in a thread: it answers every path with `{}` until a test says otherwise."""

    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=METHODS)])
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=[self._socket]), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.started and time.monotonic() < until:
            time.sleep(0.01)
        assert self._server.started

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(START_SECONDS)

    def forget(self) -> None:
        self.answers.clear()
        self.seen.clear()

    def answer(self, path: str, answer: Response | Answer) -> None:
        """Answer this path so from now on."""
        self.answers[path] = (lambda _request: answer) if isinstance(answer, Response) else answer

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        headers = dict(request.headers)
        body = await request.body()
        self.seen.append(Seen(method=request.method, path=path, query=request.url.query, headers=headers, body=body))
        answer = self.answers.get(path)
        return JSONResponse({}) if answer is None else answer(request)


@contextlib.asynccontextmanager
async def broken(*said: bytes, hang: bool = False, again: bytes = b"") -> AsyncIterator[str]:
    """A server that reads a request, says these bytes, and closes; or hangs; or says the last ones for ever."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for part in said:
                writer.write(part)
                await writer.drain()
            while again and not done.is_set():
                writer.write(again)
                await writer.drain()
            if hang:
                await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        done.set()
        server.close()
        await server.wait_closed()
