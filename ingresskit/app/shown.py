"""Values of the admin API for people: the same tables of a controller that runs and of a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import cast

__all__ = [
    "CERTIFICATES",
    "ROUTES",
    "certificate_rows",
    "columns",
    "diagnostic_line",
    "explanation_shown",
    "object_shown",
    "part",
    "route_rows",
    "rows_of",
    "status_rows",
    "written",
]

ROUTES = ("HOST", "PATH", "TLS", "ACTION", "OBJECT")
CERTIFICATES = ("SECRET", "NOT AFTER", "DAYS LEFT", "NAMES", "SERVES")


def part(value: object, name: str) -> dict[str, object]:
    """The JSON object under *name*; empty where there is none."""
    found = cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}


def rows_of(value: object, name: str) -> list[dict[str, object]]:
    """The JSON objects in the array under *name*; empty where there is none."""
    found = cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None
    items = cast("list[object]", found) if isinstance(found, list) else []
    return [cast("dict[str, object]", item) for item in items if isinstance(item, dict)]


def written(value: object, output: str) -> str:
    """*value* as ``json`` or ``yaml``, with a line end."""
    if output == "yaml":
        import yaml

        # Its stubs leave the type of a width open.
        dump = cast("Callable[..., str]", yaml.safe_dump)  # pyright: ignore[reportUnknownMemberType]
        return dump(value, sort_keys=False, allow_unicode=True)
    return json.dumps(value, indent=2) + "\n"


def columns(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table whose columns are as wide as they must be."""
    table = [tuple(heads), *(tuple(_plain(cell) for cell in row) for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(heads) - 1)]
    for row in table:
        yield "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]])


def _plain(cell: str) -> str:
    shown = cell or "-"
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode("ascii")


def route_rows(graph: dict[str, object]) -> Iterator[tuple[str, ...]]:
    """A row for each route of ``/api/graph``, in the order in which they are tried: as `ROUTES`."""
    for host in rows_of(graph, "virtualHosts"):
        tls = "yes" if host.get("tls") else "no"
        for route in rows_of(host, "routes"):
            match = part(route, "match")
            path = str(route.get("written") or f"{match.get('type')} {match.get('path')}")
            yield (str(host.get("host")), path, tls, _action(route), str(part(route, "origin").get("object")))


def _action(route: dict[str, object]) -> str:
    action = part(route, "action")
    if shares := rows_of(action, "forward"):
        if len(shares) == 1:
            return str(shares[0].get("backend"))
        return ", ".join(f"{item.get('backend')} ({item.get('weight')})" for item in shares)
    if redirect := part(action, "redirect"):
        return f"{redirect.get('status')} to {redirect.get('location')}"
    return str(part(action, "respond").get("status", "nothing"))


def certificate_rows(graph: dict[str, object], now: datetime) -> Iterator[tuple[str, ...]]:
    """A row for each certificate of ``/api/graph``, as `CERTIFICATES`: the first that expires first."""
    names = part(graph, "serverNames")
    items = [(key, part(part(graph, "certificates"), key)) for key in part(graph, "certificates")]
    for key, item in sorted(items, key=lambda pair: str(pair[1].get("notAfter"))):
        until = expiry(item)
        listed = cast("list[object]", item.get("names") or [])
        serves = [name for name, secret in names.items() if secret == key]
        serves += ["every other name"] if graph.get("defaultCertificate") == key else []
        left = (until - now).days
        yield (key, f"{until:%Y-%m-%d}", str(left), ", ".join(map(str, listed)), ", ".join(serves))


