"""Bounds on what a request may cost."""

from __future__ import annotations

from typing import Final

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import (
    parse_count,
    parse_networks_loosely,
    parse_size,
)
from ingresskit.policies.kinds.limits import BodyLimit, ConnectionLimit, Rate, RateLimit
from ingresskit.policies.values import Network

__all__ = ["read_limits"]

_BURST: Final = 5


def read_limits(annotations: Annotations) -> None:
    """Ask for a `BodyLimit`, of 1 MiB where nothing says otherwise, a `RateLimit` and a `ConnectionLimit`."""
    size = annotations.value("proxy-body-size", parse_size)
    asked = {"max_bytes": "proxy-body-size"} if size is not None else {}
    annotations.add(BodyLimit(max_bytes=annotations.settings.max_body if size is None else size), **asked)
    exempt = _exempt(annotations)
    _rates(annotations, exempt)
    _connections(annotations, exempt)


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


def _exempt(annotations: Annotations) -> tuple[Network, ...]:
    return annotations.value("limit-allowlist", parse_networks_loosely) or ()
