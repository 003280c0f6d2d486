"""Rendering for the in-process proxy: the graph as a routing table."""

from ingresskit.filters.ranges import AddressRanges
from ingresskit.render.inprocess.renderer import InProcessRenderer
from ingresskit.render.inprocess.table import HostTable, RoutingTable, Target

__all__ = ["AddressRanges", "HostTable", "InProcessRenderer", "RoutingTable", "Target"]
