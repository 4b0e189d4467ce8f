"""What a client and a request may be told, and the one sentence for what they may not.

Always true: wrong options of a client are a `ConfigError` where it is made, those of a request a `BadInput` before
anything is sent; what comes out is in seconds, bytes and plain sets.

Not here: what the options do (client.py).
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Final, Literal, TypedDict

import httpx2

from rota.define.names import checked_choice
from rota.define.units import duration_ms, shown
from rota.errors import BadInput, ConfigError, RotaError
from rota.http.address import Refused, check_url
from rota.version import VERSION

Duration = timedelta | str
Credentials = Literal["app", "user", "none"]

MOST_BODY: Final = 10 * 1024 * 1024  # bytes, decompressed: a large report, a guess
MOST_OF_ANY_BODY: Final = 2**31  # bytes: a body is held in memory whole
MOST_REDIRECTS: Final = 20  # browsers give up there, too
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # so says the standard of HTTP
_CREDENTIALS: Final = ("app", "user", "none")
_STATUSES: Final = range(300, 600)  # what may be expected beside success


class Options(TypedDict, total=False):
    """What one request may be given beyond method and URL."""

    params: Mapping[str, str | int]
    headers: Mapping[str, str]
    json: object
    data: Mapping[str, str]
    content: bytes
    expect: Collection[int]
    path_template: str
    idempotent: bool
    ref: str
    scope: str
    values: Mapping[str, object]
    credentials: Credentials


def content_of(options: Options) -> dict[str, Any]:
    """The part of the options that is sent."""
    return {name: value for name, value in options.items() if name in {"params", "json", "data", "content"}}


def may_be_repeated(method: str, options: Options) -> bool:
    """Whether the same request twice is as good as once: as told, by its method, or by its key."""
    keyed = any(name.lower() == "idempotency-key" for name in options.get("headers", ()))
    return options.get("idempotent", keyed or method in IDEMPOTENT)


def checked_credentials(value: object, *, error: type[RotaError] = ConfigError) -> Credentials:
    """Whose credentials a request carries."""
    checked_choice(value, _CREDENTIALS, what="credentials=", error=error)
    return "app" if value == "app" else "user" if value == "user" else "none"


def checked_statuses(value: object, *, error: type[RotaError] = ConfigError) -> frozenset[int]:
    """Statuses that are answers and not outcomes."""
    if isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping):
        found = frozenset(status for status in value if isinstance(status, int) and status in _STATUSES)
        if len(found) == len(set(value)):
            return found
    raise error(f"expect= must be a set of statuses from 300 to 599 such as {{304, 404}}, not {shown(value)}")


def seconds(value: object, name: str) -> float:
    """A duration of the client, in seconds; at least a millisecond."""
    return duration_ms(value, name=f"{name}= of Client", least=1, error=ConfigError) / 1_000


def whole(value: object, name: str, *, least: int, most: int) -> int:
    """A whole number of the client."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise ConfigError(f"{name}= of Client must be a whole number from {least:,} to {most:,}, not {shown(value)}")


def home_of(base_url: object, *, caged: bool) -> httpx2.URL | None:
    """The URL that others are relative to."""
    if base_url == "":
        return None
    fault: object = "it is no text"
    if isinstance(base_url, str):
        try:
            home = httpx2.URL(base_url)
            check_url(home, caged=caged)
        except Refused as refused:
            fault = refused
        except httpx2.InvalidURL:
            fault = "it cannot be read"
        else:
            return home
    # The value itself is not shown, since it may hold a password.
    raise ConfigError(f"base_url= of Client must be a URL such as 'https://api.example.com/v1', but {fault}")


def user_agent(product: str | None, contact: str | None) -> str:
    """Who we are and whom to ask: "shop/1.4 (+ops@shop.example) rota/0.1.0"."""
    for name, text in (("product", product), ("contact", contact)):
        if text is not None and not (text.isascii() and text.isprintable() and text.strip()):
            raise ConfigError(f"{name}= of Client must be plain text such as 'shop/1.4', not {shown(text)}")
    parts = (product, None if contact is None else f"(+{contact})", f"rota/{VERSION}")
    return " ".join(part for part in parts if part is not None)


def known(options: Mapping[str, object]) -> None:
    """Refuse an option that would do nothing."""
    unknown = sorted(set(options) - Options.__optional_keys__)
    if unknown:
        listed = ", ".join(sorted(Options.__optional_keys__))
        raise BadInput(f"a request has no option {unknown[0]!r}: known are {listed}")
