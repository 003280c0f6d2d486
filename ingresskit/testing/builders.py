"""Objects in one line: what a test is about stands there, and nothing else.

Everything has a default that works: a namespace (``default``), our class, a Service port (80), an
endpoint port (8080). Ages are written as days after `EPOCH`, so that the smaller number is older.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ingresskit.models import (
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    HintTarget,
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressClass,
    IngressClassSpec,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    IngressTLS,
    ObjectMeta,
    Service,
    ServiceBackendPort,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
)

__all__ = [
    "EPOCH",
    "backend",
    "endpoint",
    "endpoint_slice",
    "ingress",
    "ingress_class",
    "moment",
    "path",
    "service",
]

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
"""Day 0 of objects made here."""

_PATH_TYPES = {"=": "Exact", "~": "ImplementationSpecific"}


def moment(created: datetime | float | None) -> datetime | None:
    """A time from a number of days after `EPOCH`; a time and ``None`` stay as they are."""
    if created is None or isinstance(created, datetime):
        return created
    return EPOCH + timedelta(days=created)


def backend(text: str) -> IngressBackend:
    """The backend that *text* names: ``"shop"`` (port 80), ``"shop:8080"`` or ``"shop:http"``."""
    name, _, port = text.partition(":")
    number = int(port or 80) if (port or "80").isdigit() else None
    return IngressBackend(
        service=IngressServiceBackend(
            name=name, port=ServiceBackendPort(number=number, name=port if number is None else None)
        )
    )


def path(text: str, to: str | IngressBackend) -> HTTPIngressPath:
    """A path of a rule: ``"/foo"`` is Prefix, ``"=/foo"`` Exact, ``"~/foo"`` ImplementationSpecific."""
    kind = _PATH_TYPES.get(text[:1], "Prefix")
    return HTTPIngressPath(
        path=text[1:] if text[:1] in _PATH_TYPES else text,
        path_type=kind,
        backend=backend(to) if isinstance(to, str) else to,
    )


def ingress(
    name: str = "web",
    rules: Mapping[str, Mapping[str, str | IngressBackend] | None] | None = None,
    *,
    namespace: str = "default",
    created: datetime | float | None = 0,
    ingress_class: str | None = "ingresskit",
    default: str | IngressBackend | None = None,
    tls: Mapping[str, Iterable[str]] | None = None,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Ingress:
    """An Ingress: ``ingress("web", {"shop.test": {"/": "shop", "=/health": "probe:8080"}})``.

    Args:
        name: Its name.
        rules: For each host (``""``: any host), its paths and their backends, as `path` and `backend`
            read them; ``None`` in place of the paths makes a rule that only names the host.
        namespace: Its namespace.
        created: When it was made: a time, or days after `EPOCH`; ``None`` leaves it out.
        ingress_class: ``spec.ingressClassName``; ``None`` leaves it out.
        default: ``spec.defaultBackend``.
        tls: For each Secret (``""``: none is named), the hosts it is for.
        annotations: A name without a prefix gets ``ingresskit.dev/``.
        labels: Its labels.
    """
    return Ingress(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"{namespace}-{name}",
            creation_timestamp=moment(created),
            labels=dict(labels or {}),
            annotations={
                key if "/" in key else f"ingresskit.dev/{key}": value
                for key, value in (annotations or {}).items()
            },
        ),
        spec=IngressSpec(
            ingress_class_name=ingress_class,
            default_backend=backend(default) if isinstance(default, str) else default,
            tls=tuple(
                IngressTLS(hosts=tuple(hosts), secret_name=secret or None)
                for secret, hosts in (tls or {}).items()
            ),
            rules=tuple(_rule(host, paths) for host, paths in (rules or {}).items()),
        ),
    )


def service(
    name: str,
    ports: int | Mapping[str, int] = 80,
    *,
    namespace: str = "default",
    type: str | None = None,  # noqa: A002 - the field's name
    external_name: str | None = None,
    app_protocol: str | None = None,
    created: datetime | float | None = 0,
) -> Service:
    """A Service.

    Args:
        name: Its name.
        ports: One port without a name, or ports by name.
        namespace: Its namespace.
        type: ``spec.type``; ``ExternalName`` is set for you with *external_name*.
        external_name: The DNS name it stands for.
        app_protocol: What its ports speak.
        created: As for `ingress`.
    """
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace, creation_timestamp=moment(created)),
        spec=ServiceSpec(
            type="ExternalName" if external_name is not None and type is None else type,
            external_name=external_name,
            ports=tuple(
                ServicePort(name=port_name, port=port, app_protocol=app_protocol)
                for port_name, port in _named(ports)
            ),
        ),
    )


def endpoint(
    address: str,
    *,
    ready: bool | None = True,
    serving: bool | None = None,
    terminating: bool | None = None,
    zone: str | None = None,
    node: str | None = None,
    for_zones: Sequence[str] = (),
    for_nodes: Sequence[str] = (),
) -> SliceEndpoint:
    """An endpoint of a slice, in whatever state; *for_zones* and *for_nodes* are its hints."""
    hints = EndpointHints(
        for_zones=tuple(HintTarget(name=name) for name in for_zones),
        for_nodes=tuple(HintTarget(name=name) for name in for_nodes),
    )
    return SliceEndpoint(
        addresses=(address,),
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        zone=zone,
        node_name=node,
        hints=hints or None,
    )


def endpoint_slice(
    service_name: str,
    *endpoints: str | SliceEndpoint,
    ports: int | Mapping[str, int] = 8080,
    namespace: str = "default",
    name: str | None = None,
    created: datetime | float | None = 0,
) -> EndpointSlice:
    """An EndpointSlice of a Service.

    Args:
        service_name: The Service it belongs to.
        endpoints: Addresses of ready endpoints, or endpoints in another state.
        ports: One port without a name, or ports by the name that the Service gives them.
        namespace: Its namespace.
        name: Its name; that of the Service and ``-1`` when left out.
        created: As for `ingress`.
    """
    made = tuple(endpoint(item) if isinstance(item, str) else item for item in endpoints)
    return EndpointSlice(
        metadata=ObjectMeta(
            name=name or f"{service_name}-1",
            namespace=namespace,
            creation_timestamp=moment(created),
            labels={"kubernetes.io/service-name": service_name},
        ),
        address_type=_address_type(made),
        endpoints=made,
        ports=tuple(EndpointPort(name=port_name, port=port) for port_name, port in _named(ports)),
    )


def ingress_class(
    name: str = "ingresskit",
    *,
    controller: str = "ingresskit.dev/ingress-controller",
    default: bool = False,
    created: datetime | float | None = 0,
) -> IngressClass:
    """An IngressClass; ours unless *controller* says otherwise."""
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
    return IngressClass(
        metadata=ObjectMeta(name=name, creation_timestamp=moment(created), annotations=annotations),
        spec=IngressClassSpec(controller=controller),
    )


def _named(ports: int | Mapping[str, int]) -> Iterable[tuple[str | None, int]]:
    return [(None, ports)] if isinstance(ports, int) else list(ports.items())


def _rule(host: str, paths: Mapping[str, str | IngressBackend] | None) -> IngressRule:
    if paths is None:
        return IngressRule(host=host or None)
    return IngressRule(
        host=host or None,
        http=HTTPIngressRuleValue(paths=tuple(path(text, to) for text, to in paths.items())),
    )


def _address_type(endpoints: tuple[SliceEndpoint, ...]) -> str:
    for item in endpoints:
        for address in item.addresses[:1]:
            try:
                return "IPv6" if ipaddress.ip_address(address).version == 6 else "IPv4"
            except ValueError:
                continue
    return "IPv4"
