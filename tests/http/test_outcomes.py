"""What each answer and each fault comes to: the table, row by row."""

import asyncio
import json

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from rota import Fail, Hold, PauseJob, RateLimited, Retryable
from rota.http import Ambiguous, Client
from tests.http.service import broken

OPENAI_QUOTA = {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": None}}
AMAZON_PACE = {"errors": [{"code": "QuotaExceeded", "message": "You exceeded your quota for the requested resource."}]}
GOOGLE_PACE = {"error": {"code": 403, "errors": [{"reason": "rateLimitExceeded"}], "status": "PERMISSION_DENIED"}}
GOOGLE_NO = {"error": {"code": 403, "errors": [{"reason": "insufficientPermissions"}]}}
SOON = {"retry-after": "7"}


async def outcome_of(service, answer, method="GET", **options):
    service.answer("/orders", answer)
    client = Client(base_url=service.url, **options)
    async with client:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the row says which
            await client.request(method, "/orders")
    return caught.value


@pytest.mark.parametrize("status", [500, 502, 503, 504, 507, 520, 408, 425])
async def test_a_service_in_trouble_is_retryable(service, status):
    came = await outcome_of(service, Response(status_code=status))
    assert type(came) is Retryable
    assert came.after_ms is None
    assert str(came) == f"GET 127.0.0.1/orders answered {status}"


async def test_the_wait_of_a_503_is_kept(service):
    assert (await outcome_of(service, Response(status_code=503, headers=SOON))).after_ms == 7_000


async def test_a_wait_as_a_date_is_counted_from_the_services_own_clock(service):
    headers = {"date": "Sun, 06 Nov 1994 08:49:37 GMT", "retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"}

    async def serve() -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 503 busy\r\n{lines}content-length: 0\r\n\r\n".encode()

    async with broken(await serve()) as url, Client() as client:
        with pytest.raises(Retryable) as caught:
            await client.get(url)
    assert caught.value.after_ms == 10_000


@pytest.mark.parametrize(
    ("status", "body", "headers", "after_ms"),
    [
        (429, {}, {}, None),
        (429, {}, SOON, 7_000),
        (429, {}, {"retry-after": "-3"}, None),
        (429, {}, {"retry-after": "0"}, None),
        (429, {}, {"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, None),
        (429, {}, {"retry-after": "99999"}, 900_000),
        (429, AMAZON_PACE, {}, None),
        (429, OPENAI_QUOTA, SOON, 7_000),
        (402, {}, SOON, 7_000),
        (403, GOOGLE_PACE, {}, None),
        (403, {}, SOON, 7_000),
    ],
)
async def test_too_often_is_rate_limited(service, status, body, headers, after_ms):
    came = await outcome_of(service, JSONResponse(body, status, headers))
    assert type(came) is RateLimited
    assert (came.scope, came.after_ms) == ("127.0.0.1", after_ms)


@pytest.mark.parametrize(("status", "body"), [(401, {}), (403, GOOGLE_NO), (402, {}), (429, OPENAI_QUOTA)])
async def test_refused_credentials_and_used_up_money_are_the_fault_of_whose_they_are(service, status, body):
    assert type(await outcome_of(service, JSONResponse(body, status))) is PauseJob
    assert type(await outcome_of(service, JSONResponse(body, status), credentials="user")) is Hold
    assert type(await outcome_of(service, JSONResponse(body, status), credentials="none")) is Fail


@pytest.mark.parametrize("status", [301, 302, 304, 400, 404, 405, 409, 410, 413, 422, 451, 501, 505])
async def test_what_can_never_work_fails(service, status):
    came = await outcome_of(service, Response(status_code=status))
    assert type(came) is Fail


async def test_the_error_word_of_the_service_is_told_and_nothing_else_of_its_body(service):
    body = {"errors": [{"code": "InvalidInput", "message": "canary-in-message", "details": "canary-in-details"}]}
    came = await outcome_of(service, JSONResponse(body, 400))
    assert str(came) == "GET 127.0.0.1/orders answered 400 (InvalidInput)"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
async def test_success_is_an_answer(service, status):
    service.answer("/orders", Response(status_code=status, headers={"X-Page": "2"}))
    async with Client(base_url=service.url) as client:
        answer = await client.get("/orders")
    assert (answer.status, answer.headers["x-page"]) == (status, "2")


@pytest.mark.parametrize("status", [304, 404, 429, 500])
async def test_what_was_expected_is_an_answer(service, status):
    service.answer("/orders", Response(status_code=status))
    async with Client(base_url=service.url, expect={304, 404}) as client:
        assert (await client.get("/orders", expect={429, 500})).status == status


async def test_the_status_counts_before_a_body_that_reads_well(service):
    came = await outcome_of(service, JSONResponse({"orders": []}, 500))
    assert type(came) is Retryable


@pytest.mark.parametrize("body", ["<html>busy</html>", "", '{"half":', "[" * 200_000])
async def test_a_body_that_is_not_json_is_retryable_when_it_is_asked_for(service, body):
    service.answer("/orders", PlainTextResponse(body))
    async with Client(base_url=service.url) as client:
        answer = await client.get("/orders")
        with pytest.raises(Retryable, match="not JSON"):
            answer.json()
        sent = await client.post("/orders")
    with pytest.raises(Ambiguous):
        sent.json()


async def test_a_service_that_is_not_there_is_retryable_even_after_a_post():
    async with broken() as url:
        pass
    async with Client() as client:
        with pytest.raises(Retryable, match="no connection"):
            await client.post(url)


BROKEN = {
    "hangs": {"hang": True},
    "hangs in the body": {"said": [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"], "hang": True},
    "says nothing": {},
    "breaks off": {"said": [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"]},
    "breaks off a chunk": {"said": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf"]},
    "is no HTTP": {"said": [b"220 smtp.example.com ready\r\n"]},
    "is no gzip": {"said": [b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nhalf"]},
    "has endless headers": {"said": [b"HTTP/1.1 200 OK\r\n"], "again": b"x-more: more\r\n" * 1_000},
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("GET", {}, Retryable),
        ("PUT", {}, Retryable),
        ("DELETE", {}, Retryable),
        ("POST", {}, Ambiguous),
        ("PATCH", {}, Ambiguous),
        ("POST", {"headers": {"Idempotency-Key": "k"}}, Retryable),
        ("POST", {"idempotent": True}, Retryable),
        ("GET", {"idempotent": False}, Ambiguous),
    ],
)
async def test_no_whole_answer_is_retryable_where_repeating_is_harmless_and_ambiguous_elsewhere(
    how, method, options, expected
):
    plan = {"said": [], **BROKEN[how]}
    async with broken(*plan.pop("said"), **plan) as url, Client(base_url=url, read="60ms", deadline="30s") as client:
        with pytest.raises((Retryable, Ambiguous)) as caught:
            await client.request(method, "/orders", **options)
    assert type(caught.value) is expected


async def test_a_deadline_ends_what_reads_would_let_go_on_for_ever():
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with broken(chunked, hang=True) as url, Client(read="30s", deadline="500ms") as client:
        with pytest.raises(Retryable, match="deadline"):
            await client.get(url)
        with pytest.raises(Ambiguous):
            await client.post(url)


async def test_a_refusal_whose_body_never_comes_is_the_refusal(monkeypatch):
    monkeypatch.setattr("rota.http.exchange.ERROR_BODY_S", 0.05)
    async with broken(b"HTTP/1.1 429 slow\r\ncontent-length: 99\r\n\r\n", hang=True) as url, Client() as client:
        with pytest.raises(RateLimited):
            await client.post(url)


async def test_an_ambiguous_request_is_told_by_its_reference_and_held_when_nobody_catches_it():
    async with broken() as url, Client() as client:
        with pytest.raises(Ambiguous) as caught:
            await client.post(url, ref="order 4711")
        with pytest.raises(Ambiguous) as plain:
            await client.post(f"{url}/orders/4711?token=canary")
    assert isinstance(caught.value, Hold)
    assert caught.value.ref == "order 4711"
    assert plain.value.ref == "POST 127.0.0.1/orders/{id}"


async def test_a_call_off_after_a_post_was_sent_is_ambiguous_and_before_or_for_a_get_a_call_off():
    async def called_off(client: Client, method: str, url: str) -> BaseException:
        task = asyncio.create_task(client.request(method, url))
        await arrived.wait()
        arrived.clear()
        task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    arrived = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Client() as client:
        assert type(await called_off(client, "POST", url)) is Ambiguous
        assert type(await called_off(client, "GET", url)) is asyncio.CancelledError
    server.close()


async def test_a_header_that_is_no_header_fails_without_showing_it(service):
    async with Client(base_url=service.url, headers={"authorization": "Bearer canary\r\nx: y"}) as client:
        with pytest.raises(Fail) as caught:
            await client.get("/orders")
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_outcomes_of_this_module_travel_between_processes():
    import pickle

    came = pickle.loads(pickle.dumps(Ambiguous("order 4711")))  # noqa: S301 - our own
    assert (type(came), came.ref, came.reason) == (Ambiguous, "order 4711", Ambiguous("order 4711").reason)


async def test_what_is_sent_arrives(service):
    async with Client(base_url=f"{service.url}/v1/", headers={"x-key": "k"}, product="shop/1.4", contact="a@b.c") as c:
        await c.post("/orders?all=1", json={"n": 1}, headers={"x-more": "m"})
        await c.get("orders", params={"page": 2})
    first, second = service.seen
    assert (first.method, first.path, first.query, json.loads(first.body)) == ("POST", "/v1/orders", "all=1", {"n": 1})
    assert (first.headers["x-key"], first.headers["x-more"]) == ("k", "m")
    assert first.headers["user-agent"].startswith("shop/1.4 (+a@b.c) rota/")
    assert (second.path, second.query) == ("/v1/orders", "page=2")
