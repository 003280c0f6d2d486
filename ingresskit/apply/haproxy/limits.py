"""How many connections a HAProxy can take within the limit of open files."""

from __future__ import annotations

import resource
from dataclasses import replace
from typing import Final

from ingresskit.render.haproxy import HaproxySettings

__all__ = ["affordable"]

_OTHER_FILES: Final = 300


def affordable(settings: HaproxySettings, *, servers: int = 0) -> HaproxySettings:
    """*settings* with as many connections as the limit of open files allows, 1 at least.

    HAProxy's checker does not look at that limit, and its worker ends when it starts.

    Args:
        settings: The settings; returned as they are when the limit is high enough.
        servers: How many servers stand in the program. HAProxy keeps two files for each, to try whether it
            takes connections (seen with 2.6.12), and two for each connection of a client.
    """
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return settings
    most = max(1, min(settings.max_connections, (limit - _OTHER_FILES) // 2 - servers))
    return settings if most == settings.max_connections else replace(settings, max_connections=most)
