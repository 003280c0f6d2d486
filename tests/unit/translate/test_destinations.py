from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.policies.values import parse_networks
from ingresskit.translate import DestinationPolicy

_POLICY = DestinationPolicy()

_NASTY = ("127.0.0.1", "127.255.255.254", "169.254.169.254", "0.0.0.1", "224.0.0.1", "255.255.255.255")


def _spellings(address: str) -> list[str]:
    """The IPv6 forms that some host, router or library turns back into the IPv4 address."""
    packed = ipaddress.IPv4Address(address).packed
    number = int.from_bytes(packed, "big")
    two = f"{packed[0]:02x}{packed[1]:02x}", f"{packed[2]:02x}{packed[3]:02x}"
    flipped = number ^ 0xFFFFFFFF
    forms = [
        f"::ffff:{address}",
        f"::ffff:0:{address}",
        f"64:ff9b::{address}",
        f"64:ff9b:1::{address}",
        f"2002:{two[0]}:{two[1]}::1",
        f"2001:0:{two[0]}:{two[1]}::1",
        f"2001:0:a00:1:0:0:{flipped >> 16:x}:{flipped & 0xFFFF:x}",
        f"2001:db8::5efe:{address}",
        f"2001:db8::200:5efe:{address}",
    ]
    if number:  # with zeros these are other addresses
        forms += [f"64:ff9b:1:{two[0]}:{two[1][:2]}:{two[1][2:]}00::5"] if packed[0] else []
        forms += [f"::{address}"]
    return forms


@pytest.mark.parametrize("address", _NASTY)
def test_no_spelling_of_an_address_gets_past(address: str) -> None:
    assert _POLICY.fault(address)

    past = [spelling for spelling in _spellings(address) if _POLICY.fault(spelling) is None]
    assert not past


@given(st.ip_addresses(v=4))
def test_an_ordinary_address_is_judged_alike_in_every_spelling(address: ipaddress.IPv4Address) -> None:
    refused = _POLICY.fault(str(address)) is not None

    assert (_POLICY.fault(f"::ffff:{address}") is not None) is refused
    if refused:
        assert all(_POLICY.fault(spelling) for spelling in _spellings(str(address)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "localhost",
        "127.1",
        "0x7f.1",
        "2130706433",
        "127.0.0.1 ",
        "127.0.0.1\n",
        "[::1]",
        "::1%lo",
        "\uff11.1.1.1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert _POLICY.fault(text) is not None


@pytest.mark.parametrize(
    ("allowed", "address", "through"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.0/8", "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "::1", False),
        ("127.0.0.0/8", "169.254.169.254", False),
        ("::1/128", "::1", True),
        ("::1/128", "127.0.0.1", False),
        ("169.254.169.254/32", "169.254.169.253", False),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("10.0.0.0/8", "fe80::5efe:10.0.0.1", False),
        ("10.0.0.0/8", "2001:0:a00:1:0:0:80ff:fffe", False),
        ("127.0.0.0/8", "2001:0:7f00:1:0:0:80ff:fffe", True),
        ("2001::/32", "2001:0:a00:1:0:0:80ff:fffe", True),
    ],
)
def test_a_range_lets_through_what_is_in_it(allowed: str, address: str, through: bool) -> None:
    policy = DestinationPolicy(allow=parse_networks(allowed))

    assert (policy.fault(address) is None) is through


def test_an_allowed_range_lets_no_zone_through() -> None:
    assert DestinationPolicy(allow=parse_networks("fe80::/10")).fault("fe80::1%eth0") == "has a zone identifier"
