"""Names of header fields that a program keeps although no policy uses them at the moment. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Final

from ingresskit.policies import Origin
from ingresskit.render.haproxy import Needs

__all__ = ["remembering"]

_MOST: Final = 100


def remembering(needs: Needs, before: Needs | None) -> Needs:
    """*needs*, and the names of header fields that the program *before* knew.

    A name that policies set, drop and set again then costs one reload. Each name costs requests of routes
    with such policies a little time, so on each side at most 100 are kept beside those in use, those that
    were in use last first.
    """
    if before is None:
        return needs
    return replace(
        needs,
        request_headers=_kept(needs.request_headers, before.request_headers),
        response_headers=_kept(needs.response_headers, before.response_headers),
    )


def _kept(now: Mapping[str, Origin], before: Mapping[str, Origin]) -> Mapping[str, Origin]:
    dropped = ((name, origin) for name, origin in before.items() if name not in now)
    return {**now, **dict(islice(dropped, _MOST))}
