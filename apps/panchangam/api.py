"""The read API: documents of days, months and festivals over HTTP.

Always true: what is not in the cache is computed and put there; every document has an ETag, and asking again with it
costs no body; every error is a problem document (RFC 9457) with one sentence.

Not here: rights and limits (put a proxy in front), writing, the worker.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from apps.panchangam import asked, ical
from apps.panchangam.almanac.festivals import Month
from apps.panchangam.almanac.layout import ENGINE, SCHEMA_VERSION
from apps.panchangam.almanac.records import Place
from apps.panchangam.app import Panchangam
from apps.panchangam.cities import CREDIT, TIERS, City, UnknownCity, tier
from apps.panchangam.moment import ONE_DAY, begins_before, moment
from apps.panchangam.precompute import today
from apps.panchangam.shelf import Shelf
from apps.panchangam.status import status
from rota.errors import BadInput, NotFound, RotaError, StoreUnavailable

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
FRESH_S: Final = 3_600  # seconds a reader may keep a document: they change with a release of the almanac only
TODAY_S: Final = 60  # of `today`, which is another day tomorrow
HEAD: Final = b'{"v":%d,"engine":"%b",' % (SCHEMA_VERSION, ENGINE.encode())

Endpoint = Callable[[Request], Awaitable[Response]]


def make_api(app: Panchangam, shelf: Shelf | None = None) -> Starlette:
    """Give the read API of an application as an ASGI program; what it reads and keeps goes over the shelf."""
    reader = Reader(app, shelf or Shelf(app.rota.cache))
    return Starlette(
        routes=[
            Route("/", reader.index),
            Route("/cities", reader.cities),
            Route("/panchangam/{city}/{date}", reader.day),
            Route("/panchangam/{city}/{year}/{month}", reader.month),
            Route("/festivals/{city}/{year}", reader.festivals_of_year),
            Route("/festivals/{city}/{year}/{month}", reader.festivals),
            Route("/calendar/{city}/{year}.ics", reader.calendar),
            Route("/moment/{city}", reader.moment),
            Route("/summary", reader.summary),
            Route("/status", reader.status),
        ],
        exception_handlers={
            RotaError: _refused,
            HTTPException: _no_such_page,
            Exception: _broken,
        },
    )


class Reader:
    """The endpoints; each reads the request, asks the shelf and answers."""

    def __init__(self, app: Panchangam, shelf: Shelf) -> None:
        self._app = app
        self._shelf = shelf

    async def index(self, request: Request) -> Response:
        """Say what can be asked."""
        pages = {
            "cities": "/cities?tier=IN_TOP10",
            "day": "/panchangam/{city}/{date}",
            "month": "/panchangam/{city}/{year}/{month}",
            "festivals": "/festivals/{city}/{year}/{month}",
            "festivalsOfYear": "/festivals/{city}/{year}",
            "calendar": "/calendar/{city}/{year}.ics",
            "moment": "/moment/{city}?at=2026-01-31T10:30",
            "summary": "/summary",
            "status": "/status",
        }
        return _answer(request, orjson.dumps({"v": SCHEMA_VERSION, "engine": ENGINE, "pages": pages, "credit": CREDIT}))

    async def cities(self, request: Request) -> Response:
        """List the cities, of a tier if one is asked for."""
        wanted = request.query_params.get("tier", "ALL")
        try:
            found = tier(wanted[: asked.SHOWN])
        except UnknownCity as error:
            raise BadInput(str(error)) from None
        listed = {"v": SCHEMA_VERSION, "credit": CREDIT, "tiers": TIERS, "cities": [_city(city) for city in found]}
        return _answer(request, orjson.dumps(listed))

    async def day(self, request: Request) -> Response:
        """Give a day."""
        place, text = self._place(request), request.path_params["date"]
        day = asked.read_date(text, today(self._app.rota))
        fresh_s = FRESH_S if text == day.isoformat() else TODAY_S
        return _answer(request, await self._shelf.day(place, day), fresh_s=fresh_s)

    async def month(self, request: Request) -> Response:
        """Give all days of a month."""
        place = self._place(request)
        year, month = _month(request)
        head = HEAD + b'"city":%b,"year":%d,"month":%d,"days":[' % (orjson.dumps(place.slug), year, month)
        days = await self._shelf.days(place, date(year, month, 1), _last_of(year, month))
        return _answer(request, head + b",".join(days) + b"]}")

    async def festivals(self, request: Request) -> Response:
        """Give the festivals of a month."""
        (body,) = await self._shelf.festivals(self._place(request), [_month(request)])
        return _answer(request, body)

    async def festivals_of_year(self, request: Request) -> Response:
        """Give the festivals of a year."""
        place, year = self._place(request), asked.read_year(request.path_params["year"])
        months = await self._shelf.festivals(place, _months_of(year))
        head = HEAD + b'"city":%b,"year":%d,"months":[' % (orjson.dumps(place.slug), year)
        return _answer(request, head + b",".join(months) + b"]}")

    async def calendar(self, request: Request) -> Response:
        """Give the festivals of a year as an iCalendar feed."""
        place, year = self._place(request), asked.read_year(request.path_params["year"])
        months = await self._shelf.festivals(place, _months_of(year))
        festivals = [festival for body in months for festival in orjson.loads(body)["festivals"]]
        stamp = date(year, 1, 1)  # of the year and not of today, so that the feed and its ETag stay the same
        return _answer(request, ical.feed(place.name, place.slug, festivals, stamp), ical.CONTENT_TYPE)

    async def moment(self, request: Request) -> Response:
        """Say whether an instant is good."""
        place = self._place(request)
        text = request.query_params.get("at")
        if text is None:
            raise BadInput("Expected the instant as ?at=2026-01-31T10:30, found none; add it.")
        at = asked.read_instant(text.replace(" ", "+"), place)
        day = asked.read_date(str(place.date_of(at.timestamp())), today(self._app.rota))
        document = orjson.loads(await self._shelf.day(place, day))
        if not begins_before(document, at):
            day -= ONE_DAY
            document = orjson.loads(await self._shelf.day(place, day))
        following = orjson.loads(await self._shelf.day(place, day + ONE_DAY))
        told = {"v": SCHEMA_VERSION, "city": place.slug, "day": day, **moment(document, following, at)}
        return _answer(request, orjson.dumps(told))

    async def summary(self, request: Request) -> Response:
        """Give the summary of the last pass."""
        found = await self._shelf.summary()
        if found is None:
            raise NotFound("Expected the summary of a pass, found none in the last 24 hours; run the precompute.")
        return _answer(request, found, fresh_s=0)

    async def status(self, request: Request) -> Response:
        """Give the status."""
        return _answer(request, orjson.dumps(await status(self._app)), fresh_s=0)

    def _place(self, request: Request) -> Place:
        return asked.read_place(request.path_params["city"])


def _month(request: Request) -> Month:
    return asked.read_year(request.path_params["year"]), asked.read_month(request.path_params["month"])


def _last_of(year: int, month: int) -> date:
    return date(year + month // 12, month % 12 + 1, 1) - ONE_DAY


def _months_of(year: int) -> list[Month]:
    return [(year, month) for month in range(1, 13)]


def _city(city: City) -> Mapping[str, Any]:
    place = city.place
    return {
        "order": city.order,
        "slug": city.slug,
        "name": city.name,
        "aliases": city.aliases,
        "state": place.state,
        "latitude": place.lat,
        "longitude": place.lon,
        "zone": place.zone,
        "population": city.population,
    }


# -- answers --------------------------------------------------------------------------------------


def _answer(request: Request, body: bytes, media_type: str = JSON, *, fresh_s: int = FRESH_S) -> Response:
    """Answer with a body, or with 304 where the reader has it."""
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    kept = f"public, max-age={fresh_s}" if fresh_s else "no-cache"
    headers = {"ETag": etag, "Cache-Control": kept, "X-Content-Type-Options": "nosniff"}
    if _has(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def _has(given: str, etag: str) -> bool:
    """Compare as `If-None-Match` does: weakly, any of a list, or `*`."""
    tags = (tag.strip().removeprefix("W/") for tag in given.split(","))
    return any(tag in (etag, "*") for tag in tags)


def _problem(status_code: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    body = {"type": "about:blank", "title": HTTPStatus(status_code).phrase, "status": status_code, "code": code}
    return Response(orjson.dumps(body | {"detail": detail}), status_code, headers, PROBLEM)


async def _refused(_: Request, error: Exception) -> Response:
    code = getattr(error, "code", "error")
    if isinstance(error, NotFound):
        return _problem(HTTPStatus.NOT_FOUND, code, str(error))
    if isinstance(error, BadInput):
        return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, code, str(error))
    if isinstance(error, StoreUnavailable):
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, code, str(error), {"Retry-After": "5"})
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, code, str(error))


async def _no_such_page(request: Request, error: Exception) -> Response:
    status_code = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    headers = error.headers if isinstance(error, HTTPException) else None
    if status_code == HTTPStatus.NOT_FOUND:
        detail = f"Expected a page such as /panchangam/mumbai/today, found {request.url.path[: asked.SHOWN]!r}; see /."
        return _problem(status_code, "not-found", detail, headers)
    return _problem(status_code, "refused", "Expected a GET request; this API only reads.", headers)


async def _broken(_: Request, error: Exception) -> Response:
    return _problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "error", f"The almanac failed with {type(error).__name__}; its log says more."
    )
