"""Metrics in the text format of Prometheus, made at each scrape from the statistics.

Nothing but the delay of the event loop is counted here, so nothing can drift: the collector reads one
immutable value per scrape.
Labels are of our making (reasons, kinds, stages, classes of status), or capped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import accumulate
from typing import NoReturn

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from typing_extensions import override

from ingresskit.controller.change_clock import CHANGE_BOUNDS
from ingresskit.controller.health import Health
from ingresskit.controller.loop_delay import LoopDelay
from ingresskit.controller.outcome import graph_counts
from ingresskit.controller.planes import LabelCap, StatisticsSource, capped
from ingresskit.controller.statistics import ControllerStatistics, ControllerView, State
from ingresskit.controller.version import package_version
from ingresskit.graph import RouteGraph
from ingresskit.traffic import EndpointHealth, MetricFamily, MetricKind, ProxyStatistics

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_MOST_LABELS = 200


class Metrics:
    """The metrics of a controller, and of whatever carries its traffic.

    All begin with ``ingresskit_``, but for those of the process (``process_…``: processor, memory, open files)
    and of the interpreter (``python_…``).

    Args:
        controller: Whose.
        health: For ``ingresskit_ready`` and ``ingresskit_healthy``; that of the controller alone when ``None``.
        planes: By name, what else is scraped: ``{"proxy": proxy}`` gives ``ingresskit_proxy_…``, as
            its statistics state them. At most 200 values of a label that tenants make (backends) have series
            of their own; the rest share ``(other)``.
    """

    def __init__(
        self,
        controller: ControllerView,
        *,
        health: Health | None = None,
        planes: Mapping[str, StatisticsSource] | None = None,
    ) -> None:
        # One of our own: the library's global registry belongs to whoever uses us.
        self._registry = CollectorRegistry(auto_describe=False)
        self._loop_delay = LoopDelay()
        self._registry.register(
            _ControllerCollector(controller, health or Health(controller), self._loop_delay)
        )
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._planes = dict(planes or {})
        for name, plane in self._planes.items():
            self._registry.register(_PlaneCollector(name, plane))

    @property
    def registry(self) -> CollectorRegistry:
        """The registry, for collectors of your own."""
        return self._registry

    def unwell_endpoints(self) -> Mapping[str, EndpointHealth]:
        """The endpoints that are not well, by ``address:port``, as far as what carries the traffic knows."""
        found: dict[str, EndpointHealth] = {}
        for plane in self._planes.values():
            counts = plane.statistics()
            if isinstance(counts, ProxyStatistics):
                found.update(counts.unwell_endpoints())
        return dict(sorted(found.items()))

    def unwritten_state(self) -> str:
        """Why what is served is not in the state folder of whatever carries the traffic; empty: it is."""
        for plane in self._planes.values():
            counts = plane.statistics()
            if isinstance(counts, ProxyStatistics) and counts.unwritten:
                return counts.unwritten
        return ""

    async def run(self) -> NoReturn:
        """Measure how late the event loop is, until cancelled; `AdminServer` does this for its metrics."""
        await self._loop_delay.run()

    def text(self) -> bytes:
        """Everything now, in the text format `CONTENT_TYPE`."""
        return generate_latest(self._registry)


class _ControllerCollector(Collector):
    def __init__(self, controller: ControllerView, health: Health, loop_delay: LoopDelay) -> None:
        self._controller = controller
        self._health = health
        self._loop_delay = loop_delay
        self._counted: tuple[RouteGraph | None, Mapping[str, int]] = (None, {})

    @override
    def collect(self) -> Iterator[Metric]:
        yield from self._about()
        yield from self._loop()
        yield from self._content()

    def _about(self) -> Iterator[Metric]:
        about = {"version": package_version(), "renderer": self._controller.renderer_name}
        yield InfoMetricFamily("ingresskit_build", "What is running.", about)
        ready, healthy = self._health.readiness().ok, self._health.liveness().ok
        yield GaugeMetricFamily("ingresskit_ready", "1 while /readyz is good.", ready)
        yield GaugeMetricFamily("ingresskit_healthy", "1 while /healthz is good.", healthy)

    def _loop(self) -> Iterator[Metric]:
        now = self._controller.statistics()
        running = now.state is State.RUNNING
        yield GaugeMetricFamily("ingresskit_running", "1 while the loop runs.", running)
        for name, revision in (("seen", now.revision_seen), ("applied", now.revision_applied)):
            text = f"The newest snapshot revision that was {name}; absent before the first."
            family = GaugeMetricFamily(f"ingresskit_revision_{name}", text)
            if revision is not None:
                family.add_metric((), revision)
            yield family
        yield SummaryMetricFamily(
            "ingresskit_pass_duration_seconds",
            "Passes and the time they took, settling and waiting not counted.",
            now.passes - (now.pass_running is not None),
            now.passes_duration.total_seconds(),
        )
        stalled = 0.0 if now.pass_running is None else now.pass_running.total_seconds()
        yield GaugeMetricFamily(
            "ingresskit_pass_running_seconds",
            "How long the pass under way has taken; 0 between passes.",
            stalled,
        )
        applies = CounterMetricFamily(
            "ingresskit_applies", "Passes put live, by what it took.", labels=["kind"]
        )
        for kind, count in now.applies.items():
            applies.add_metric((kind,), count)
        yield applies
        yield CounterMetricFamily(
            "ingresskit_apply_seconds", "The time all applies took.", now.applies_duration.total_seconds()
        )
        failures = CounterMetricFamily(
            "ingresskit_failures", "Passes that failed, by the step they failed at.", labels=["stage"]
        )
        for stage, count in now.failures.items():
            failures.add_metric((stage,), count)
        yield failures
        yield GaugeMetricFamily(
            "ingresskit_failures_in_row", "Passes that failed since one was put live.", now.failures_in_row
        )
        if now.last_apply is not None:
            yield GaugeMetricFamily(
                "ingresskit_last_apply_timestamp_seconds",
                "When a pass was last put live, in seconds since 1970.",
                now.last_apply.at.timestamp(),
            )
        yield from self._delays(now)
        yield GaugeMetricFamily("ingresskit_event_readers", "Open event subscriptions.", now.event_readers)
        yield CounterMetricFamily(
            "ingresskit_events_dropped", "Events that slow readers lost.", now.events_dropped
        )

    def _delays(self, now: ControllerStatistics) -> Iterator[Metric]:
        yield _histogram(
            "ingresskit_change_to_live_seconds",
            "Time from the first change that the controller saw since the last pass until it was live.",
            CHANGE_BOUNDS,
            now.change_durations or (0,) * (len(CHANGE_BOUNDS) + 1),
            now.change_duration_sum.total_seconds(),
        )
        waiting = 0.0 if now.change_waiting is None else now.change_waiting.total_seconds()
        yield GaugeMetricFamily(
            "ingresskit_change_waiting_seconds",
            "How long the oldest change that is not live has waited; 0 while all are live.",
            waiting,
        )
        late = self._loop_delay.tally
        yield _histogram(
            "ingresskit_loop_delay_seconds",
            "How late the event loop of the controller's process woke, asked twice a second.",
            late.bounds,
            late.counts,
            late.total,
        )

    def _content(self) -> Iterator[Metric]:
        objects = GaugeMetricFamily("ingresskit_objects", "Objects known, by kind.", labels=["kind"])
        for kind, count in self._controller.object_counts().items():
            objects.add_metric((kind,), count)
        yield objects
        diagnostics = GaugeMetricFamily(
            "ingresskit_diagnostics", "Diagnostics in force.", labels=["reason", "severity"]
        )
        held = Counter((item.reason, item.severity) for item in self._controller.diagnostics)
        for (reason, severity), count in sorted(held.items()):
            diagnostics.add_metric((reason, severity), count)
        yield diagnostics
        outcome = self._controller.outcome
        if outcome is None:
            return
        served = GaugeMetricFamily("ingresskit_served", "Parts of the graph that is live.", labels=["part"])
        for part, count in self._parts(outcome.graph).items():
            served.add_metric((part,), count)
        yield served
        ends = [item.not_after for item in outcome.graph.certificates.values()]
        if ends:
            yield GaugeMetricFamily(
                "ingresskit_certificate_first_expiry_timestamp_seconds",
                "When the first certificate in use expires, in seconds since 1970.",
                min(ends).timestamp(),
            )
            yield GaugeMetricFamily(
                "ingresskit_certificates_expired",
                "Certificates in use that have expired.",
                sum(end <= datetime.now(UTC) for end in ends),
            )

    def _parts(self, graph: RouteGraph) -> Mapping[str, int]:
        if self._counted[0] is not graph:
            self._counted = (graph, graph_counts(graph))
        return self._counted[1]


class _PlaneCollector(Collector):
    def __init__(self, name: str, plane: StatisticsSource) -> None:
        self._name = name
        self._plane = plane
        self._cap = LabelCap(_MOST_LABELS)

    @override
    def collect(self) -> Iterator[Metric]:
        for family in self._plane.statistics().families():
            yield _metric(f"ingresskit_{self._name}_{family.name}", capped(family, self._cap))


def _histogram(
    name: str, text: str, bounds: Iterable[float], counts: Iterable[float], total: float
) -> HistogramMetricFamily:
    """Of *counts* that are not cumulative, one more than there are *bounds*."""
    labels = (*(repr(bound) for bound in bounds), "+Inf")
    histogram = HistogramMetricFamily(name, text)
    histogram.add_metric((), list(zip(labels, accumulate(counts), strict=True)), total)
    return histogram


def _metric(name: str, family: MetricFamily) -> Metric:
    if family.kind is MetricKind.HISTOGRAM:
        return _histogram(
            name,
            family.help,
            (float(sample.labels[0][1]) for sample in family.samples[:-1]),
            (sample.value for sample in family.samples),
            family.total,
        )
    if family.kind is MetricKind.SUMMARY:
        return SummaryMetricFamily(name, family.help, int(family.samples[0].value), family.total)
    labels = [label for label, _ in family.samples[0].labels] if family.samples else []
    kind = GaugeMetricFamily if family.kind is MetricKind.GAUGE else CounterMetricFamily
    metric = kind(name, family.help, labels=labels)
    for sample in family.samples:
        metric.add_metric([value for _, value in sample.labels], sample.value)
    return metric
