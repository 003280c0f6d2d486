"""Address ranges, asked for each request: an allow list may have ten thousand of them."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable

from ingresskit.policies.values import Network

__all__ = ["AddressRanges"]


class AddressRanges:
    """A set of addresses, made of *networks*; ``address in ranges`` takes a handful of comparisons.

    Immutable. True when it was made of any network. An IPv4 address mapped into IPv6 is not the IPv4
    address: whoever asks has unwrapped it.
    """

    __slots__ = ("_first", "_last", "networks")

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self.networks: tuple[Network, ...] = tuple(networks)
        ranges: list[tuple[int, int]] = []
        for network in sorted(self.networks, key=lambda item: (item.version, int(item.network_address))):
            first, last = _place(network.network_address), _place(network.broadcast_address)
            if ranges and first <= ranges[-1][1]:
                ranges[-1] = (ranges[-1][0], max(last, ranges[-1][1]))
            else:
                ranges.append((first, last))
        self._first: list[int] = [first for first, _ in ranges]
        self._last: list[int] = [last for _, last in ranges]

    def __contains__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        place = _place(address)
        index = bisect_right(self._first, place) - 1
        return index >= 0 and place <= self._last[index]

    def __bool__(self) -> bool:
        return bool(self.networks)

    def __eq__(self, other: object) -> bool:
        return self.networks == other.networks if isinstance(other, AddressRanges) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.networks)

    def __repr__(self) -> str:
        return f"AddressRanges({len(self.networks)} networks)"


def _place(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    """A number for each address of both families: all of IPv4 comes before all of IPv6."""
    return int(address) if address.version == 4 else int(address) + (1 << 32)
