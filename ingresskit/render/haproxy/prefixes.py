"""Ranges of numbers as hexadecimal prefixes, for maps that find the longest prefix of a key.

HAProxy's map of prefixes is a tree: looking a key up costs the same among ten rows and ten thousand. So
an allow list of thousands of networks is one look-up of the client's address in hexadecimal, and a share
of requests is one look-up of a random number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ingresskit.policies.values import Network

__all__ = ["network_prefixes", "range_prefixes"]


def range_prefixes(first: int, end: int, digits: int) -> Iterator[str]:
    """The prefixes that exactly the numbers from *first* up to, not including, *end* begin with.

    Args:
        first: At least 0.
        end: At most ``16 ** digits``; an empty range has no prefixes.
        digits: Numbers are written with that many upper-case digits.

    Returns:
        In ascending order; at most ``30 * digits``. The empty prefix stands for all numbers.
    """
    while first < end:
        # The largest aligned block that begins here and does not reach beyond the end.
        size, length = 1, digits
        while length and first % (size * 16) == 0 and first + size * 16 <= end:
            size, length = size * 16, length - 1
        yield f"{first // size:0{length}X}" if length else ""
        first += size


def network_prefixes(networks: Iterable[Network]) -> Iterator[tuple[int, str]]:
    """For each network its IP version and the prefixes of the addresses in it, in hexadecimal.

    An IPv4 address has 8 digits, an IPv6 address 32.
    """
    for network in networks:
        digits = network.max_prefixlen // 4
        first = int(network.network_address)
        for prefix in range_prefixes(first, first + network.num_addresses, digits):
            yield network.version, prefix
