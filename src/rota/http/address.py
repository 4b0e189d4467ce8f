"""Where a request may go: the URL as it is written, and the address as it is connected to.

Always true: a URL passes `check_url` before each request, redirected ones included; in the cage nothing is connected
to that did not pass `check_address`, and IPv6 addresses that carry an IPv4 address are judged by that one too. What is
not known to be public is refused.

Not here: resolving and connecting (network.py), following redirects (exchange.py).
"""

import ipaddress
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import httpx2

from rota.define.units import shown

Address = IPv4Address | IPv6Address

LOCAL_NAMES: Final = ("localhost", "localdomain", "local", "internal", "home.arpa")  # never public, whatever they say
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # the only part of IPv6 that is given out for the public network
_NAT64: Final = IPv6Network("64:ff9b::/96")  # IPv4 behind the well-known prefix of NAT64
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NOT_PUBLIC: Final = (  # what `is_global` of some Python versions lets through
    IPv4Network("192.0.0.0/24"),  # protocol assignments; clouds keep metadata there
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv4Network("168.63.129.16/32"),  # Azure's host, reached from inside only
    IPv6Network("3fff::/20"),  # documentation
)
_ISATAP: Final = (0x5EFE, 0x0200_5EFE)  # the upper half of an interface number that carries an IPv4 address
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.ASCII)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)


class Refused(Exception):
    """This client does not go there; the text names no secret."""


def check_url(url: httpx2.URL, *, caged: bool) -> None:
    """Raise `Refused` unless a request may go to this URL; called for each hop, by `exchange.py` alone."""
    if url.scheme not in {"http", "https"}:
        raise Refused(f"only http and https are spoken, not {shown(url.scheme)}")
    if not url.host:
        raise Refused("the URL has no host")
    if not is_host(url.host):
        raise Refused("the host has characters that no name has")
    if url.userinfo:
        raise Refused("credentials in a URL end up in logs: put them into a header")
    if caged:
        _check_host(url.host.lower())


def is_host(host: str) -> bool:
    """Whether it is written like a name or an address at all, so that it may be told."""
    return is_address(host) or _NAME.fullmatch(host.lower()) is not None


def _check_host(host: str) -> None:
    """A host is a plain address, or a name that can be one of the public network."""
    if is_address(host):
        check_address(host)
        return
    labels = host.rstrip(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        raise Refused("the host is a number that hides an address")
    bare = ".".join(labels)
    if len(labels) == 1 or any(bare == name or bare.endswith(f".{name}") for name in LOCAL_NAMES):
        raise Refused(f"{shown(bare)} is a name of the inside")


def is_address(host: str) -> bool:
    """Whether the host is an address as it stands, which needs no name service."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_address(text: str) -> Address:
    """The address, if it is a public one; else `Refused`."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Refused("the host is no address that can be read") from None
    if not _is_public(address):
        raise Refused(f"{address} is not a public address")
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return _is_open(address)
    carried = list(_carried(address))
    if not all(_is_open(each) for each in carried):
        return False
    if address in _MAPPED or address in _NAT64:
        return bool(carried)
    return address.scope_id is None and address in _GLOBAL_UNICAST and _is_open(address)


def _is_open(address: Address) -> bool:
    """What the registries call global, less what is not a host on the public network."""
    closed = address.is_multicast or address.is_reserved or address.is_unspecified
    inside = any(address.version == net.version and address in net for net in _NOT_PUBLIC)
    return address.is_global and not closed and not inside


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses inside: mapped, NAT64, 6to4, both of Teredo, ISATAP."""
    number = int(address)
    if address in _MAPPED or address in _NAT64:
        yield IPv4Address(number & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if (number >> 32) & 0xFFFF_FFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFF_FFFF)
