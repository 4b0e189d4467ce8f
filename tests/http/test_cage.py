"""The cage: only public addresses are connected to, whatever a URL, a name, a redirect or a name service says.

Always true here: no name is resolved and no public address is dialled; a network of the test stands in for both, writes
down every address that was connected to, and leads it to a service on loopback.
"""

import ipaddress
import ssl

import httpcore2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import RedirectResponse, Response

from rota import Fail, Retryable
from rota.errors import ConfigError
from rota.http import Client, Network
from rota.http.address import Refused, check_address

PUBLIC = "93.184.216.34"
INSIDE = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.1", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.18.0.1"),
    *("192.88.99.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1", "100::1"),
    *("2001:db8::1", "3fff::1", "5f00::1", "4000::1", "64:ff9b:1::808:808"),
]
OUTSIDE = [PUBLIC, "8.8.8.8", "1.1.1.1", "2606:4700::1111", "2001:4860:4860::8888"]
EMBEDDINGS = {
    "mapped": lambda v4: f"::ffff:{v4}",
    "NAT64": lambda v4: f"64:ff9b::{v4}",
    "6to4": lambda v4: str(ipaddress.IPv6Address((0x2002 << 112) | (int(v4) << 80) | 1)),
    "Teredo's client": lambda v4: str(
        ipaddress.IPv6Address((0x2001_0000 << 96) | (0x0808_0808 << 64) | (int(v4) ^ 0xFFFF_FFFF))
    ),
    "Teredo's server": lambda v4: str(ipaddress.IPv6Address((0x2001_0000 << 96) | (int(v4) << 64) | 0xF7F7_F7F7)),
    "ISATAP": lambda v4: str(ipaddress.IPv6Address((0x2606_4700 << 96) | (0x5EFE << 32) | int(v4))),
    "ISATAP with the universal bit": lambda v4: str(
        ipaddress.IPv6Address((0x2606_4700 << 96) | (0x0200_5EFE << 32) | int(v4))
    ),
    "compatible": lambda v4: f"::{v4}",
    "translated": lambda v4: f"::ffff:0:{v4}",
}
NEVER = {"compatible", "translated", "Teredo's client", "Teredo's server"}  # given up, or not global in any case
V4_INSIDE = [ipaddress.IPv4Address(text) for text in INSIDE if ":" not in text]


class Names(Network):
    """A name service that gives what a test says, one answer after the other, and a wire to one service."""

    def __init__(self, port: int = 0, **names: list[list[str]]) -> None:
        self.port = port
        self.names = {name.replace("_", "."): list(answers) for name, answers in names.items()}
        self.asked: list[str] = []
        self.connected: list[str] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        answers = self.names.get(host.rstrip("."), [[PUBLIC]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect(self, address: str, port: int, within_s: float | None) -> httpcore2.AsyncNetworkStream:
        self.connected.append(address)
        return await httpcore2.AnyIOBackend().connect_tcp("127.0.0.1", self.port, timeout=within_s)


async def refusal(url: str, names: Names, **options) -> Fail:
    async with Client(caged=True, network=names, **options) as client:
        with pytest.raises(Fail) as caught:
            await client.get(url)
    return caught.value


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_passes(address):
    assert str(check_address(address)) == address


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused(address):
    with pytest.raises(Refused):
        check_address(address)


@pytest.mark.parametrize("how", EMBEDDINGS)
@pytest.mark.parametrize("inside", V4_INSIDE, ids=str)
def test_an_address_inside_is_refused_in_whatever_ipv6_it_hides(how, inside):
    with pytest.raises(Refused):
        check_address(EMBEDDINGS[how](inside))


@pytest.mark.parametrize("how", sorted(set(EMBEDDINGS) - NEVER))
def test_a_public_address_inside_ipv6_passes(how):
    check_address(EMBEDDINGS[how](ipaddress.IPv4Address(PUBLIC)))


@given(st.integers(min_value=0, max_value=2**128 - 1))
def test_what_passes_is_global_and_outside_the_ranges_of_the_inside(number):
    address = ipaddress.IPv6Address(number)
    try:
        check_address(str(address))
    except Refused:
        return
    assert address.is_global
    assert number >> 125 == 1 or address in ipaddress.ip_network("64:ff9b::/96") or address.ipv4_mapped is not None


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_never_passes(address):
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        with pytest.raises(Refused):
            check_address(str(address))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc/passwd",
            "gopher://example.com/",
            "ftp://example.com/",
            "javascript:alert(1)",
            "data:,x",
            "//x/y",
        ),
        *("http://user:canary@example.com/", "http://canary@example.com/", "http://@127.0.0.1/", "http:///x", "", "x"),
        *(
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://db.internal/",
            "http://printer.local",
        ),
        *("http://redis/", "http://metadata/", "http://router.home.arpa/"),
        *("http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0x/", "http://0177.0.0.1/"),
        *("http://017700000001/", "http://127.1/", "http://127.0.1/", "http://127.0.0.1./", "http://1.2.3.4.5/"),
        *("http://example.0x7f/", "http://127.0.0.0x1/", "http://%31%32%37.0.0.1/", "http://127\u30020\u30020\u30021/"),
        *(
            "http://\uff11\uff12\uff17.0.0.1/",
            "http://\u24dbocalhost/",
            "http://a..b/",
            "http://exa%20mple.com/",
            "http://a\x00.com/",
        ),
        *(f"http://[{address}]/" if ":" in address else f"http://{address}/" for address in INSIDE),
        *(f"http://[{hide(V4_INSIDE[0])}]/" for hide in EMBEDDINGS.values()),
        "https://[::1%25eth0]/",
        "https://[v1.fe80::a]/",
    ],
)
async def test_a_url_that_leads_inside_is_refused_before_anything_is_resolved_or_connected(url):
    names = Names()
    came = await refusal(url, names)
    assert (names.asked, names.connected) == ([], [])
    assert "canary" not in str(came)


