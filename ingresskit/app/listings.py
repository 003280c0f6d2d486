"""What a command prints of JSON values, from wherever they come, and the exit status of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

from ingresskit.app.shown import (
    CERTIFICATES,
    ROUTES,
    certificate_rows,
    columns,
    expiry,
    part,
    route_rows,
    status_rows,
    written,
)

__all__ = ["Listing", "print_listing", "print_status", "print_text"]

Listing = Literal["routes", "certs"]


def print_listing(listing: Listing, graph: dict[str, object], output: str, within: timedelta) -> int:
    """Print the routes or certificates of ``/api/graph``.

    Args:
        listing: What.
        graph: The graph as JSON values.
        output: ``table``, ``json`` or ``yaml``.
        within: How soon a certificate must not expire.

    Returns:
        1 when a certificate has expired, or does so within that time; else 0.
    """
    now = datetime.now(UTC)
    if listing == "routes":
        value: object = graph.get("virtualHosts")
        lines = columns(ROUTES, route_rows(graph))
    else:
        value = {name: graph.get(name) for name in ("certificates", "serverNames", "defaultCertificate")}
        lines = columns(CERTIFICATES, certificate_rows(graph, now))
    print_text(lines if output == "table" else written(value, output).splitlines())
    certificates = part(graph, "certificates")
    due = any(expiry(part(certificates, key)) <= now + within for key in certificates)
    return int(listing == "certs" and due)


def print_status(status: dict[str, object], output: str) -> int:
    """Print ``/api/status``.

    Returns:
        1 when the controller is not ready, or not live; else 0.
    """
    if output == "table":
        print_text(f"{name + ':' if name else '':14}{text}" for name, text in status_rows(status))
    else:
        print_text(written(status, output).splitlines())
    return int(any(part(status, name).get("status") != "ok" for name in ("live", "ready")))


def print_text(lines: Iterable[str]) -> None:
    """Print lines, and have them out before what follows on the error output."""
    for line in lines:
        print(line)
    sys.stdout.flush()
