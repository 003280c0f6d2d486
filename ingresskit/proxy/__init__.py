"""The in-process data plane: an HTTP/1.1 reverse proxy that serves routing tables."""

from ingresskit.proxy.access import AccessRecord
from ingresskit.proxy.listen.listener import Listener
from ingresskit.proxy.proxy import Proxy
from ingresskit.proxy.settings import ProxySettings
from ingresskit.proxy.statistics import DURATION_BOUNDS, BackendStatistics, EndpointStatistics, Statistics

__all__ = [
    "DURATION_BOUNDS",
    "AccessRecord",
    "BackendStatistics",
    "EndpointStatistics",
    "Listener",
    "Proxy",
    "ProxySettings",
    "Statistics",
]
