"""The commands that ask about a folder, asked of a controller that runs instead: ``--url``."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import timedelta
from typing import Literal, assert_never

from ingresskit import __version__
from ingresskit.app.ci import Finding, print_findings
from ingresskit.app.listings import print_listing, print_status, print_text
from ingresskit.app.remote import AdminApi
from ingresskit.app.shown import explanation_shown, rows_of, written
from ingresskit.graph import Request

__all__ = ["RemoteQuestion", "ask", "ask_why"]

RemoteQuestion = Literal["check", "render", "routes", "certs", "status"]


def ask(question: RemoteQuestion, api: AdminApi, *, output: str, strict: bool, within: timedelta) -> int:
    """Ask a controller, and print what it says.

    Args:
        question: Which command.
        api: Of the controller.
        output: How to print it.
        strict: Whether warnings count.
        within: How soon a certificate must not expire.

    Returns:
        The exit status, as of the same command over a folder.

    Raises:
        ApiError: The controller cannot be asked.
    """
    match question:
        case "status":
            return print_status(api.get("/api/status"), output)
        case "routes" | "certs":
            return print_listing(question, api.get("/api/graph"), output, within)
        case "render":
            graph = api.get("/api/graph")
            if output in ("json", "yaml"):
                print_text(written(graph, output).splitlines())
                return 0
            return print_listing("routes", graph, "table", within)
        case "check":
            return _check(api, output, strict=strict)
        case _:
            assert_never(question)


def ask_why(api: AdminApi, request: Request, url: str, *, output: str) -> int | None:
    """Ask a controller what becomes of a request, and print it.

    Args:
        api: Of the controller.
        request: As the command line describes it.
        url: The URL of it.
        output: ``table``, ``json`` or ``yaml``.

    Returns:
        The status of the response of the proxy itself; ``None``: it forwards the request.

    Raises:
        ApiError: The controller cannot be asked.
    """
    query = [("url", url), ("method", request.method)]
    query += [("header", f"{name}: {value}") for name, value in request.headers.items()]
    query += [("client", request.client)] if request.client else []
    answer = api.get("/api/explain", query)
    asked = f"{request.method} {request.scheme}://{answer.get('host')}{answer.get('path')}"
    print_text(explanation_shown(answer, asked) if output == "table" else written(answer, output).splitlines())
    status = answer.get("status")
    return status if isinstance(status, int) else None


def _check(api: AdminApi, output: str, *, strict: bool) -> int:
    items = rows_of(api.get("/api/diagnostics"), "diagnostics")
    print_findings([Finding(item) for item in items], output, __version__)
    counts = Counter(str(item.get("severity")) for item in items)
    print(f"errors: {counts['error']}, warnings: {counts['warning']}", file=sys.stderr)
    return int(counts["error"] > 0 or (strict and counts["warning"] > 0))
