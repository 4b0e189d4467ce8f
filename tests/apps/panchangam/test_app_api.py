"""The read API, asked as an ASGI server would ask it."""

from datetime import date
from urllib.parse import urlsplit

import orjson
import pytest

from apps.panchangam.almanac.document import day_document
from apps.panchangam.api import make_api
from apps.panchangam.app import Almanac, build
from apps.panchangam.cities import city
from apps.panchangam.settings import PanchangamSettings
from apps.panchangam.shelf import Shelf
from rota.testing import isolated

START = "2026-11-08T06:00:00Z"  # Diwali, half past eleven in India


class Answer:
    def __init__(self):
        self.status, self.headers, self.body = 0, {}, b""

    @property
    def json(self):
        return orjson.loads(self.body)


class Client:
    """Asks an ASGI program without a socket."""

    def __init__(self, api, shelf, app):
        self._api, self._shelf, self.app = api, shelf, app

    async def get(self, url, method="GET", **headers):
        parts, answer = urlsplit(url), Answer()
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": method,
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": sent,
        }

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        await self._api(scope, receive, send)
        await self._shelf.settle()
        return answer


@pytest.fixture
async def client():
    settings = PanchangamSettings(city_precompute="IN_TOP10", precompute_days=2)
    app = build(settings, Almanac(name="panchangam"))
    async with isolated(app.rota, start=START):
        shelf = Shelf(app.rota.cache)
        yield Client(make_api(app, shelf), shelf, app)


async def test_a_day_that_nobody_computed_is_computed_and_put_into_the_cache(client):
    answer = await client.get("/panchangam/mumbai/2031-05-06")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == day_document(city("mumbai").place, date(2031, 5, 6))
    assert await client.app.rota.cache.get("panchangam:mumbai:2031-05-06") == answer.body
    assert (await client.app.rota.cache.ttl("panchangam:mumbai:2031-05-06")).days == 7


async def test_a_day_in_the_cache_is_given_as_it_is(client):
    answer = await client.get("/panchangam/mumbai/2031-05-06")
    marked = answer.body.replace(b'"status":"ok"', b'"status":"OK"')
    await client.app.rota.cache.set("panchangam:mumbai:2031-05-06", marked, ttl="1h")
    assert (await client.get("/panchangam/mumbai/2031-05-06")).body == marked


@pytest.mark.parametrize("stranger", [b"", b"nonsense", b'{"v":0,"engine":"another"}'])
async def test_what_another_release_or_a_stranger_left_in_the_cache_is_not_given_on(client, stranger):
    await client.app.rota.cache.set("panchangam:mumbai:2031-05-06", stranger, ttl="1h")
    assert (await client.get("/panchangam/mumbai/2031-05-06")).json["date"] == "2031-05-06"


async def test_asking_again_with_the_etag_costs_no_body(client):
    first = await client.get("/panchangam/pune/2026-11-08")
    again = await client.get("/panchangam/pune/2026-11-08", if_none_match=f'W/"x", {first.headers["etag"]}')
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = await client.get("/panchangam/pune/2026-11-09", if_none_match=first.headers["etag"])
    assert other.status == 200


async def test_today_is_the_day_of_india_and_is_kept_only_a_minute(client):
    answer = await client.get("/panchangam/Bombay/today")
    assert (answer.json["date"], answer.json["place"]["slug"]) == ("2026-11-08", "mumbai")
    assert answer.headers["cache-control"] == "public, max-age=60"


async def test_a_month_holds_each_of_its_days(client):
    answer = (await client.get("/panchangam/pune/2028/02")).json
    assert [day["date"] for day in answer["days"]] == [f"2028-02-{day:02}" for day in range(1, 30)]
    assert answer["days"][3] == day_document(city("pune").place, date(2028, 2, 4))
    assert (await client.get("/panchangam/pune/2028/2")).json == answer


async def test_festivals_take_the_month_with_and_without_a_nought(client):
    answer = await client.get("/festivals/mumbai/2026/01")
    assert answer.body == (await client.get("/festivals/mumbai/2026/1")).body
    assert await client.app.rota.cache.get("festivals:mumbai:2026:1") == answer.body
    november = (await client.get("/festivals/mumbai/2026/11")).json
    assert "2026-11-08" in [each["date"] for each in november["festivals"] if each["id"] == "diwali"]


