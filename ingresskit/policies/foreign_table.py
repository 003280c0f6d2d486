"""What is known of the annotations of other controllers: data for `ForeignAnnotations`.

Sources: the documentation of each controller, read 2026-11. Only what protects, what has a native
counterpart and what needs advice is listed; any other name under a prefix gets the plain Diagnostic. Rate
limits are no protection here: without them no client gets what it may not have, and a closed route would be
the outage that they are there to prevent.
"""

from __future__ import annotations

from typing import Final

from ingresskit.policies.foreign import ForeignFamily
from ingresskit.policies.foreign_clouds import CLOUDS
from ingresskit.policies.foreign_proxies import PROXIES

__all__ = ["FOREIGN_FAMILIES"]

FOREIGN_FAMILIES: Final[tuple[ForeignFamily, ...]] = (*PROXIES, *CLOUDS)
"""Every controller that is known, none twice under one prefix."""
