"""Handlers that will not end: a thread that waits for ever, and a coroutine that swallows its cancellation."""

import asyncio
import threading

from rota import Retry, Rota

rota = Rota(name="stubborn")


@rota.job(timeout="200ms", retry=Retry(tries=1))
def never() -> None:
    threading.Event().wait()


@rota.job(timeout="200ms", retry=Retry(tries=1))
async def swallows() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
