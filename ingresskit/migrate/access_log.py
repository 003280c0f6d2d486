"""Requests out of an access log of ingress-nginx: its default format, or JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

from ingresskit.graph import Request
from ingresskit.models import Ingress

__all__ = ["logged_requests"]

# Source: ingress-nginx documentation, "Log format": upstreaminfo. It names the upstream, and no host.
_DEFAULT: Final = re.compile(
    r'(?P<client>\S+) - \S+ \[[^]]*\] "(?P<method>[A-Z]+) (?P<target>\S+) HTTP/[0-9.]+" \d+ \d+ "[^"]*" "[^"]*"'
    r" \d+ [0-9.]+ \[(?P<upstream>[^]]*)\]"
)
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "host": ("host", "vhost", "http_host", "server_name"),
    "target": ("request_uri", "uri", "path", "url"),
    "query": ("request_query", "args", "query"),
    "method": ("method", "request_method"),
    "client": ("remote_addr", "client", "x_forwarded_for", "remote_ip"),
    "scheme": ("scheme",),
}


def logged_requests(lines: Iterable[str], ingresses: Iterable[Ingress]) -> Iterator[Request]:
    """The requests of *lines*, each once; lines that are neither form are left out.

    Args:
        lines: Of the log.
        ingresses: By them the host is found where a line has only the upstream: the first host with a rule
            for that Service and port.
    """
    hosts = dict(_upstreams(ingresses))
    seen: set[tuple[str, ...]] = set()
    for line in lines:
        request = _of_json(line) if line.lstrip().startswith("{") else _of_default(line, hosts)
        if request is None:
            continue
        key = (request.scheme, request.host, request.path, request.query, request.method, request.client or "")
        if key not in seen:
            seen.add(key)
            yield request


def _upstreams(ingresses: Iterable[Ingress]) -> Iterator[tuple[str, str]]:
    """The names that ingress-nginx gives to upstreams, each with a host."""
    found: dict[str, str] = {}
    for ingress in ingresses:
        for rule in ingress.spec.rules:
            for path in rule.http.paths if rule.http is not None else ():
                service = path.backend.service
                if service is not None and rule.host:
                    port = service.port.number or service.port.name
                    found.setdefault(f"{ingress.metadata.namespace}-{service.name}-{port}", rule.host)
    yield from found.items()


def _of_default(line: str, hosts: Mapping[str, str]) -> Request | None:
    found = _DEFAULT.match(line)
    if found is None or found["upstream"] not in hosts:
        return None
    path, mark, query = found["target"].partition("?")
    return Request(
        scheme="https",
        host=hosts[found["upstream"]],
        path=path,
        query=mark + query,
        method=found["method"],
        client=found["client"],
    )


def _of_json(line: str) -> Request | None:
    try:
        tree: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(tree, dict):
        return None
    fields = cast("dict[str, object]", tree)
    values: dict[str, str] = {}
    for name, keys in _FIELDS.items():
        text = next((fields[key] for key in keys if isinstance(fields.get(key), str)), "")
        values[name] = str(text)
    path, _, query = values["target"].partition("?")
    if not values["host"] or not path.startswith("/"):
        return None
    query = query or values["query"].removeprefix("?")
    return Request(
        scheme="http" if values["scheme"] == "http" else "https",
        host=values["host"],
        path=path,
        query=f"?{query}" if query else "",
        method=values["method"] or "GET",
        client=values["client"].partition(",")[0].strip() or None,
    )
