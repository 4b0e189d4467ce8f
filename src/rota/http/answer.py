"""`Response`: what came back, whole and within its limits.

Always true: it is complete (a body that broke off never becomes one), frozen, and its `repr` tells no secret.

Not here: statuses that are not a success; those are outcomes (verdict.py) unless they were expected.
"""

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from rota.define.outcome import Retryable
from rota.http.verdict import Asked, unclear


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The answer to a request: status, headers (names in lower case) and the decompressed body.

    `url` is where it came from, after redirects. Nothing but the status is shown by `repr`.

    >>> answer = Response(status=200, headers={"content-type": "application/json"}, body=b'{"open": true}', url="https://a.example")
    >>> answer.json()["open"], answer
    (True, Response(status=200))
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(repr=False)
    asked: Asked | None = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str:
        r"""The body as text in the charset that the headers name, else UTF-8; what cannot be read is replaced.

        >>> Response(status=200, headers={"content-type": "text/plain; charset=latin-1"}, body=b"f\xfcr", url="").text
        'für'
        """
        message = Message()
        message["content-type"] = self.headers.get("content-type", "")
        named = message.get_param("charset")
        try:
            charset = codecs.lookup(named).name if isinstance(named, str) else "utf-8"
            return self.body.decode(charset, errors="replace")
        except (LookupError, ValueError):
            return self.body.decode(errors="replace")

    def json(self) -> Any:  # noqa: ANN401 - whatever the service sent
        """The body read as JSON; raises `Retryable` where it is none (an error page in place of data).

        After a request that must not be repeated that is `Ambiguous`, since the service has seen it.

        >>> from rota import Retryable
        >>> try:
        ...     Response(status=200, headers={}, body=b"<html>", url="").json()
        ... except Retryable as outcome:
        ...     print(outcome)
        the body is not JSON
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            pass
        if self.asked is None:
            raise Retryable("the body is not JSON")
        raise unclear(self.asked, f"answered {self.status} with a body that is not JSON")
