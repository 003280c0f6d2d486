"""Time-outs, further tries and the choice of an endpoint."""

from __future__ import annotations

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_integer, parse_seconds
from ingresskit.policies.kinds.upstream import (
    Algorithm,
    EndpointProtocol,
    LoadBalancing,
    Retries,
    Timeouts,
    UpstreamProtocol,
)

__all__ = ["read_upstream"]

_MOST_RETRIES = 10
_PROTOCOLS = {
    "HTTP": EndpointProtocol.HTTP,
    "HTTPS": EndpointProtocol.HTTPS,
    "GRPC": EndpointProtocol.H2C,
}
_CLIENT = ("$remote_addr", "$binary_remote_addr", "${remote_addr}", "${binary_remote_addr}")


def read_upstream(annotations: Annotations) -> None:
    """Ask for `Timeouts`, `Retries` and `LoadBalancing`."""
    _timeouts(annotations)
    _retries(annotations)
    _balancing(annotations)
    _protocol(annotations)
    if annotations.text("proxy-http-version") not in ("", "1.1"):
        message = "endpoints are spoken to in HTTP/1.1, or as appProtocol of the port of the Service says"
        annotations.warn("proxy-http-version", Reason.ANNOTATION_UNSUPPORTED, message)


def _protocol(annotations: Annotations) -> None:
    name = "backend-protocol"
    asked = annotations.text(name).upper()
    if (protocol := _PROTOCOLS.get(asked)) is not None:
        annotations.add(UpstreamProtocol(protocol=protocol), protocol=name)
    elif asked in ("AUTO_HTTP", "GRPCS", "FCGI"):
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
    others = [word for word in conditions if word not in ("error", "timeout")]
    if others and asked:
        message = f"{', '.join(others)[:200]} never cause another try; error and timeout do"
        annotations.warn(name, Reason.ANNOTATION_UNSUPPORTED, message)
    tries = annotations.value("proxy-next-upstream-tries", parse_go_integer)
    if tries is not None:
        asked = {"attempts": "proxy-next-upstream-tries"}
    else:
        tries = annotations.settings.tries
    # Of nginx, 0 is as many as there are endpoints.
    attempts = _MOST_RETRIES if tries < 1 else min(tries - 1, _MOST_RETRIES)
    annotations.add(Retries(attempts=attempts), **asked)


def _balancing(annotations: Annotations) -> None:
    hashed = annotations.text("upstream-hash-by")
    if hashed in _CLIENT:
        annotations.add(LoadBalancing(algorithm=Algorithm.CLIENT_HASH), algorithm="upstream-hash-by")
        return
    if hashed:
        message = "only a hash of $remote_addr is built; endpoints are chosen without one"
        annotations.warn("upstream-hash-by", Reason.ANNOTATION_UNSUPPORTED, message)
    name = "load-balance"
    asked = annotations.text(name)
    match asked or annotations.settings.load_balance:
        case "ewma":
            if asked:
                message = "ewma is not built; the endpoint with the fewest requests is chosen"
                annotations.warn(name, Reason.ANNOTATION_UNSUPPORTED, message)
            algorithm = Algorithm.LEAST_CONNECTIONS
        case "round_robin":
            algorithm = Algorithm.ROUND_ROBIN
        case _:
            if asked:
                annotations.warn(name, Reason.ANNOTATION_INVALID, "must be round_robin or ewma; it is ignored")
                asked = ""
            algorithm = Algorithm.ROUND_ROBIN
    if algorithm is not Algorithm.ROUND_ROBIN or asked:
        annotations.add(LoadBalancing(algorithm=algorithm), **({"algorithm": name} if asked else {}))
