"""The read API and the worker in one process.

Always true: SIGTERM and SIGINT end both in order: no new requests and no new cities, what runs is finished or given
back; if the worker dies the process ends with its error.

Not here: the pages (api), several processes (start `rota worker` beside a `serve` with SCHED_ENABLED=false).
"""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from apps.panchangam.api import make_api
from apps.panchangam.app import Panchangam
from apps.panchangam.shelf import Shelf

_log = logging.getLogger("panchangam")


class _Server(uvicorn.Server):
    """A server that leaves signals to us: the worker must hear of them too."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def serve(app: Panchangam, host: str, port: int) -> None:
    """Serve until a signal comes or the worker fails."""
    async with app.rota:
        shelf = Shelf(app.rota.cache)
        server = _Server(uvicorn.Config(make_api(app, shelf), host=host, port=port, log_config=None, lifespan="off"))
        _end_on_signals(server)
        async with asyncio.TaskGroup() as tasks:
            worker = tasks.create_task(_work(app, server), name="panchangam-worker")
            await server.serve()
            worker.cancel()
        await shelf.settle()


async def _work(app: Panchangam, server: _Server) -> None:
    if not app.settings.sched_enabled:
        _log.info("SCHED_ENABLED is false: only the read API is served")
        return
    try:
        await app.rota.work()
    finally:
        server.should_exit = True


def _end_on_signals(server: _Server) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
