"""Bounds on what a request may cost."""

from __future__ import annotations

from typing import Final

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.heads import LARGEST_RESPONSE_HEAD, RESPONSE_HEAD_FAULT
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import (
    parse_count,
    parse_networks_loosely,
    parse_size,
    parse_switch,
)
from ingresskit.policies.kinds.limits import (
    BandwidthLimit,
    BodyLimit,
    ConnectionLimit,
    Rate,
    RateLimit,
    RequestBuffering,
)
from ingresskit.policies.values import Network

__all__ = ["read_limits"]

_BURST: Final = 5
_GATHERED: Final = 1 << 20


def read_limits(annotations: Annotations) -> None:
    """Ask for a `BodyLimit`, of 1 MiB where nothing says otherwise, and for the limits that are asked for."""
    size = annotations.value("proxy-body-size", parse_size)
    asked = {"max_bytes": "proxy-body-size"} if size is not None else {}
    annotations.add(BodyLimit(max_bytes=annotations.settings.max_body if size is None else size), **asked)
    exempt = annotations.value("limit-allowlist", parse_networks_loosely) or ()
    _rates(annotations, exempt)
    _connections(annotations, exempt)
    _bandwidth(annotations)
    _buffers(annotations)


def _rates(annotations: Annotations, exempt: tuple[Network, ...]) -> None:
    names = (("limit-rps", 1), ("limit-rpm", 60))
    asked = {name: Rate(count, seconds) for name, seconds in names if (count := _count(annotations, name))}
    if not asked:
        return
    burst = annotations.value("limit-burst-multiplier", parse_count)
    policy = RateLimit(
        rates=tuple(asked.values()),
        burst=_BURST if burst is None else burst,
        key=annotations.settings.limit_key,
        exempt=exempt,
        status=annotations.settings.rate_status,
    )
    more = {} if burst is None else {"burst": "limit-burst-multiplier"}
    annotations.add(policy, rates=next(iter(asked)), **more, **_allowlist(exempt))


def _connections(annotations: Annotations, exempt: tuple[Network, ...]) -> None:
    name = "limit-connections"
    if most := _count(annotations, name):
        policy = ConnectionLimit(
            most=most,
            key=annotations.settings.limit_key,
            exempt=exempt,
            status=annotations.settings.connection_status,
        )
        annotations.add(policy, most=name, **_allowlist(exempt))


def _allowlist(exempt: tuple[Network, ...]) -> dict[str, str]:
    return {"exempt": "limit-allowlist"} if exempt else {}


def _count(annotations: Annotations, name: str) -> int:
    """How many; 0: there is no limit. One that cannot be read closes the routes, which it would protect."""
    text = annotations.text(name)
    if not text:
        return 0
    try:
        return parse_count(text)
    except ValueError as exc:
        annotations.close(name, Reason.ANNOTATION_INVALID, f"{text[:80]!a} {exc}")
        return 0


def _bandwidth(annotations: Annotations) -> None:
    settings = annotations.settings
    rate, after = (annotations.value(name, parse_count) for name in ("limit-rate", "limit-rate-after"))
    if kibibytes := settings.response_rate if rate is None else rate:
        policy = BandwidthLimit(
            rate=kibibytes * 1024, after=(settings.response_rate_after if after is None else after) * 1024
        )
        names = {"rate": ("limit-rate", rate), "after": ("limit-rate-after", after)}
        annotations.add(policy, **{field: name for field, (name, asked) in names.items() if asked is not None})


def _buffers(annotations: Annotations) -> None:
    # By default ingress-nginx gathers every body; here only where somebody asks for it.
    if annotations.value("proxy-request-buffering", parse_switch):
        annotations.add(RequestBuffering(max_bytes=_GATHERED), max_bytes="proxy-request-buffering")
    annotations.value("proxy-buffering", parse_switch)
    size = annotations.value("proxy-buffer-size", parse_size)
    if size is not None and size > LARGEST_RESPONSE_HEAD:
        annotations.warn("proxy-buffer-size", Reason.ANNOTATION_UNSUPPORTED, RESPONSE_HEAD_FAULT)
