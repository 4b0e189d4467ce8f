"""`Client`: an HTTP client for handlers, for one service each, that spends limits and speaks in outcomes.

Always true: what leaves a request is a whole `Response` or an outcome; it is sent at most once for each hop; options
are checked when the client is made.

Not here: a way for plain functions; in a plain `def` handler `rota.wait(client.get(…))` runs it in the worker's loop.
"""

import asyncio
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self, Unpack

import httpx2

from rota.clock import Clock
from rota.define.outcome import Fail, Outcome
from rota.define.policy import Limit, check_template, filled_template
from rota.define.run import Run, current
from rota.errors import BadInput, ConfigError, RotaError
from rota.http import options as told
from rota.http import quiet
from rota.http.answer import Response
from rota.http.exchange import HARMLESS, Bounds, Exchange, origin
from rota.http.headers import calls_per_second
from rota.http.network import Cage, Network, Wire, default_context
from rota.http.options import MOST_BODY, Credentials, Duration, Options
from rota.http.verdict import FAULTS, Asked, of_fault


@dataclass(kw_only=True, eq=False, repr=False)
class Client:
    """An HTTP client for one service; make one for each service and process, and share it between handlers.

    Whatever is no success is an outcome that a handler need not look at:

    - 429 is `RateLimited`; with the wording of a used-up quota, or 402, `PauseJob` unless it says when to come again
    - 401 and 403 are `PauseJob` (`credentials="app"`: the key is the application's), `Hold` (`"user"`: a person's
      consent) or `Fail` (`"none"`, the default of a caged client); 403 with `Retry-After` or a rate's wording is a 429
    - 408, 425, 5xx but 501 and 505, no connection, no answer, an unreadable body are `Retryable`
    - every other status is `Fail`; so is a redirect beyond `redirects`, a body beyond `max_body`, a URL that is refused
    - where a POST or PATCH without `Idempotency-Key` may have been executed: `Ambiguous`; `idempotent=True` says that a
      request may be repeated all the same (an LLM's answer, a search)

    `expect=` names further statuses that are returned as they are: `expect={304, 404}`. `Retry-After` is kept up to
    `longest_wait`. Nothing is tried again in here: the job's `Retry` does that.

    `limit` is spent by one for each request of a run; its first is paid by the claim if the job declares it.
    `rate_header` names a header that tells the number of calls in a second; the limit follows it. `scope` is what cools
    after a 429: text or a template, by default the limit's name, else (and in a cage) the host. Holes of a template are
    filled from `values=` of the request, else as those of a limit are, from the run.

    `headers` go to the origin of `base_url` only (without one, wherever a request goes), and never along to another
    origin. `product` ("shop/1.4") and `contact` make the `User-Agent`. Cookies are not kept, proxies not used.
    `connect`, `read` and `pool` are durations for the parts, `deadline` is for the whole (two reads unless given).

    `caged=True` is for addresses that users give: only public addresses are connected to, checked on the address itself
    at every hop; logs name the host alone. A NAT64 prefix of your own network cannot be known here. `network` replaces
    name service and sockets of the cage in tests.

    Handlers that are plain functions call `rota.wait(client.get(…))`. Each request is one line in the log `rota.http`.
    Wrong options are a `ConfigError`.

    >>> from rota import Limit
    >>> amazon = Client(base_url="https://api.example.com", limit=Limit("amazon:{region}", "20/s"), product="shop/1.4")
    >>> async def orders() -> list[str]:
    ...     answer = await amazon.get("/orders", params={"page": 2}, values={"region": "eu"})
    ...     return answer.json()["orders"]
    >>> feeds = Client(caged=True, redirects=5, product="reader/2", contact="ops@example.com")
    """

    base_url: str = ""
    limit: Limit | None = None
    scope: str | None = None
    credentials: Credentials | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    product: str | None = None
    contact: str | None = None
    expect: Collection[int] = ()
    connect: Duration = "5s"
    read: Duration = "30s"
    pool: Duration = "5s"
    deadline: Duration | None = None
    longest_wait: Duration = "15m"
    max_body: int = MOST_BODY
    redirects: int = 0
    rate_header: str | None = None
    caged: bool = False
    verify: ssl.SSLContext | None = None
    network: Network = field(default_factory=Network)
    _home: httpx2.URL | None = field(init=False)
    _bounds: Bounds = field(init=False)
    _timeout: httpx2.Timeout = field(init=False)
    _deadline_s: float = field(init=False)
    _agent: str = field(init=False)
    _clock: Clock = field(init=False, default_factory=Clock)
    _open: httpx2.AsyncClient | None = field(init=False, default=None)
    _loop: asyncio.AbstractEventLoop | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        read_s = told.seconds(self.read, "read")
        self._timeout = httpx2.Timeout(
            connect=told.seconds(self.connect, "connect"),
            read=read_s,
            write=read_s,
            pool=told.seconds(self.pool, "pool"),
        )
        self._deadline_s = 2 * read_s if self.deadline is None else told.seconds(self.deadline, "deadline")
        self._home = told.home_of(self.base_url, caged=self.caged)
        self._agent = told.user_agent(self.product, self.contact)
        self.credentials = told.checked_credentials(self.credentials or ("none" if self.caged else "app"))
        if self.scope is not None:
            check_template(self.scope, what="scope= of Client")
        if self.rate_header is not None and self.limit is None:
            raise ConfigError("rate_header= of Client is what limit= follows, but there is none: give limit=, too")
        self._bounds = Bounds(
            expect=told.checked_statuses(self.expect),
            redirects=told.whole(self.redirects, "redirects", least=0, most=told.MOST_REDIRECTS),
            most_body=told.whole(self.max_body, "max_body", least=1, most=told.MOST_OF_ANY_BODY),
            longest_wait=timedelta(seconds=told.seconds(self.longest_wait, "longest_wait")),
            caged=self.caged,
        )

    def __repr__(self) -> str:
        return f"<Client of {self._home.host if self._home else 'any host'}{', caged' if self.caged else ''}>"

    async def __aenter__(self) -> Self:
        self._opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; a later request opens new ones.

        >>> import asyncio
        >>> asyncio.run(Client().close())
        """
        opened, self._open = self._open, None
        if opened is not None:
            with quiet.silence():
                await opened.aclose()

    async def get(self, url: str, **options: Unpack[Options]) -> Response:
        """Ask for `url`, relative to `base_url` or whole; `request` tells the options and what is raised.

        >>> async def pages(client: Client) -> str:
        ...     return (await client.get("https://example.com/news", path_template="/news")).text
        """
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Unpack[Options]) -> Response:
        """Send something to `url`; `request` tells the options and what is raised.

        >>> from rota import Run
        >>> async def charge(client: Client, run: Run) -> None:
        ...     await client.post("/charges", json={"cents": 250}, headers={"Idempotency-Key": run.idempotency_key})
        """
        return await self.request("POST", url, **options)

    async def request(self, method: str, url: str, **options: Unpack[Options]) -> Response:
        """Send one request and give its whole answer; raises an outcome for anything else.

        `params`, `headers`, and one of `json`, `data` (a form) and `content` (bytes) are what is sent. `expect` adds to
        the client's. `path_template` ("/orders/{id}") stands for the path in logs and outcomes. `idempotent` says
        whether the request may be repeated, `ref` names it in an `Ambiguous`. `scope`, `values` and `credentials` are
        those of the client, for this request. A URL that cannot be read, or is refused, is `Fail`.

        >>> async def find(client: Client, order: str) -> bool:
        ...     answer = await client.request("HEAD", f"/orders/{order}", expect={404}, path_template="/orders/{id}")
        ...     return answer.status == 200
        """
        told.known(options)
        method, run = method.upper(), current()
        target = self._target(url)
        if target is None:
            raise Fail(f"{method}: the URL cannot be read")
        exchange = self._exchange(method, target, run, options)
        headers = self._headers(target, options.get("headers", {}))
        outcome: Outcome
        try:
            async with asyncio.timeout(self._deadline_s):
                return await exchange.go(method, target, headers, told.content_of(options))
        except FAULTS as fault:
            outcome = of_fault(exchange.asked, fault, sent=exchange.sent)
        except asyncio.CancelledError as called_off:
            if exchange.asked.repeatable or not exchange.sent:
                raise
            # A drain or a time limit must not let it be repeated blindly: this word goes up in place of the call-off.
            outcome = of_fault(exchange.asked, called_off, sent=True)
        raise outcome  # out here, so that no traceback leads back to a fault that names the URL

    def _target(self, url: str) -> httpx2.URL | None:
        """The whole URL; None where it cannot be read."""
        try:
            given = httpx2.URL(url)
            if self._home is None or given.scheme or given.host:
                return given
            return self._home.copy_with(raw_path=self._home.raw_path.rstrip(b"/") + b"/" + given.raw_path.lstrip(b"/"))
        except (httpx2.InvalidURL, ValueError, TypeError):
            return None

    def _headers(self, target: httpx2.URL, given: Mapping[str, str]) -> dict[str, str]:
        """The client's own headers, whole for its own origin only, and those of the request."""
        ours = dict(self.headers)
        if self._home is not None and origin(self._home) != origin(target):
            ours = {name: value for name, value in ours.items() if name.lower() in HARMLESS}
        return {**ours, **given}

    def _exchange(self, method: str, target: httpx2.URL, run: Run | None, options: Options) -> Exchange:
        template = options.get("path_template")
        values = {"member": run.member if run else None, **options.get("values", {})}
        label = f"{method} {quiet.host_of(target)}{quiet.path_of(target, template, caged=self.caged)}"
        asked = Asked(
            label=label,
            ref=options.get("ref", label),
            scope=self._scope(target, options.get("scope"), values),
            repeatable=told.may_be_repeated(method, options),
            credentials=told.checked_credentials(options.get("credentials", self.credentials), error=BadInput),
        )
        more = told.checked_statuses(options.get("expect", ()), error=BadInput)
        return Exchange(
            asked=asked,
            bounds=replace(self._bounds, expect=self._bounds.expect | more) if more else self._bounds,
            client=self._opened(),
            clock=self._clock,
            run=run,
            template=template,
            charge=lambda: self._charge(run),
            heard=lambda headers: self._follow_rate(run, headers),
        )

    def _scope(self, target: httpx2.URL, given: str | None, values: Mapping[str, object]) -> str:
        """What cools after a 429: never all the world's feeds because of one."""
        template = given or self.scope or (self.limit.name if self.limit and not self.caged else None)
        return target.host if template is None else filled_template(template, values) or template

    async def _charge(self, run: Run | None) -> None:
        if run is not None and self.limit is not None:
            await run.charge(self.limit)

    async def _follow_rate(self, run: Run | None, headers: httpx2.Headers) -> None:
        """Give the limit the rate that the service tells; the run knows whether it is another than before."""
        if run is None or self.limit is None or self.rate_header is None:
            return
        rate = calls_per_second(headers.get(self.rate_header))
        if rate is None:
            return
        try:
            await run.adjust(self.limit, rate=rate)
        except RotaError as error:  # the answer is here and paid for: losing it would be worse than a rate of yesterday
            quiet.warn("the rate of limit %s was not changed: %s", self.limit.name, error)

    def _opened(self) -> httpx2.AsyncClient:
        """The connections of this event loop; those of a loop that is gone cannot be used any more."""
        loop = asyncio.get_running_loop()
        if self._open is None or self._loop is not loop:
            context = self.verify or default_context()
            self._open = httpx2.AsyncClient(
                headers={"user-agent": self._agent},
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # one user's session is not another's
                timeout=self._timeout,
                transport=Wire(context, Cage(self.network) if self.caged else None),
                trust_env=False,
            )
            self._loop = loop
        return self._open
