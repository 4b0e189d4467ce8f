"""One request on its way: each hop checked, charged, sent, read within limits and logged.

Always true: a hop is sent only after `check_url` and `charge`; headers that may hold credentials leave with the first
origin and never come back; a body is counted as it is decompressed, and reading stops at the limit; nothing is tried
twice in here (two layers of retries multiply).

Not here: options and their meaning (client.py), what an answer means (verdict.py).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urljoin

import httpx2

from rota.clock import Clock
from rota.define.outcome import Fail
from rota.define.run import Run
from rota.define.units import instant
from rota.http import quiet
from rota.http.address import check_url
from rota.http.answer import Response
from rota.http.headers import http_date, retry_after
from rota.http.verdict import FAULTS, MOST_ERROR_BYTES, Asked, of_status

ERROR_BODY_S: Final = 5.0  # seconds for the body of a refusal, whose status we know already: a guess
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
HARMLESS: Final = frozenset({"accept", "accept-encoding", "accept-language", "user-agent"})  # may go to any origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far a request may go."""

    expect: frozenset[int]
    redirects: int
    most_body: int
    longest_wait: timedelta
    caged: bool


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and the hops it takes."""

    asked: Asked
    bounds: Bounds
    client: httpx2.AsyncClient
    clock: Clock
    run: Run | None
    template: str | None
    charge: Callable[[], Awaitable[None]]
    heard: Callable[[httpx2.Headers], Awaitable[None]]
    sent: bool = field(default=False, init=False)  # whether the service may have seen it

    async def go(self, method: str, url: httpx2.URL, headers: Mapping[str, str], content: dict[str, Any]) -> Response:
        """Follow the request to its answer; raises an outcome or one of `FAULTS`."""
        left = self.bounds.redirects
        while True:
            check_url(url, caged=self.bounds.caged)
            await self.charge()
            request = self.client.build_request(method, url, headers=headers, **content)
            request.extensions["trace"] = self._trace
            came = await self._hop(request)
            if isinstance(came, Response):
                return came
            if left == 0:
                raise Fail(f"{self.asked.label} was redirected too often, or is not allowed to be (redirects=)")
            left -= 1
            before, url = url, came
            content = {}
            if origin(before) != origin(url):
                headers = {name: value for name, value in headers.items() if name.lower() in HARMLESS}

    async def _hop(self, request: httpx2.Request) -> Response | httpx2.URL:
        """Send one request: the answer, or where it is to be found; logged however it ends."""
        began_s = self.clock.monotonic()
        told: int | str = "called-off"
        try:
            with quiet.silence():
                stream = await self.client.send(request, stream=True)
                told = stream.status_code
                try:
                    return await self._answer(request, stream)
                finally:
                    await stream.aclose()
        except FAULTS as fault:
            told = type(fault).__name__
            raise
        finally:
            took_ms = int((self.clock.monotonic() - began_s) * 1000)
            path = quiet.path_of(request.url, self.template, caged=self.bounds.caged)
            quiet.tell(request, path, told, took_ms, self.run.attempt if self.run else None)

    async def _trace(self, event: str, _info: object) -> None:
        """The wire tells what it is about to do."""
        if event.endswith("send_request_headers.started"):
            self.sent = True

    async def _answer(self, request: httpx2.Request, stream: httpx2.Response) -> Response | httpx2.URL:
        await self.heard(stream.headers)
        status = stream.status_code
        if stream.is_success or status in self.bounds.expect:
            return Response(
                status=status,
                headers={name.lower(): value for name, value in stream.headers.items()},
                body=await self._body(request, stream),
                url=str(request.url),
                asked=self.asked,
            )
        if status in REDIRECTS and request.method in {"GET", "HEAD"} and "location" in stream.headers:
            return target(request.url, stream.headers["location"])
        body = await self._error_body(stream)
        now = http_date(stream.headers.get("date")) or instant(self.clock.now_ms())
        after = retry_after(stream.headers.get("retry-after"), now, most=self.bounds.longest_wait)
        raise of_status(self.asked, status, after, body)

    async def _body(self, request: httpx2.Request, stream: httpx2.Response) -> bytes:
        """The decompressed body; `Fail` as soon as it is known to be larger than allowed."""
        most = self.bounds.most_body
        said = stream.headers.get("content-length", "0")
        parts, size = [], int(said) if said.isdecimal() and request.method != "HEAD" else 0
        if size <= most:
            size = 0
            async with contextlib.aclosing(stream.aiter_bytes()) as incoming:
                async for part in incoming:
                    parts.append(part)
                    size += len(part)
                    if size > most:
                        break
        if size > most:
            raise Fail(f"{self.asked.label} answered with a body of more than {most:,} bytes (max_body=)")
        return b"".join(parts)

    async def _error_body(self, stream: httpx2.Response) -> bytes:
        """As much of a refusal as is needed for its error word; its status counts, whatever the body does."""
        body = b""
        try:
            async with asyncio.timeout(ERROR_BODY_S), contextlib.aclosing(stream.aiter_bytes()) as incoming:
                async for part in incoming:
                    body += part
                    if len(body) > MOST_ERROR_BYTES:
                        return b""
        except FAULTS:
            return b""
        return body


def origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    """What credentials belong to: scheme, host and port."""
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port


def target(base: httpx2.URL, location: str) -> httpx2.URL:
    """Where a redirect leads, without the part that servers do not see."""
    try:
        return httpx2.URL(urljoin(str(base), location)).copy_with(fragment=None)
    except ValueError as error:
        raise httpx2.InvalidURL(str(error)) from None
