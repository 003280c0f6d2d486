"""The shapes of the API: values in, JSON values with stable camel-case keys out. No I/O, no key material."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from ingresskit.controller.events import Event
from ingresskit.controller.health import HealthReport
from ingresskit.controller.outcome import Outcome, graph_counts
from ingresskit.controller.redact import redacted
from ingresskit.controller.statistics import ControllerStatistics, ControllerView
from ingresskit.controller.version import package_version
from ingresskit.diagnostics import Diagnostic, Severity
from ingresskit.filters import Explanation
from ingresskit.graph import Certificate, HostHolder, Route
from ingresskit.graph.dump import dump_route
from ingresskit.models import HostClaims, ObjectRef
from ingresskit.policies import Origin
from ingresskit.render.files import RenderedFile, Rendering
from ingresskit.render.inprocess import HostTable, MixedHostTable, RoutingTable
from ingresskit.sources import CacheStatistics
from ingresskit.traffic import EndpointHealth

__all__ = [
    "dump_config",
    "dump_diagnostic",
    "dump_diagnostics",
    "dump_event",
    "dump_explanation",
    "dump_health",
    "dump_hosts",
    "dump_status",
]

_MOST_UNWELL: Final = 100


def dump_health(report: HealthReport) -> dict[str, object]:
    """``/healthz`` and ``/readyz``."""
    return {"status": "ok" if report.ok else "unavailable", "problems": list(report.problems)}


def dump_status(
    controller: ControllerView,
    live: HealthReport,
    ready: HealthReport,
    now: datetime,
    *,
    caches: Mapping[str, CacheStatistics],
    leader: Mapping[str, object] | None,
    unwell: Mapping[str, EndpointHealth],
    unwritten: str = "",
) -> dict[str, object]:
    """``/api/status``. *caches* is empty when the objects come from no cluster.

    At most so many of the endpoints that are not well are shown: a node that goes may take hundreds with it.
    """
    statistics, outcome = controller.statistics(), controller.outcome
    severities = Counter(item.severity for item in controller.diagnostics)
    counts = dict[str, int]() if outcome is None else graph_counts(outcome.graph)
    return {
        "versions": {"ingresskit": package_version()},
        "renderer": controller.renderer_name,
        "state": statistics.state,
        "live": dump_health(live),
        "ready": dump_health(ready),
        "now": _time(now),
        "startedAt": _time(statistics.started_at),
        "generation": {"seen": statistics.revision_seen, "applied": statistics.revision_applied},
        "passes": statistics.passes,
        "applies": {str(kind): count for kind, count in statistics.applies.items()},
        "failures": {str(stage): count for stage, count in statistics.failures.items()},
        "failuresInRow": statistics.failures_in_row,
        "passRunningSeconds": _seconds(statistics.pass_running),
        "lastApply": _last_apply(statistics),
        "lastFailure": _last_failure(statistics),
        "stateUnwritten": unwritten or None,
        "leader": leader,
        "caches": _caches(controller.object_counts(), caches),
        "endpoints": {
            "unwell": len(unwell),
            "examples": [
                {"endpoint": name, "health": str(health)}
                for name, health in islice(unwell.items(), _MOST_UNWELL)
            ],
        },
        "counts": {_camel(name): count for name, count in counts.items()},
        "diagnostics": {str(severity): severities[severity] for severity in Severity},
    }


def _caches(counts: Mapping[str, int], caches: Mapping[str, CacheStatistics]) -> list[dict[str, object]]:
    shown: list[dict[str, object]] = []
    for kind in sorted({*counts, *caches}):
        cache = caches.get(kind)
        facts: dict[str, object] = {"kind": kind, "objects": counts.get(kind, 0), "lastContactSeconds": None}
        if cache is not None:
            facts["lastContactSeconds"] = _seconds(cache.last_contact)
            facts |= {"state": cache.state, "synced": cache.synced, "undecodable": cache.undecodable}
            facts |= {"namespaces": list(cache.namespaces), "error": cache.error or None}
        shown.append(facts)
    return shown


def dump_diagnostics(diagnostics: tuple[Diagnostic, ...]) -> dict[str, object]:
    """``/api/diagnostics``."""
    return {"diagnostics": [dump_diagnostic(item) for item in diagnostics]}


def dump_diagnostic(item: Diagnostic) -> dict[str, object]:
    """One diagnostic."""
    return {
        "subject": _object(item.subject),
        "field": item.field,
        "reason": item.reason,
        "severity": item.severity,
        "message": redacted(item.message),
        "related": [_object(other) for other in item.related],
    }


def dump_explanation(explanation: Explanation) -> dict[str, object]:
    """``/api/explain``; the same shape offline."""
    route: Route | None = explanation.route
    return {
        "host": explanation.host,
        "path": explanation.path,
        "virtualHost": explanation.virtual_host,
        "route": None if route is None else dump_route(route),
        "status": explanation.status,
        "verdict": explanation.verdict,
        "order": list(explanation.order),
        "holder": None if explanation.holder is None else _holder(explanation.holder),
        "nearMissCount": explanation.near_miss_count,
        "nearMisses": [
            {
                "origin": _origin(miss.origin),
                "host": miss.host,
                "path": miss.path,
                "reason": str(miss.reason),
                "message": miss.message,
                "winner": None if miss.winner is None else str(miss.winner),
            }
            for miss in explanation.near_misses
        ],
    }


def dump_hosts(claims: HostClaims) -> dict[str, object]:
    """``/api/hosts``: who holds which host, since when, and why; sorted by host."""
    return {
        "hosts": [
            _holder(
                HostHolder(
                    host=host,
                    namespace=claim.namespace,
                    since=claim.since,
                    released=claim.released,
                    reserved=claim.reserved,
                )
            )
            for host, claim in sorted(claims.by_host.items())
        ]
    }


def _holder(holder: HostHolder) -> dict[str, object]:
    return {
        "host": holder.host,
        "namespace": holder.namespace,
        "since": _time(holder.since),
        "released": _time(holder.released),
        "reserved": holder.reserved,
        "why": holder.why,
    }


def dump_config(
    renderer: str, outcome: Outcome[object], as_files: Callable[[object], Iterable[RenderedFile]] | None = None
) -> dict[str, object]:
    """``/api/config``: what the proxy was given. Files marked secret appear by name and size only.

    An artifact of a type that is not ours appears as the files that *as_files* gives for it; without
    that by the name of its type, for nobody but its renderer knows what in it is secret.
    """
    artifact = outcome.artifact
    config: dict[str, object] = {"renderer": renderer, "revision": outcome.revision}
    match artifact:
        case Rendering():
            return config | _files(artifact)
        case RoutingTable():
            return config | {"kind": "routing-table", "table": _table(artifact)}
        case _ if as_files is not None:
            return config | _files(Rendering(tuple(as_files(artifact))))
        case _:
            return config | {"kind": "other", "type": type(artifact).__name__}


def _files(rendering: Rendering) -> dict[str, object]:
    files = [_file(item) for item in rendering.files]
    return {"kind": "files", "digest": rendering.digest, "files": files}


def dump_event(event: Event) -> dict[str, object]:
    """The data of an event of ``/api/events``."""
    return {"kind": event.kind, "revision": event.revision, "at": _time(event.at), **event.facts}


def _last_apply(statistics: ControllerStatistics) -> dict[str, object] | None:
    last = statistics.last_apply
    if last is None:
        return None
    return {
        "kind": last.kind,
        "reason": last.reason,
        "durationSeconds": _seconds(last.duration),
        "at": _time(last.at),
        "revision": last.revision,
    }


def _last_failure(statistics: ControllerStatistics) -> dict[str, object] | None:
    last = statistics.last_failure
    if last is None:
        return None
    return {
        "stage": last.stage,
        "message": last.message,
        "at": _time(last.at),
        "revision": last.revision,
        "retryAfterSeconds": _seconds(last.retry_after),
    }


def _file(item: RenderedFile) -> dict[str, object]:
    shown = item.shown
    content = None if shown is None else redacted(shown.decode("utf-8", "replace"))
    return {"path": str(item.path), "bytes": len(item.content), "secret": item.secret, "content": content}


def _mixed(host: HostTable) -> dict[str, object]:
    """The routes that only some hosts have: those by regular expression, and variants."""
    if not isinstance(host, MixedHostTable):
        return {}
    return {
        "patterns": [entry.pattern.text for entry in host.entries],
        "variants": sorted(target.route.shown for target in host.variants),
    }


def _table(table: RoutingTable) -> dict[str, object]:
    return {
        "hosts": [
            {
                "host": host.host,
                "exact": sorted(host.exact),
                "prefixes": sorted(prefix or "/" for prefix in host.prefixes),
                **_mixed(host),
            }
            for _, host in sorted(table.hosts.items())
        ],
        "backends": {
            str(key): [_address(item.address, item.port) for item in backend.endpoints]
            for key, backend in sorted(table.backends.items())
        },
        "certificates": {name: _digest(item) for name, item in sorted(table.certificates.items())},
        "defaultCertificate": _digest(table.default_certificate),
        "hostFallthrough": table.host_fallthrough,
    }


def _digest(certificate: Certificate | None) -> str | None:
    return None if certificate is None else certificate.digest


def _address(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _object(ref: ObjectRef) -> dict[str, str]:
    return {"kind": ref.kind, "namespace": ref.key.namespace, "name": ref.key.name}


def _origin(origin: Origin) -> Mapping[str, str]:
    return {"object": str(origin.subject), "field": origin.field}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else round(duration.total_seconds(), 6)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)
