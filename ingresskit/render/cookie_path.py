"""The path of a cookie that a proxy sets for a route."""

from __future__ import annotations

from ingresskit.graph import PathKind, PathMatch

__all__ = ["cookie_path"]


def cookie_path(match: PathMatch) -> str:
    """The path of a route as that of a cookie: ``/`` where it cannot be one."""
    path = match.value
    return "/" if match.kind is PathKind.REGEX or ";" in path or not path.isascii() else path
