"""Putting an artifact live in a running HAProxy."""

from ingresskit.apply.haproxy.applier import HaproxyApplier
from ingresskit.apply.haproxy.files import preview
from ingresskit.apply.haproxy.haproxy import Haproxy
from ingresskit.apply.haproxy.options import HaproxyOptions
from ingresskit.apply.haproxy.slots import PoolSettings
from ingresskit.apply.haproxy.statistics import HaproxyBackendStatistics, HaproxyStatistics

__all__ = [
    "Haproxy",
    "HaproxyApplier",
    "HaproxyBackendStatistics",
    "HaproxyOptions",
    "HaproxyStatistics",
    "PoolSettings",
    "preview",
]
