"""Hosts of rules and hosts of requests, in one normal form."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["ANY_HOST", "HostRefused", "host_candidates", "normalise_host", "rule_host", "wildcard_above"]

ANY_HOST = "*"
"""The host of rules without one."""

# RFC 1123 labels; the API server also limits the whole to 253 characters. A label of more than 63
# characters passes the API server and can never be a DNS name.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_RULE_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_IP_LIKE = re.compile(r"[0-9.]+")
# Requests are read more kindly than rules: browsers send names with underscores.
_REQUEST_HOST_PORT = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{0,254}[A-Za-z0-9_-])\.?(?::[0-9]{0,5})?"
)


class HostRefused(ValueError):
    """Raised when a host cannot be one. Its text is a clause: ``"is not a DNS name"``."""


def rule_host(text: str | None) -> str:
    """The normal form of the host of a rule.

    Args:
        text: As the Ingress has it; ``None`` and empty mean any host.

    Returns:
        A lower-case name, ``*.`` and a lower-case name, or `ANY_HOST`.

    Raises:
        HostRefused: It is neither, or an IP address.

    Source: Kubernetes API validation of ``spec.rules[].host``; RFC 1123, section 2.1.
    """
    if not text:
        return ANY_HOST
    host = text.lower()
    # Before: the lower case of the Kelvin sign is a plain k.
    if not text.isascii() or len(host) > 253 or not _RULE_HOST.fullmatch(host):
        raise HostRefused("is not a DNS name, nor *. and a DNS name")
    if _IP_LIKE.fullmatch(host):
        raise HostRefused("is an IP address; hosts are names")
    return host


def normalise_host(text: str) -> str:
    """The normal form of the host a client asks for.

    Args:
        text: A ``Host`` field or ``:authority``, with or without a port.

    Returns:
        It in lower case without port and without one trailing dot.

    Raises:
        HostRefused: It is empty or has a character that no host has; the request gets 400.

    Source: RFC 9110, section 7.2; RFC 3986, section 3.2.2.
    """
    if found := _REQUEST_HOST_PORT.fullmatch(text):
        return found["host"].lower()
    raise HostRefused("is not a host, optionally with a port")


def host_candidates(host: str) -> Iterator[str]:
    """The rule hosts that take a request host, most specific first: itself, one wildcard, any."""
    yield host
    _, dot, parent = host.partition(".")
    if dot and not host.startswith((".", "[")):
        yield f"*.{parent}"
    yield ANY_HOST


def wildcard_above(host: str) -> str:
    """The wildcard that takes requests for a rule host when the host itself is not claimed.

    Args:
        host: In normal form: a name, ``*.`` and a name, or `ANY_HOST`.

    Returns:
        ``"*.test"`` for ``"shop.test"``; empty for names of one label, for wildcards and for `ANY_HOST`:
        a wildcard stands for exactly one label, and no label is ``*``.
    """
    label, dot, parent = host.partition(".")
    return f"*.{parent}" if dot and label != "*" else ""
