"""Values as ingress-nginx writes them: each is read whole, or refused with the rule that it breaks.

Source: ingress-nginx at dbb11b92d, ``internal/ingress/annotations/parser``: Go's ParseBool and Atoi, sizes of
nginx, and networks that may have host bits set.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta

from ingresskit.policies.kinds.limits import BY_ADDRESS, ClientKey, parse_client_key
from ingresskit.policies.kinds.requests import exact_pattern, search_pattern
from ingresskit.policies.values import Network, parse_byte_size, parse_location

__all__ = [
    "parse_client_variable",
    "parse_count",
    "parse_go_boolean",
    "parse_go_integer",
    "parse_key",
    "parse_map_patterns",
    "parse_networks_loosely",
    "parse_seconds",
    "parse_size",
    "parse_switch",
    "parse_url",
]

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_LONGEST = 86_400
_NAME = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"


def parse_go_boolean(text: str) -> bool:
    """``true``, ``1``, ``t`` and the like, as Go reads them."""
    if (value := _BOOLEANS.get(text)) is None:
        raise ValueError("must be true or false")
    return value


def parse_go_integer(text: str) -> int:
    """A whole number, maybe with a sign, of ten digits at most."""
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text):
        raise ValueError("must be a whole number")
    return int(text)


def parse_switch(text: str) -> bool:
    """``on`` or ``off``."""
    if text not in ("on", "off"):
        raise ValueError("must be on or off")
    return text == "on"


def parse_count(text: str) -> int:
    """A whole number from 0, which is no limit, to a million."""
    if not 0 <= (count := parse_go_integer(text)) <= 1_000_000:
        raise ValueError("must be a whole number from 0, which is no limit, to 1000000")
    return count


def parse_client_variable(text: str) -> ClientKey:
    """A variable that tells clients apart: ``$binary_remote_addr``, ``$http_NAME``, ``$cookie_NAME``."""
    if text in ("$binary_remote_addr", "$remote_addr"):
        return BY_ADDRESS
    if found := re.fullmatch(r"\$http_([a-z0-9_]{1,100})", text):
        return parse_client_key(f"header:{found[1].replace('_', '-')}")
    if found := re.fullmatch(r"\$cookie_([A-Za-z0-9_]{1,100})", text):
        return parse_client_key(f"cookie:{found[1]}")
    raise ValueError("must be $binary_remote_addr, $http_NAME or $cookie_NAME")


def parse_seconds(text: str) -> timedelta:
    """A number of seconds without unit, from 1; more than a day is a day."""
    seconds = parse_go_integer(text)
    if seconds < 1:
        raise ValueError("must be a number of seconds without unit, from 1")
    return timedelta(seconds=min(seconds, _LONGEST))


def parse_size(text: str) -> int:
    """A size of nginx in bytes: ``8m``, ``512K``, ``100b``; 0: no limit."""
    try:
        return parse_byte_size(re.sub(r"(?<=[0-9])[bB]$", "", text))
    except ValueError:
        raise ValueError("must be a size such as 8m, or 0 for no limit") from None


def parse_url(text: str) -> str:
    """An ``http`` or ``https`` URL. nginx variables in it would be sent as they are, so they are refused."""
    if "$" in text:
        raise ValueError("must be an http or https URL without variables: $ is not expanded")
    if text.startswith("/"):
        raise ValueError("must be an http or https URL")
    return parse_location(text)


def parse_networks_loosely(text: str) -> tuple[Network, ...]:
    """Addresses and ranges separated by commas, sorted, each once; bits behind the prefix do not matter."""
    networks: set[Network] = set()
    for part in text.split(","):
        try:
            if not re.fullmatch(r"[0-9A-Fa-f.:]{2,45}(?:/[0-9]{1,3})?", part.strip()):
                raise ValueError
            networks.add(ipaddress.ip_network(part.strip(), strict=False))
        except ValueError:
            raise ValueError("must be addresses or ranges separated by commas, such as 10.0.0.0/8") from None
    return tuple(sorted(networks, key=lambda item: (item.version, item.network_address.packed, item.prefixlen)))


def parse_key(text: str) -> tuple[str, str]:
    """A namespace and a name, written ``NAMESPACE/NAME``."""
    if not (found := re.fullmatch(f"({_NAME})/({_NAME})", text)):
        raise ValueError("must be NAMESPACE/NAME")
    return found[1], found[2]


def parse_map_patterns(text: str) -> tuple[str, ...]:
    """Keys of a ``map`` of nginx, separated by commas, as patterns: a text in either case, ``~`` or ``~*``.

    A text is the whole value; a regular expression, which ``~*`` matches in either case, is found anywhere.
    """
    found: dict[str, None] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            if part.startswith("~"):
                ignore_case = part.startswith("~*")
                found[search_pattern(part[2 if ignore_case else 1 :], ignore_case=ignore_case)] = None
            else:
                found[exact_pattern(part)] = None
        except ValueError as exc:
            raise ValueError(f"{part[:80]!a} {exc}") from None
    return tuple(found)
