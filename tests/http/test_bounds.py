"""How far an answer may go: sizes, bombs, redirects, and headers that stay at home."""

import gzip
import tracemalloc
import zlib

import pytest
from starlette.responses import RedirectResponse, Response, StreamingResponse

from rota import Fail, Retryable
from rota.http import Client
from tests.http.service import broken

MEBIBYTE = 1024 * 1024
ZEROS = b"\x00" * MEBIBYTE


def bomb(wbits: int) -> bytes:
    """128 mebibytes of nothing in an eighth of one."""
    pump = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join(pump.compress(ZEROS) for _ in range(128)) + pump.flush()


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    packed = bomb(31)
    return {"gzip": packed, "deflate": bomb(15), "gzip, gzip": gzip.compress(packed)}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip"])
async def test_a_bomb_is_stopped_at_the_limit_and_not_unpacked(service, bombs, encoding):
    service.answer("/bomb", Response(bombs[encoding], headers={"content-encoding": encoding}))
    async with Client(base_url=service.url) as client:
        tracemalloc.start()
        with pytest.raises(Fail, match=r"more than 10,485,760 bytes"):
            await client.get("/bomb")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 50 * MEBIBYTE


async def test_an_error_that_is_a_bomb_is_the_error(service, bombs):
    service.answer("/bomb", Response(bombs["gzip"], 503, headers={"content-encoding": "gzip"}))
    async with Client(base_url=service.url) as client:
        with pytest.raises(Retryable, match="503"):
            await client.get("/bomb")


async def test_six_layers_of_packing_are_not_unwrapped(service):
    body = b"x"
    for _ in range(6):
        body = gzip.compress(body)
    service.answer("/", Response(body, headers={"content-encoding": ", ".join(["gzip"] * 6)}))
    async with Client(base_url=service.url) as client:
        with pytest.raises(Retryable, match="decompressed"):
            await client.get("/")


@pytest.mark.parametrize("length", [0, 1, 99, 100])
async def test_a_body_up_to_the_limit_is_read(service, length):
    service.answer("/", Response(gzip.compress(b"x" * length), headers={"content-encoding": "gzip"}))
    async with Client(base_url=service.url, max_body=100) as client:
        assert (await client.get("/")).body == b"x" * length


async def test_a_body_one_byte_over_the_limit_fails_packed_or_not(service):
    service.answer("/plain", Response(b"x" * 101))
    service.answer("/packed", Response(gzip.compress(b"x" * 101), headers={"content-encoding": "gzip"}))
    service.answer("/streamed", StreamingResponse(iter([b"x" * 50, b"x" * 51])))
    async with Client(base_url=service.url, max_body=100) as client:
        for path in ("/plain", "/packed", "/streamed"):
            with pytest.raises(Fail, match="more than 100 bytes"):
                await client.get(path)


async def test_a_length_that_is_too_large_is_not_waited_for():
    said = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"
    async with broken(said, hang=True) as url, Client() as client:
        with pytest.raises(Fail, match="more than"):
            await client.get(url)


async def test_an_endless_body_ends_at_the_limit():
    said = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with broken(said, again=b"400\r\n" + b"x" * 1_024 + b"\r\n") as url, Client() as client:
        with pytest.raises(Fail, match="more than"):
            await client.get(url)


async def test_the_length_of_an_answer_to_head_is_no_body():
    said = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"
    async with broken(said) as url, Client() as client:
        answer = await client.request("HEAD", url)
    assert (answer.body, answer.headers["content-length"]) == (b"", "99999999999")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_unless_allowed(service, status):
    service.answer("/a", RedirectResponse("/b", status))
    async with Client(base_url=service.url) as client, Client(base_url=service.url, redirects=1) as roaming:
        with pytest.raises(Fail):
            await client.get("/a")
        assert (await roaming.get("/a")).url == f"{service.url}/b"
    assert [seen.path for seen in service.seen] == ["/a", "/a", "/b"]


async def test_a_chain_is_followed_as_far_as_allowed(service):
    for number in range(9):
        service.answer(f"/{number}", RedirectResponse(f"{number + 1}"))
    async with Client(base_url=service.url, redirects=5) as client:
        with pytest.raises(Fail, match="redirects="):
            await client.get("/0")
        assert len(service.seen) == 6
        assert (await client.get("/4")).url == f"{service.url}/9"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_what_changes_something_is_never_redirected(service, method):
    service.answer("/a", RedirectResponse("/b", 307))
    async with Client(base_url=service.url, redirects=5) as client:
        with pytest.raises(Fail):
            await client.request(method, "/a")
    assert len(service.seen) == 1


@pytest.mark.parametrize("where", ["http://[", "http://a:99999/", "\x00", "http:", "mailto:a@b.c"])
async def test_a_redirect_to_nowhere_fails(service, where):
    service.answer("/a", lambda _request: Response(status_code=302, headers={"location": where}))
    async with Client(base_url=service.url, redirects=1) as client:
        with pytest.raises((Fail, Retryable)):
            await client.get("/a")


async def test_what_was_asked_of_the_first_url_is_not_asked_of_the_next(service):
    service.answer("/a", RedirectResponse("/b?y=2"))
    async with Client(base_url=service.url, redirects=1) as client:
        await client.get("/a", params={"x": 1})
    assert [seen.query for seen in service.seen] == ["x=1", "y=2"]


async def test_a_redirect_may_be_expected(service):
    service.answer("/a", RedirectResponse("/b"))
    async with Client(base_url=service.url, redirects=5, expect={307}) as client:
        assert (await client.get("/a")).headers["location"] == "/b"


SECRETS = {
    "Authorization": "Bearer canary",
    "Cookie": "s=canary",
    "X-Api-Key": "canary",
    "x-amz-access-token": "canary",
}


async def test_credentials_stay_with_their_origin_and_do_not_come_back(service):
    other = f"http://localhost:{service.port}"
    service.answer("/same", RedirectResponse("/away"))
    service.answer("/away", RedirectResponse(f"{other}/there"))
    service.answer("/there", RedirectResponse(f"{service.url}/back"))
    async with Client(redirects=5, headers={"Authorization": "Bearer canary"}) as client:
        await client.get(f"{service.url}/same", headers={**SECRETS, "accept": "text/xml"})
    canaries = {seen.path: str(seen.headers).count("canary") for seen in service.seen}
    assert canaries == {"/same": 4, "/away": 4, "/there": 0, "/back": 0}
    assert {seen.headers["accept"] for seen in service.seen} == {"text/xml"}


async def test_a_clients_own_headers_go_to_its_own_service_only(service):
    async with Client(base_url=service.url, headers=SECRETS) as client:
        await client.get("/mine")
        await client.get(f"http://localhost:{service.port}/theirs")
    mine, theirs = service.seen
    assert "canary" in str(mine.headers)
    assert "canary" not in str(theirs.headers)


async def test_cookies_are_not_kept_from_one_request_to_the_next(service):
    service.answer("/login", Response(headers={"set-cookie": "session=canary"}))
    async with Client(base_url=service.url) as client:
        await client.get("/login")
        await client.get("/next")
    assert "cookie" not in service.seen[1].headers