@pytest.mark.parametrize("address", [*INSIDE, *(hide(V4_INSIDE[0]) for hide in EMBEDDINGS.values()), "garbage"])
async def test_a_name_that_resolves_inside_is_refused(address):
    names = Names(feed_example_com=[[address]])
    await refusal("http://feed.example.com/", names)
    mixed = Names(feed_example_com=[[PUBLIC, address]])
    await refusal("http://feed.example.com/", mixed)
    assert names.connected + mixed.connected == []


async def test_a_name_that_changes_between_check_and_connect_changes_nothing(service):
    names = Names(service.port, rebind_example_com=[[PUBLIC], ["127.0.0.1"]])
    async with Client(caged=True, network=names) as client:
        assert (await client.get("http://rebind.example.com/")).status == 200
    assert names.asked == ["rebind.example.com"]
    assert names.connected == [PUBLIC], "the address that was checked, and no name"


async def test_a_name_that_changes_later_is_refused_at_the_next_connection(service):
    service.answer("/", lambda _request: Response(headers={"connection": "close"}))
    names = Names(service.port, rebind_example_com=[[PUBLIC], ["127.0.0.1"]])
    async with Client(caged=True, network=names) as client:
        await client.get("http://rebind.example.com/")
        with pytest.raises(Fail, match="not a public address"):
            await client.get("http://rebind.example.com/")
    assert names.connected == [PUBLIC]


@pytest.mark.parametrize("hop", [1, 2, 5, 20])
@pytest.mark.parametrize(
    "inside",
    [
        *(
            "http://127.0.0.1/secret",
            "http://inside.example.com/secret",
            "file:///etc/passwd",
            "http://[::ffff:127.0.0.1]/",
        ),
        *("http://user:canary@example.org/", "http://2130706433/", "http://localhost./", "//169.254.169.254/latest"),
    ],
)
async def test_a_redirect_is_checked_like_a_first_url_at_every_hop(service, hop, inside):
    for number in range(1, hop):
        service.answer(f"/{number}", RedirectResponse(f"http://hop{number}.example.com/{number + 1}"))
    service.answer(f"/{hop}", RedirectResponse(inside))
    names = Names(service.port, inside_example_com=[["10.0.0.1"]])
    await refusal("http://example.com/1", names, redirects=20)
    assert len(service.seen) == hop, "nothing was asked after the last good hop"
    assert set(names.connected) == {PUBLIC}
    assert not {"2130706433", "localhost.", "example.org"} & set(names.asked)


