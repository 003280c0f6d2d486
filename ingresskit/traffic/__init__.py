"""What proxies count, in one shape, and the metrics that it gives."""

from ingresskit.traffic.durations import DURATION_BOUNDS, DurationTally, duration_family
from ingresskit.traffic.families import Measured, MetricFamily, MetricKind, Sample, counter, gauge, labelled
from ingresskit.traffic.health import EndpointHealth, health_families, worse
from ingresskit.traffic.inprocess import EndpointStatistics, InProcessStatistics
from ingresskit.traffic.statistics import (
    BackendStatistics,
    ProxyStatistics,
    Share,
    TimedProxyStatistics,
    shares,
)

__all__ = [
    "DURATION_BOUNDS",
    "BackendStatistics",
    "DurationTally",
    "EndpointHealth",
    "EndpointStatistics",
    "InProcessStatistics",
    "Measured",
    "MetricFamily",
    "MetricKind",
    "ProxyStatistics",
    "Sample",
    "Share",
    "TimedProxyStatistics",
    "counter",
    "duration_family",
    "gauge",
    "health_families",
    "labelled",
    "shares",
    "worse",
]
