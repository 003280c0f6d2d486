"""What stands in the cells of a table, kind by kind.

Source: the columns and cells of ``pkg/printers/internalversion`` of Kubernetes 1.36, as its answers show them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from ingresskit.testing.apiserver.manifests import Manifest, items_of, look, mapping_of

__all__ = ["ANY", "PRINTERS", "Printer"]

_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_SHOWN = 3
"""How many of many things one cell names."""


@dataclass(frozen=True, slots=True)
class Printer:
    """How objects of one kind are printed.

    Attributes:
        columns: Their names, each with its priority: 0, or 1 for ``-o wide``.
        cells: What stands in them for one object, without kind and version.
    """

    columns: Sequence[tuple[str, int]]
    cells: Callable[[Manifest], Sequence[object]]


def _printer(names: str, cells: Callable[[Manifest], Sequence[object]]) -> Printer:
    """*names* separated by bars; those after a double bar are for ``-o wide``."""
    plain, _, wide = names.partition("||")
    columns = [(name, 0) for name in plain.split("|")] + [(name, 1) for name in wide.split("|") if name]
    return Printer(columns, cells)


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("name", ""))


def _age(since: object) -> str:
    try:
        began = datetime.fromisoformat(str(since))
    except ValueError:
        return "<unknown>"
    seconds = int((datetime.now(UTC) - began).total_seconds())
    if seconds < 0:
        return "<invalid>" if seconds < -1 else "0s"
    # Two units at most, and one where two would be too exact.
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if days < 2:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 2 * 365 else f"{days // 365}y"


def _made(manifest: Manifest) -> str:
    return _age(manifest["metadata"].get("creationTimestamp"))


def _some(texts: Sequence[str], *, empty: str) -> str:
    more = f" + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else ""
    return ",".join(texts[:_SHOWN]) + more if texts else empty


def _published(manifest: Manifest) -> list[str]:
    entries = [entry for _, entry in items_of(look(manifest, "status", "loadBalancer", "ingress"))]
    return [str(entry.get("ip") or entry.get("hostname") or "") for entry in entries]


def _ingress(manifest: Manifest) -> Sequence[object]:
    spec = mapping_of(manifest.get("spec"))
    hosts = [str(rule.get("host") or "") for _, rule in items_of(spec.get("rules"))]
    hosts = [host for host in hosts if host]
    # What is more counts the rules, also those without a host.
    rules = len(list(items_of(spec.get("rules"))))
    more = f" + {rules - _SHOWN} more..." if len(hosts) > _SHOWN else ""
    return (
        _name(manifest),
        spec.get("ingressClassName") or "<none>",
        ",".join(hosts[:_SHOWN]) + more or "*",
        ",".join(sorted({text for text in _published(manifest) if text})),
        "80, 443" if spec.get("tls") else "80",
        _made(manifest),
    )


def _ingress_class(manifest: Manifest) -> Sequence[object]:
    default = look(manifest, "metadata", "annotations", _DEFAULT_CLASS) == "true"
    parameters = mapping_of(look(manifest, "spec", "parameters"))
    kind = ".".join(str(parameters[part]) for part in ("kind", "apiGroup") if parameters.get(part))
    return (
        _name(manifest) + (" (default)" if default else ""),
        look(manifest, "spec", "controller") or "",
        f"{kind}/{parameters.get('name', '')}" if parameters else "<none>",
        _made(manifest),
    )


def _service(manifest: Manifest) -> Sequence[object]:
    spec = mapping_of(manifest.get("spec"))
    ports = [
        f"{port.get('port')}"
        + (f":{port['nodePort']}" if port.get("nodePort") else "")
        + f"/{port.get('protocol')}"
        for _, port in items_of(spec.get("ports"))
    ]
    selector = mapping_of(spec.get("selector"))
    return (
        _name(manifest),
        spec.get("type", ""),
        spec.get("clusterIP") or "<none>",
        _outside(manifest, spec),
        ",".join(ports) or "<none>",
        _made(manifest),
        ",".join(f"{key}={selector[key]}" for key in sorted(selector)) or "<none>",
    )


def _outside(manifest: Manifest, spec: Manifest) -> str:
    named = [str(text) for text in cast("list[object]", spec.get("externalIPs") or [])]
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName") or "")
        case "LoadBalancer":
            return ",".join([*_published(manifest), *named]) or "<pending>"
        case _:
            return ",".join(named) or "<none>"


def _endpoint_slice(manifest: Manifest) -> Sequence[object]:
    ports = [str(port.get("port", "*")) for _, port in items_of(manifest.get("ports"))]
    addresses = [
        str(address)
        for _, endpoint in items_of(manifest.get("endpoints"))
        for address in cast("list[object]", endpoint.get("addresses") or [])
    ]
    return (
        _name(manifest),
        manifest.get("addressType", ""),
        _some(ports, empty="<unset>"),
        _some(addresses, empty="<unset>"),
        _made(manifest),
    )


def _endpoints(manifest: Manifest) -> Sequence[object]:
    places = [
        f"{address.get('ip')}:{port.get('port')}"
        for _, subset in items_of(manifest.get("subsets"))
        for _, port in items_of(subset.get("ports"))
        for _, address in items_of(subset.get("addresses"))
    ]
    return (_name(manifest), _some(places, empty="<none>"), _made(manifest))


def _data(manifest: Manifest) -> int:
    return len(mapping_of(manifest.get("data"))) + len(mapping_of(manifest.get("binaryData")))


def _event(manifest: Manifest) -> Sequence[object]:
    # Both forms: an event that is shown as ``v1`` has other names for the same.
    def either(new: str, old: str) -> Any:  # noqa: ANN401 - JSON
        return manifest.get(new) or manifest.get(old)

    about = mapping_of(either("regarding", "involvedObject"))
    series = mapping_of(manifest.get("series"))
    source = mapping_of(either("deprecatedSource", "source"))
    first = either("deprecatedFirstTimestamp", "firstTimestamp") or manifest.get("eventTime")
    last = series.get("lastObservedTime") or either("deprecatedLastTimestamp", "lastTimestamp") or first
    who = source.get("component") or either("reportingController", "reportingComponent") or ""
    where = source.get("host") or manifest.get("reportingInstance") or ""
    return (
        _age(last),
        manifest.get("type", ""),
        manifest.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        f"{who}, {where}" if where else who,
        str(either("note", "message") or "").strip(),
        _age(first),
        series.get("count") or either("deprecatedCount", "count") or 1,
        _name(manifest),
    )


def _binding(manifest: Manifest) -> Sequence[object]:
    def named(kind: str) -> str:
        subjects = [item for _, item in items_of(manifest.get("subjects")) if item.get("kind") == kind]
        whole = [
            f"{item['namespace']}/{item.get('name')}" if item.get("namespace") else item.get("name")
            for item in subjects
        ]
        return ", ".join(map(str, whole))

    role = mapping_of(manifest.get("roleRef"))
    return (
        _name(manifest),
        f"{role.get('kind')}/{role.get('name')}",
        _made(manifest),
        named("User"),
        named("Group"),
        named("ServiceAccount"),
    )


ANY: Printer = _printer("Name|Created At", lambda it: (_name(it), it["metadata"].get("creationTimestamp")))
_BINDINGS = _printer("Name|Role|Age||Users|Groups|ServiceAccounts", _binding)
_RBAC = "rbac.authorization.k8s.io"

_EVENTS = Printer(
    (
        ("Last Seen", 0),
        ("Type", 0),
        ("Reason", 0),
        ("Object", 0),
        ("Subobject", 1),
        ("Source", 1),
        ("Message", 0),
        ("First Seen", 1),
        ("Count", 1),
        ("Name", 1),
    ),
    _event,
)

PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("", "ConfigMap"): _printer("Name|Data|Age", lambda it: (_name(it), _data(it), _made(it))),
    ("", "Secret"): _printer(
        "Name|Type|Data|Age", lambda it: (_name(it), it.get("type", ""), _data(it), _made(it))
    ),
    ("", "Service"): _printer("Name|Type|Cluster-IP|External-IP|Port(s)|Age||Selector", _service),
    ("", "Endpoints"): _printer("Name|Endpoints|Age", _endpoints),
    ("", "ServiceAccount"): _printer("Name|Age", lambda it: (_name(it), _made(it))),
    ("", "Namespace"): _printer(
        "Name|Status|Age", lambda it: (_name(it), look(it, "status", "phase") or "", _made(it))
    ),
    ("", "Event"): _EVENTS,
    ("events.k8s.io", "Event"): _EVENTS,
    ("networking.k8s.io", "Ingress"): _printer("Name|Class|Hosts|Address|Ports|Age", _ingress),
    ("networking.k8s.io", "IngressClass"): _printer("Name|Controller|Parameters|Age", _ingress_class),
    ("discovery.k8s.io", "EndpointSlice"): _printer("Name|AddressType|Ports|Endpoints|Age", _endpoint_slice),
    ("coordination.k8s.io", "Lease"): _printer(
        "Name|Holder|Age", lambda it: (_name(it), look(it, "spec", "holderIdentity") or "", _made(it))
    ),
    (_RBAC, "RoleBinding"): _BINDINGS,
    (_RBAC, "ClusterRoleBinding"): _BINDINGS,
}
"""The printers, by group and kind."""
