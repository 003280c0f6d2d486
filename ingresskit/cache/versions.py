"""Comparing resource versions, where that is allowed at all."""

from __future__ import annotations

__all__ = ["is_older"]


def is_older(version: str, than: str) -> bool:
    """Whether *version* is certainly the older one: both are decimal numbers and it is the smaller.

    Used to doubt, never to decide what to ask for. Source: Kubernetes API concepts, "Resource versions":
    numbers of one resource may be compared since 1.35, and other servers are free to use other text.
    """
    if not (version.isascii() and version.isdecimal() and than.isascii() and than.isdecimal()):
        return False
    # By length and digits, not as numbers: there is no telling how long they are.
    version, than = version.lstrip("0"), than.lstrip("0")
    return (len(version), version) < (len(than), than)