def expiry(certificate: dict[str, object]) -> datetime:
    """When a certificate of ``/api/graph`` expires."""
    moment = datetime.fromisoformat(str(certificate.get("notAfter")))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def status_rows(status: dict[str, object]) -> Iterator[tuple[str, str]]:
    """What ``/api/status`` says, in short."""
    generation, last = part(status, "generation"), part(status, "lastApply")
    yield "version", str(part(status, "versions").get("ingresskit"))
    yield "renderer", str(status.get("renderer"))
    for name in ("live", "ready"):
        health = part(status, name)
        problems = cast("list[object]", health.get("problems") or [])
        yield name, f"{health.get('status')}{': ' if problems else ''}{'; '.join(map(str, problems))}"
    yield "revision", f"{generation.get('applied')} served, {generation.get('seen')} seen"
    if last:
        why = f", {last.get('reason')}" if last.get("reason") else ""
        yield "last apply", f"{last.get('kind')} at {last.get('at')}{why}"
    if failure := part(status, "lastFailure"):
        yield "last failure", f"{failure.get('stage')} at {failure.get('at')}: {failure.get('message')}"
    if reason := status.get("stateUnwritten"):
        yield "state", f"not on disk: {reason}"
    if leader := part(status, "leader"):
        yield "leader", _leader_shown(leader)
    for cache in rows_of(status, "caches"):
        if cache.get("error"):
            silent = f", heard of {_seconds_shown(cache.get('lastContactSeconds'))} ago"
            yield "not followed", f"{cache.get('kind')}{silent}: {cache.get('error')}"
    yield "counts", ", ".join(f"{name}: {count}" for name, count in part(status, "counts").items())
    endpoints = part(status, "endpoints")
    yield "endpoints", f"{endpoints.get('unwell')} not well"
    for item in rows_of(endpoints, "examples"):
        yield "", f"{item.get('endpoint')} {item.get('health')}"
    found = part(status, "diagnostics")
    yield "diagnostics", ", ".join(f"{name}: {count}" for name, count in found.items())


def _leader_shown(leader: dict[str, object]) -> str:
    if leader.get("lease") is None:
        return "no election, this one writes"
    return f"{leader.get('holder') or 'none'}{' (this one)' if leader.get('leading') else ''}"


def _seconds_shown(value: object) -> str:
    return f"{value:.0f} s" if isinstance(value, int | float) else "some time"


def diagnostic_line(item: dict[str, object]) -> str:
    """One diagnostic of ``/api/diagnostics``: severity, reason, object, field, message."""
    return f"{item.get('severity')} {item.get('reason')} {object_shown(item)}: {item.get('message')}"


def object_shown(item: dict[str, object]) -> str:
    """The object and field of a diagnostic: ``Ingress shop/web, spec.rules[0]``."""
    subject = part(item, "subject")
    place = "/".join(str(subject.get(name)) for name in ("namespace", "name") if subject.get(name))
    where = f", {item.get('field')}" if item.get("field") else ""
    return f"{subject.get('kind')} {place}{where}"


def explanation_shown(answer: dict[str, object], asked: str) -> Iterator[str]:
    """What ``/api/explain`` says, for people."""
    yield asked
    yield f"  {answer.get('verdict')}"
    if route := part(answer, "route"):
        match, origin = part(route, "match"), part(route, "origin")
        shown = route.get("written") or f"{match.get('type')} {match.get('path')}"
        where = f"{origin.get('object')}, {origin.get('field')}"
        yield f"  rule: {shown} of {answer.get('virtualHost')}, from {where}"
        for name in part(route, "policies"):
            yield f"  policy: {name}"
    if holder := part(answer, "holder"):
        held = f"{holder.get('host')} is held by namespace {holder.get('namespace')}"
        yield f"  host: {held}: {holder.get('why')}"
    misses = rows_of(answer, "nearMisses")
    if misses:
        total = cast("int", answer.get("nearMissCount") or len(misses))
        yield f"near misses ({len(misses)} of {total} shown):" if total > len(misses) else "near misses:"
    for miss in misses:
        origin = part(miss, "origin")
        instead = f" (served instead: {miss.get('winner')})" if miss.get("winner") else ""
        rule = f"{miss.get('path') or 'every path'} of {miss.get('host') or 'any host'}"
        yield f"  {rule}, from {origin.get('object')}, {origin.get('field')}"
        yield f"    {miss.get('reason')}: {miss.get('message')}{instead}"
