"""Distinguishes addresses from names."""

from __future__ import annotations

import ipaddress

__all__ = ["is_address"]


def is_address(text: str) -> bool:
    """Whether *text* is an IPv4 or IPv6 address, as `ipaddress` reads it: ``1.2.3`` is a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
