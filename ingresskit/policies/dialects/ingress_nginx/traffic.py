"""Which requests an Ingress takes beside those of its rules: aliases of its hosts, and canaries."""

from __future__ import annotations

from collections.abc import Iterator

from ingresskit._quoting import quoted
from ingresskit.diagnostics import Reason
from ingresskit.policies.conditions import ExactValue, PatternValue, ValueMatch, Variant
from ingresskit.policies.dialects.ingress_nginx.host_patterns import hosts_of
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean, parse_go_integer
from ingresskit.policies.kinds.compression import Coding, Compression
from ingresskit.policies.kinds.tracing import TraceContext
from ingresskit.policies.kinds.traffic import (
    AccessLog,
    FallbackService,
    Mirror,
    MirrorUrl,
    NamedService,
    parse_mirror_url,
    parse_service,
    parse_statuses,
)
from ingresskit.policies.patterns import Pattern, anywhere
from ingresskit.policies.values import parse_authority

__all__ = ["read_traffic"]

_SELECTORS = ("canary-weight", "canary-by-header", "canary-by-cookie")


def read_traffic(annotations: Annotations) -> None:
    """Set the further hosts of an Ingress, the variant of a canary, and what else is done beside forwarding."""
    _read_errors(annotations)
    _read_mirror(annotations)
    _read_compression(annotations)
    _read_access_log(annotations)
    _read_tracing(annotations)
    annotations.aliases = list(dict.fromkeys(_aliases(annotations)))
    if not annotations.value("canary", parse_go_boolean):
        for name in _SELECTORS:
            if annotations.text(name):
                annotations.warn(name, Reason.ANNOTATION_IGNORED, 'it has no effect without canary: "true"')
        return
    # A canary adds no path to a host, and so makes no expressions of its paths.
    annotations.regex_paths = False
    weight = annotations.value("canary-weight", parse_go_integer) or 0
    total = annotations.value("canary-weight-total", parse_go_integer) or 100
    annotations.variant = Variant.canary(
        header=annotations.text("canary-by-header"),
        header_value=_header_value(annotations),
        cookie=annotations.text("canary-by-cookie"),
        weight=max(weight, 0),
        total=max(total, 100),  # a smaller one has no effect in ingress-nginx either
    )


def _aliases(annotations: Annotations) -> Iterator[str]:
    for name in map(str.strip, annotations.text("server-alias").split(",")):
        if name.startswith("~"):
            try:
                yield from hosts_of(name[1:])
            except ValueError as exc:
                message = f"the expression {quoted(name)} {exc}; it names no host"
                annotations.warn("server-alias", Reason.ANNOTATION_INVALID, message)
        elif name:
            yield name


def _read_errors(annotations: Annotations) -> None:
    service = annotations.value("default-backend", _service)
    errors = annotations.value("custom-http-errors", parse_statuses)
    names = {} if service is None else {"service": "default-backend"}
    if errors is not None:
        names["errors"] = "custom-http-errors"
    elif not annotations.value("disable-proxy-intercept-errors", parse_go_boolean):
        errors = () if annotations.settings.no_error_pages else annotations.settings.errors
    if service is not None or errors:
        annotations.add(FallbackService(service=service, errors=errors or ()), **names)


def _read_mirror(annotations: Annotations) -> None:
    target = annotations.value("mirror-target", _mirror_target)
    host = annotations.value("mirror-host", parse_authority)
    body = annotations.value("mirror-request-body", _on_or_off)
    if target is None:
        return
    names = {"target": "mirror-target"}
    if host is not None:
        names["host"] = "mirror-host"
    if body is not None:
        names["body"] = "mirror-request-body"
    annotations.add(Mirror(target=target, host=host or "", body=body is not False), **names)


def _mirror_target(text: str) -> MirrorUrl:
    """A URL; ``$request_uri`` at its end stands for the path of the request, and is there without a path too.

    A slash before that variable makes no second one.
    """
    start = text.removesuffix("$request_uri")
    if "$" in start or "?" in start:
        raise ValueError("must be an http or https URL, with no variable but $request_uri at its end")
    url = parse_mirror_url(start)
    return url._replace(whole=start == text and url.path != "/")


def _on_or_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("must be on or off")
    return text == "on"


def _read_compression(annotations: Annotations) -> None:
    settings = annotations.settings
    if settings.gzip:
        annotations.add(
            Compression(
                coding=Coding.GZIP,
                types=settings.gzip_types,
                min_length=settings.gzip_min_length,
                level=settings.gzip_level,
            )
        )


def _read_access_log(annotations: Annotations) -> None:
    settings = annotations.settings
    asked = annotations.value("enable-access-log", parse_go_boolean)
    # Where the ConfigMap switches the log off, no annotation switches it on.
    enabled = asked is not False and not settings.no_access_log
    if not enabled or settings.unlogged:
        names = {} if asked is None else {"enabled": "enable-access-log"}
        annotations.add(AccessLog(enabled=enabled, skipped=settings.unlogged), **names)


def _read_tracing(annotations: Annotations) -> None:
    settings = annotations.settings
    name, trust = "enable-opentelemetry", "opentelemetry-trust-incoming-span"
    asked = annotations.value(name, parse_go_boolean)
    trusts = annotations.value(trust, parse_go_boolean)
    if settings.tracing if asked is None else asked:
        names = {} if asked is None else {"enabled": name}
        if trusts is not None:
            names["trusts_client"] = trust
        policy = TraceContext(enabled=True, trusts_client=settings.trusts_traces if trusts is None else trusts)
        annotations.add(policy, **names)


def _service(text: str) -> NamedService:
    """A Service of the namespace, by its name alone: the first of its ports counts."""
    service = parse_service(text)
    if service.port:
        raise ValueError("must be the name of a Service, without a port")
    return service


def _header_value(annotations: Annotations) -> ValueMatch | None:
    if value := annotations.text("canary-by-header-value"):
        return ExactValue(value)
    pattern = annotations.value("canary-by-header-pattern", _anywhere)
    return None if pattern is None else PatternValue(pattern)


def _anywhere(text: str) -> Pattern:
    """ingress-nginx finds the pattern anywhere in the value; a `Pattern` stands at its start."""
    begins = "(?i)" if text.startswith("(?i)") else ""
    return Pattern(begins + anywhere(text.removeprefix(begins)))
