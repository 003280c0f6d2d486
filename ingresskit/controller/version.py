"""Which ingresskit this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["package_version"]


def package_version() -> str:
    """The version of the installed package; ``"unknown"`` when it runs from files that were not installed."""
    try:
        return version("ingresskit")
    except PackageNotFoundError:
        return "unknown"
