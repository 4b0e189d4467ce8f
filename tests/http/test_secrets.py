"""Canaries: no query, header, body, user information or user's path reaches a log line, an outcome or a `repr`."""

import logging
import traceback

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from rota import Outcome
from rota.http import Client
from tests.http.service import broken
from tests.http.test_cage import Names

LOUD = ("", "rota.http", "httpx2", "httpcore2", *(f"httpcore2.{part}" for part in ("connection", "http11", "http2")))


@pytest.fixture
def lines(caplog):
    """Every log line of every library, as loud as can be."""
    for name in LOUD:
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def everything(lines) -> str:
    """All that was logged on our side; the service is in this process, too."""
    ours = [record for record in lines.records if not record.name.startswith("uvicorn")]
    return "\n".join(f"{record.name} {record.getMessage()} {record.__dict__}" for record in ours)


@pytest.mark.parametrize(
    "answer",
    [
        PlainTextResponse("canary", headers={"x-secret": "canary", "set-cookie": "s=canary"}),
        JSONResponse({"error": {"message": "canary", "detail": "canary"}, "canary": "canary"}, 400),
        JSONResponse({"error": {"code": "key canary-1"}, "message": "canary"}, 401),
        PlainTextResponse("canary", 429, headers={"retry-after": "canary"}),
        PlainTextResponse("canary", 500),
        RedirectResponse("http://user:canary@127.0.0.1/canary?canary=canary"),
        Response(b"canary", headers={"content-encoding": "gzip"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_of_a_request_or_its_answer_is_told(service, lines, answer, method):
    service.answer("/orders/canary-1", answer)
    options = {"params": {"token": "canary"}, "headers": {"authorization": "Bearer canary"}}
    said = []
    client = Client(base_url=service.url, headers={"x-key": "canary"}, redirects=5)
    async with client:
        try:
            came = await client.request(method, "/orders/canary-1?key=canary", **options)
            said.append(repr(came))
        except Outcome as outcome:
            said += [str(outcome), repr(outcome), repr(outcome.__context__), *traceback.format_exception(outcome)]
    said.append(repr(client))
    assert "canary" not in "".join(line for line in said if "test_secrets" not in line and "  File" not in line)
    assert "canary" not in everything(lines)
    assert [record.name for record in lines.records if record.name.startswith(("httpx2", "httpcore2"))] == []


async def test_nothing_of_a_users_address_is_told_but_its_host(service, lines):
    service.answer("/calendar/canary/basic.ics", Response(status_code=404))
    with pytest.raises(Outcome) as caught:
        async with Client(caged=True, network=Names(service.port)) as client:
            await client.get("http://example.com/calendar/canary/basic.ics?key=canary")
    assert str(caught.value) == "GET example.com/… answered 404"
    assert "canary" not in everything(lines)


@pytest.mark.parametrize("url", ["http://canary:canary@", "http://[canary", "http://a\ncanary", "canary", "c" * 70_000])
async def test_nothing_of_a_url_that_cannot_be_read_is_told(lines, url):
    async with Client() as client:
        with pytest.raises(Outcome) as caught:
            await client.get(url)
    assert "canary" not in str(caught.value) + everything(lines)
    assert len(str(caught.value)) < 200


async def test_one_line_tells_method_host_template_status_duration_and_attempt(service, lines):
    service.answer("/orders/4711", Response(status_code=404))
    async with Client(base_url=service.url, expect={404}) as client:
        await client.get("/orders/4711?x=1")
        await client.get("/orders/4711", path_template="/orders/{order}")
    first, second = (record for record in lines.records if record.name == "rota.http")
    assert first.event == "http.request"
    fields = first.fields
    assert isinstance(fields.pop("ms"), int)
    assert fields == {"method": "GET", "host": "127.0.0.1", "path": "/orders/{id}", "status": 404, "attempt": None}
    assert second.fields["path"] == "/orders/{order}"
    assert first.getMessage().startswith("http.request method=GET host=127.0.0.1 path=/orders/{id} status=404 ms=")


async def test_a_request_without_an_answer_is_one_line_too(lines):
    async with broken() as url, Client() as client:
        with pytest.raises(Outcome):
            await client.get(url)
    (line,) = (record for record in lines.records if record.name == "rota.http")
    assert line.fields["fault"] == "RemoteProtocolError"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/", "/"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/reports/2021-06-30/reports", "/reports/2021-06-30/reports"),
        ("/orders/902-3159896-1390916/items", "/orders/{id}/items"),
        ("/users/ada@example.com", "/users/{id}"),
        ("/bot123:AAF/sendMessage", "/{id}/sendMessage"),
        ("/u/550e8400-e29b-41d4-a716-446655440000/", "/u/{id}/"),
        ("/hook/abcdefghijklmnopqrstuvwxyzabcdef", "/hook/{id}"),
        ("/a%0ab/c%20d/%2e%2e", "/{id}/{id}/{id}"),
        ("/ü/x", "/{id}/x"),
    ],
)
async def test_parts_of_a_path_that_are_no_plain_words_are_hidden(service, lines, path, told):
    async with Client(expect={404}) as client:
        await client.get(f"{service.url}{path}")
    assert [record.fields["path"] for record in lines.records if record.name == "rota.http"] == [told]


async def test_others_who_use_the_libraries_below_are_still_heard(service, lines):
    import httpx2

    async with httpx2.AsyncClient() as theirs:
        await theirs.get(service.url)
    assert any(record.name == "httpx2" for record in lines.records)