async def test_a_redirect_to_a_name_that_has_changed_is_refused(service):
    service.answer("/1", RedirectResponse("http://b.example.com/2"))
    names = Names(service.port, b_example_com=[["fd00::1"]])
    await refusal("http://a.example.com/1", names, redirects=5)
    assert (len(service.seen), names.connected) == (1, [PUBLIC])


async def test_an_honest_redirect_is_followed(service):
    service.answer("/old", RedirectResponse("http://www.example.com/new?x=1", 301))
    names = Names(service.port)
    async with Client(caged=True, network=names, redirects=1) as client:
        answer = await client.get("http://example.com/old")
    assert answer.url == "http://www.example.com/new?x=1"
    assert [seen.headers["host"] for seen in service.seen] == ["example.com", "www.example.com"]


async def test_tls_and_host_keep_the_name_of_the_url_while_the_address_is_dialled():
    class Listening(httpcore2.AsyncNetworkStream):
        async def start_tls(self, ssl_context, server_hostname=None, timeout=None):
            said.append((server_hostname, ssl_context.check_hostname, ssl_context.verify_mode))
            raise httpcore2.ConnectError

        async def aclose(self):
            pass

    class Dialled(Names):
        async def connect(self, address, port, within_s):
            self.connected.append(address)
            return Listening()

    said: list[tuple] = []
    names = Dialled()
    async with Client(caged=True, network=names) as client:
        with pytest.raises(Retryable):
            await client.get("https://feed.example.com/")
    assert said == [("feed.example.com", True, ssl.CERT_REQUIRED)]
    assert names.connected == [PUBLIC]


async def test_addresses_are_tried_in_turn_and_no_more_than_a_few(service):
    class Far(Names):
        async def connect(self, address, port, within_s):
            if address != "8.8.8.8":
                self.connected.append(address)
                raise httpcore2.ConnectTimeout
            return await super().connect(address, port, within_s)

    near = Far(service.port, a_example_com=[["1.1.1.1", "8.8.8.8"]])
    far = Far(service.port, a_example_com=[[f"1.1.1.{number}" for number in range(1, 40)]])
    async with Client(caged=True, network=near) as client:
        assert (await client.get("http://a.example.com/")).status == 200
    async with Client(caged=True, network=far) as client:
        with pytest.raises(Retryable, match="no connection in time"):
            await client.post("http://a.example.com/")
    assert near.connected == ["1.1.1.1", "8.8.8.8"]
    assert len(far.connected) == 4


async def test_a_name_that_does_not_resolve_or_hangs_is_retryable():
    class Gone(Names):
        async def resolve(self, host, port):
            raise OSError("canary")

    class Empty(Names):
        async def resolve(self, host, port):
            return []

    class Slow(Names):
        async def resolve(self, host, port):
            await __import__("asyncio").Event().wait()

    for names in (Gone(), Empty(), Slow()):
        async with Client(caged=True, network=names, connect="50ms") as client:
            with pytest.raises(Retryable, match="no connection"):
                await client.get("http://a.example.com/")


async def test_the_environment_names_no_proxy(service, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    names = Names(service.port)
    async with Client(caged=True, network=names) as caged, Client() as plain:
        assert (await caged.get("http://example.com/")).status == 200
        assert (await plain.get(service.url)).status == 200


async def test_a_refused_credential_of_a_users_address_stops_nobody_else(service):
    service.answer("/", Response(status_code=401))
    assert "answered 401" in str(await refusal("http://example.com/", Names(service.port)))


def test_a_caged_client_cannot_have_a_base_inside():
    with pytest.raises(ConfigError, match="base_url= of Client"):
        Client(caged=True, base_url="http://127.0.0.1/")


async def test_without_a_cage_the_inside_can_be_reached(service):
    async with Client() as client:
        assert (await client.get(service.url)).status == 200


async def test_the_real_name_service_of_the_cage_gives_addresses():
    assert "127.0.0.1" in await Network().resolve("127.0.0.1", 80)
