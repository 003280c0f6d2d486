"""Rendering for the in-process proxy: the graph as a routing table."""

from ingresskit.render.inprocess.change import MapChange, TableChange, table_change
from ingresskit.render.inprocess.mixed import MixedHostTable, PatternTargets
from ingresskit.render.inprocess.renderer import InProcessRenderer, stream_targets
from ingresskit.render.inprocess.table import (
    HostTable,
    ResponseEdits,
    RetryRule,
    RoutingTable,
    StreamTarget,
    Target,
)
from ingresskit.render.inprocess.targets import TargetMaker

__all__ = [
    "HostTable",
    "InProcessRenderer",
    "MapChange",
    "MixedHostTable",
    "PatternTargets",
    "ResponseEdits",
    "RetryRule",
    "RoutingTable",
    "StreamTarget",
    "TableChange",
    "Target",
    "TargetMaker",
    "stream_targets",
    "table_change",
]
