"""Which addresses requests may be sent to, whatever an EndpointSlice holds."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ingresskit.policies.values import Network

__all__ = ["DestinationPolicy"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REFUSED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("unspecified", ("0.0.0.0/8", "::/128")),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("broadcast or reserved", ("240.0.0.0/4",)),
    # Metadata services outside link-local: AWS and Google over IPv6, Alibaba Cloud, Oracle Cloud, and
    # what Azure's agents get settings and keys of a machine from.
    (
        "cloud metadata",
        (
            "fd00:ec2::254/128",
            "fd20:ce::254/128",
            "100.100.100.200/32",
            "192.0.0.192/32",
            "168.63.129.16/32",
        ),
    ),
)
_NETWORKS = tuple((name, ipaddress.ip_network(network)) for name, networks in _REFUSED for network in networks)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
# Where RFC 6052, section 2.2 puts the four octets behind a prefix of 48, 56 and 64 bits; octet 8 stays free.
_LOCAL_NAT64_OCTETS = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12))
_LAST_32_BITS = (_NAT64, _LOCAL_NAT64, ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("::ffff:0:0:0/96"))
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationPolicy:
    """Refuses loopback, unspecified, link-local, metadata, multicast and reserved addresses.

    An IPv6 spelling of an IPv4 address (mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP)
    is judged as that address.

    Attributes:
        allow: Ranges in which every address is let through.
        external_names: Whether Services of type ExternalName are served at all. Their name is looked
            up by the proxy when it connects, and each address it gets is judged by this policy then.

    Source: Kubernetes advisory CVE-2021-25740 (endpoint writers can point anywhere).
    """

    allow: tuple[Network, ...] = ()
    external_names: bool = False

    def fault(self, address: str) -> str | None:
        """Why *address* may not be a destination, as a clause; ``None`` when it may.

        Args:
            address: A literal IPv4 or IPv6 address; anything else, zone identifiers included, is a fault.
        """
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return "is not an IP address"
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.scope_id is not None:
            return "has a zone identifier"
        spellings = (parsed, *_embedded(parsed))
        if any(parsed in network for network in self.allow):
            return None
        for item in spellings:
            # An address may stand for several others; to be allowed one of them does not make up for the rest.
            if any(item in network for network in self.allow):
                continue
            for name, network in _NETWORKS:
                if item in network:
                    return f"is a {name} address, which no endpoint may have"
        return None


def _embedded(address: Address) -> tuple[Address, ...]:
    """The IPv4 addresses that an IPv6 address stands for.

    Source: RFC 4291, 2.5.5 (mapped, compatible), 2765 (translated), 3056 (6to4), 4380 (Teredo), 5214
    (ISATAP), 6052 and 8215 (NAT64).
    """
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    octets = address.packed
    found: list[Address] = []
    if address.ipv4_mapped is not None:
        found.append(address.ipv4_mapped)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    if octets[8:12] in _ISATAP or (int(address) > 1 and any(address in item for item in _LAST_32_BITS)):
        found.append(ipaddress.IPv4Address(octets[12:]))
    if address in _LOCAL_NAT64:
        others = (ipaddress.IPv4Address(bytes(octets[at] for at in places)) for places in _LOCAL_NAT64_OCTETS)
        # An address of the 96-bit form has zeros there, and is not 0.0.0.0 for that.
        found.extend(item for item in others if item.packed[0])
    return tuple(found)
