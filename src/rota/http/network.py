"""The wire under the client: one pool of connections and, in the cage, connections to public addresses only.

Always true: in the cage a name is resolved once for each connection, every address it resolves to is checked, and the
socket is opened to one of those very addresses, never to the name. A name that changes its mind in between changes
nothing. `Host` and the name in TLS stay those of the URL. No proxy is used, nothing is read from the environment.

Not here: what is public (address.py), what a fault means (verdict.py).
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from functools import cache
from typing import Final

import httpcore2
import httpx2

from rota.http.address import check_address, is_address

MOST_CONNECTIONS: Final = 100  # of one client in one process: three times the default concurrency of a worker
MOST_IDLE: Final = 20  # connections kept open for the next request
IDLE_S: Final = 5.0  # seconds; servers commonly close after five or more, and we want to be first
MOST_ADDRESSES: Final = 4  # tried in turn, each with its part of the time


class Network:
    """How names are resolved and connections opened in the cage; a test brings its own.

    >>> class Offline(Network):
    ...     async def resolve(self, host: str, port: int) -> list[str]:
    ...         return ["93.184.216.34"]
    """

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name; `OSError` where it has none."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    async def connect(self, address: str, port: int, within_s: float | None) -> httpcore2.AsyncNetworkStream:
        """A connection to an address, which is never a name."""
        return await httpcore2.AnyIOBackend().connect_tcp(address, port, timeout=within_s)


@cache
def default_context() -> ssl.SSLContext:
    """Trust whom the system trusts; read once, since loading hundreds of certificates takes its time."""
    return httpx2.create_ssl_context(trust_env=False)


class Cage(httpcore2.AsyncNetworkBackend):
    """Opens connections to public addresses only."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - the form of every backend
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 - same
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check all, connect to the first that answers; `Refused` if one of them is not public."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._public(host, port)
                return await self._first(addresses, port, timeout)
        except TimeoutError:
            raise httpcore2.ConnectTimeout from None
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError from None

    async def _public(self, host: str, port: int) -> list[str]:
        """A name with one address inside is refused as a whole: no honest name has both."""
        found = [host] if is_address(host) else await self._network.resolve(host, port)
        addresses = [str(check_address(address)) for address in found]
        if not addresses:
            raise httpcore2.ConnectError
        return addresses[:MOST_ADDRESSES]

    async def _first(self, addresses: list[str], port: int, within_s: float | None) -> httpcore2.AsyncNetworkStream:
        share_s = None if within_s is None else within_s / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._network.connect(address, port, share_s)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout, OSError):
                continue
        return await self._network.connect(addresses[-1], port, share_s)


class _Body(httpx2.AsyncByteStream):
    """The bytes of a body as they come from the wire."""

    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        """Give the connection back."""
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


class Wire(httpx2.AsyncBaseTransport):
    """A pool of connections over which httpx2 speaks."""

    def __init__(self, context: ssl.SSLContext, backend: httpcore2.AsyncNetworkBackend | None) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=MOST_IDLE,
            keepalive_expiry=IDLE_S,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request, one answer; faults are those of httpcore2."""
        url = request.url
        asked = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        came = await self._pool.handle_async_request(asked)
        if not isinstance(came.stream, AsyncIterable):  # pool and request are asynchronous, so the answer is
            raise httpcore2.ReadError
        return httpx2.Response(
            status_code=came.status, headers=came.headers, stream=_Body(came.stream), extensions=came.extensions
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
