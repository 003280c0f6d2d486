"""Time-outs, further tries and the protocol of endpoints."""

from __future__ import annotations

from datetime import timedelta

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean, parse_go_integer, parse_seconds
from ingresskit.policies.kinds.connections import ServiceUpstream
from ingresskit.policies.kinds.upstream import (
    EndpointProtocol,
    Retries,
    RetryOn,
    Timeouts,
    UpstreamProtocol,
)

__all__ = ["read_upstream"]

_MOST_RETRIES = 10
_LONGEST = 86_400
_CAUSES = {
    "error": RetryOn.ERROR,
    "timeout": RetryOn.TIMEOUT,
    "invalid_header": RetryOn.MALFORMED,
    "non_idempotent": RetryOn.NON_IDEMPOTENT,
    **{f"http_{cause}": cause for cause in RetryOn if cause.status is not None},
}
_PROTOCOLS = {
    "HTTP": EndpointProtocol.HTTP,
    "HTTPS": EndpointProtocol.HTTPS,
    "GRPC": EndpointProtocol.GRPC,
    "GRPCS": EndpointProtocol.GRPCS,
}


def read_upstream(annotations: Annotations) -> None:
    """Ask for `Timeouts`, `Retries`, `UpstreamProtocol` and `ServiceUpstream`."""
    _timeouts(annotations)
    _retries(annotations)
    _protocol(annotations)
    name = "service-upstream"
    wanted = annotations.value(name, parse_go_boolean)
    if annotations.settings.service_upstream if wanted is None else wanted:
        annotations.add(ServiceUpstream(enabled=True), **({"enabled": name} if wanted else {}))


def _protocol(annotations: Annotations) -> None:
    name = "backend-protocol"
    asked = annotations.text(name).upper()
    if (protocol := _PROTOCOLS.get(asked)) is not None:
        annotations.add(UpstreamProtocol(protocol=protocol), protocol=name)
    elif asked in ("AUTO_HTTP", "FCGI"):
        annotations.warn(name, Reason.ANNOTATION_UNSUPPORTED, f"{asked} is not built; HTTP is spoken")
    elif asked:
        message = "must be HTTP, HTTPS, AUTO_HTTP, GRPC, GRPCS or FCGI; HTTP is spoken"
        annotations.warn(name, Reason.ANNOTATION_INVALID, message)


def _timeouts(annotations: Annotations) -> None:
    settings = annotations.settings
    found = {
        name: annotations.value(f"proxy-{name}-timeout", parse_seconds) for name in ("connect", "read", "send")
    }
    annotations.add(
        Timeouts(
            connect=found["connect"] or settings.connect,
            read=found["read"] or settings.read,
            send=found["send"] or settings.send,
        ),
        **{name: f"proxy-{name}-timeout" for name, value in found.items() if value},
    )


def _retries(annotations: Annotations) -> None:
    name = "proxy-next-upstream"
    conditions = (annotations.text(name) or annotations.settings.conditions).split()
    asked = {"attempts": name} if annotations.text(name) else {}
    if "off" in conditions:
        annotations.add(Retries(attempts=0), **asked)
        return
    if unknown := [word for word in conditions if word not in _CAUSES]:
        message = f"{', '.join(unknown)[:200]!a} must be conditions of proxy_next_upstream of nginx; left out"
        annotations.warn(name, Reason.ANNOTATION_INVALID, message)
    causes = {_CAUSES[word] for word in conditions if word in _CAUSES}
    if annotations.settings.retry_non_idempotent:
        causes.add(RetryOn.NON_IDEMPOTENT)
    if asked:
        asked["on"] = name
    limit = "proxy-next-upstream-timeout"
    within = annotations.value(limit, parse_go_integer)
    if within is not None:
        asked["within"] = limit
    else:
        within = annotations.settings.tries_within
    tries = annotations.value("proxy-next-upstream-tries", parse_go_integer)
    if tries is not None:
        asked["attempts"] = "proxy-next-upstream-tries"
    else:
        tries = annotations.settings.tries
    # Of nginx, 0 is as many as there are endpoints.
    attempts = _MOST_RETRIES if tries < 1 else min(tries - 1, _MOST_RETRIES)
    policy = Retries(
        attempts=attempts,
        on=tuple(cause for cause in RetryOn if cause in causes),
        within=timedelta(seconds=min(within, _LONGEST)) if within > 0 else None,
    )
    annotations.add(policy, **asked)