async def test_a_year_of_festivals_is_its_twelve_months(client):
    answer = (await client.get("/festivals/mumbai/2026")).json
    assert [month["month"] for month in answer["months"]] == list(range(1, 13))
    assert answer["months"][10] == (await client.get("/festivals/mumbai/2026/11")).json


async def test_the_calendar_feed_has_one_event_for_each_festival_and_short_lines(client):
    answer = await client.get("/calendar/mumbai/2026.ics")
    year = (await client.get("/festivals/mumbai/2026")).json
    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/calendar")
    assert text.count("BEGIN:VEVENT") == sum(len(month["festivals"]) for month in year["months"])
    assert "SUMMARY:Diwali" in text
    assert max(len(line) for line in answer.body.split(b"\r\n")) <= 75
    uids = [line for line in text.split("\r\n") if line.startswith("UID:")]
    assert len(set(uids)) == len(uids)


async def test_the_city_list_is_that_of_a_tier_and_credits_its_source(client):
    answer = (await client.get("/cities?tier=in_top50")).json
    assert (len(answer["cities"]), answer["cities"][0]["slug"]) == (50, "mumbai")
    assert "GeoNames" in answer["credit"]
    assert len((await client.get("/cities")).json["cities"]) == 500


@pytest.mark.parametrize(
    ("at", "day", "verdict", "window"),
    [
        ("2026-11-08T17:15:00", "2026-11-08", "bad", "rahuKalam"),
        ("2026-11-08T12:00:00", "2026-11-08", None, "abhijit"),
        ("2026-11-08T05:10:00", "2026-11-07", None, "brahmaMuhurta"),  # before sunrise it is still the day before
    ],
)
async def test_a_moment_is_told_by_the_windows_that_hold_it(client, at, day, verdict, window):
    answer = (await client.get(f"/moment/mumbai?at={at}")).json
    assert answer["day"] == day
    assert verdict in (None, answer["verdict"])
    assert window in [each["name"] for each in answer["windows"]]
    assert all(each["start"] <= f"{at}+05:30" < each["end"] for each in answer["windows"])
    assert answer["tithi"]["name"].startswith(("Krishna", "Amavasya"))


async def test_the_summary_is_there_after_a_pass_and_a_problem_before(client):
    assert (await client.get("/summary")).status == 404
    await client.app.cities.sync()
    await client.app.rota.tick()
    answer = await client.get("/summary")
    assert (answer.json["succeeded"], answer.headers["cache-control"]) == (10, "no-cache")
    found = (await client.get("/status")).json
    assert found["coverage"] == {"wanted": 20, "present": 20}


@pytest.mark.parametrize(
    ("url", "status", "words"),
    [
        ("/panchangam/mumbay/2026-01-01", 404, "did you mean 'mumbai'?"),
        ("/panchangam/mumbai/2026-02-30", 422, "Expected a date"),
        ("/panchangam/mumbai/2199-01-01", 422, "reaches no further"),
        ("/panchangam/mumbai/2026/13", 422, "1 to 12"),
        ("/festivals/mumbai/1850/1", 422, "Expected a year"),
        ("/cities?tier=IN_TOP3", 422, "IN_TOP10"),
        ("/moment/mumbai", 422, "?at="),
        ("/moment/mumbai?at=noon", 422, "ISO 8601"),
        ("/nowhere", 404, "/panchangam/mumbai/today"),
    ],
)
async def test_every_error_is_a_problem_with_one_sentence(client, url, status, words):
    answer = await client.get(url)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (answer.json["status"], words in answer.json["detail"]) == (status, True)


async def test_only_reading_is_allowed(client):
    answer = await client.get("/panchangam/mumbai/today", method="DELETE")
    assert (answer.status, answer.json["code"]) == (405, "refused")
    head = await client.get("/panchangam/mumbai/today", method="HEAD")
    assert head.status == 200


async def test_the_first_page_says_what_can_be_asked(client):
    assert "/panchangam/{city}/{date}" in (await client.get("/")).json["pages"].values()
