"""Ranges as hexadecimal prefixes take exactly their numbers."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.render.haproxy.prefixes import network_prefixes, range_prefixes

_NUMBERS = st.integers(0, 16**3)


@given(_NUMBERS, _NUMBERS)
def test_prefixes_take_exactly_the_range(one: int, other: int) -> None:
    first, end = sorted((one, other))

    prefixes = list(range_prefixes(first, end, 3))

    taken = [number for number in range(16**3) if f"{number:03X}".startswith(tuple(prefixes))]
    assert taken == list(range(first, end))
    assert len(prefixes) <= 90
    assert not any(one != other and other.startswith(one) for one in prefixes for other in prefixes)


@given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
def test_networks_take_exactly_their_addresses(
    address: ipaddress.IPv4Address, length: int, client: ipaddress.IPv4Address
) -> None:
    network = ipaddress.ip_network((address, length), strict=False)

    prefixes = list(network_prefixes([network]))

    assert {version for version, _ in prefixes} == {4}
    assert f"{int(client):08X}".startswith(tuple(prefix for _, prefix in prefixes)) == (client in network)
    assert f"{int(address):08X}".startswith(tuple(prefix for _, prefix in prefixes))


@given(st.ip_addresses(v=6), st.integers(0, 128))
def test_ipv6_networks_are_a_few_prefixes(address: ipaddress.IPv6Address, length: int) -> None:
    network = ipaddress.ip_network((address, length), strict=False)

    prefixes = [prefix for version, prefix in network_prefixes([network]) if version == 6]

    assert 1 <= len(prefixes) <= 8
    for inside in (network.network_address, network.broadcast_address, address):
        assert f"{int(inside):032X}".startswith(tuple(prefixes))
    if length:
        outside = int(network.network_address) - 1 if int(network.network_address) else network.num_addresses
        assert not f"{outside:032X}".startswith(tuple(prefixes))
