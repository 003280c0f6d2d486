"""Where the proxy of this process runs: its node and its zone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ingresskit.app.flags import Flags
from ingresskit.errors import ApiError, DecodeError, TransportError
from ingresskit.facts import FactLogger
from ingresskit.models import Node, decode
from ingresskit.translate import Place

if TYPE_CHECKING:
    from ingresskit.kube import Transport

__all__ = ["place_of"]

_LABEL: Final = "topology.kubernetes.io/zone"


async def place_of(flags: Flags, transport: Transport | None, logger: FactLogger) -> Place:
    """What flags say, else the environment, else for the zone the label of the node.

    A node that cannot be read is reported, and nothing is preferred by its zone.
    """
    node = flags.node_name or os.environ.get("NODE_NAME", "")
    zone = flags.zone or os.environ.get("NODE_ZONE", "")
    if node and not zone and transport is not None:
        from ingresskit.kube import ResourceKind

        try:
            response = await transport.request("GET", ResourceKind.of(Node).path(name=node))
            zone = decode(Node, response.body).metadata.labels.get(_LABEL, "")
        except (ApiError, TransportError, DecodeError) as exc:
            facts = {"node": node, "error": str(exc)}
            logger.warning("the zone of the node is not known; no endpoint is preferred by it", extra=facts)
    return Place(zone=zone, node=node)
