"""Bounds on what a request may cost."""

from __future__ import annotations

from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_size
from ingresskit.policies.kinds.limits import BodyLimit

__all__ = ["read_limits"]


def read_limits(annotations: Annotations) -> None:
    """Ask for a `BodyLimit`: 1 MiB where nothing says otherwise."""
    size = annotations.value("proxy-body-size", parse_size)
    asked = {"max_bytes": "proxy-body-size"} if size is not None else {}
    annotations.add(BodyLimit(max_bytes=annotations.settings.max_body if size is None else size), **asked)
