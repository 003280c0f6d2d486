"""Constant traffic through a proxy while it is changed: endpoints, clients and changes, each on their own.

Endpoints and clients are processes: what a test does in its event loop delays none of them, and a proxy
in that loop is measured as any other. Everything is on 127.0.0.1 and bounded in time.
"""

from ingresskit.testing.traffic.changes import Change, TrafficScript
from ingresskit.testing.traffic.probe import Look, look_at
from ingresskit.testing.traffic.processes import Endpoints, Traffic, open_endpoints, open_traffic
from ingresskit.testing.traffic.report import TrafficReport, TrafficSettings

__all__ = [
    "Change",
    "Endpoints",
    "Look",
    "Traffic",
    "TrafficReport",
    "TrafficScript",
    "TrafficSettings",
    "look_at",
    "open_endpoints",
    "open_traffic",
]
