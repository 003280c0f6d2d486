"""Ranges of addresses as the Lua program compares them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ingresskit.policies.values import Network

__all__ = ["address_ranges"]


def address_ranges(networks: Iterable[Network]) -> list[str]:
    """Ranges as `lua/ingresskit/addresses.lua` compares them: first, last, first, last, …; merged, sorted."""
    ends = sorted((_text(item.network_address), _text(item.broadcast_address)) for item in networks)
    merged: list[str] = []
    for first, last in ends:
        if merged and first <= merged[-1]:
            merged[-1] = max(last, merged[-1])
        else:
            merged += [first, last]
    return merged


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    packed = address.packed
    return f"{'4' if len(packed) == 4 else '6'}{packed.hex()}"
