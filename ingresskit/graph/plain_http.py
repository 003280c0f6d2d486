"""What becomes of requests without TLS, and which rules are open to all. The renderers ask here."""

from __future__ import annotations

import re
from typing import Final

from ingresskit.graph.match import PathKind
from ingresskit.graph.nodes import Route, VirtualHost
from ingresskit.policies import OpenPaths, PlainHttp, TlsRedirect

__all__ = ["is_open", "redirects_to_tls", "refuses_plain_http", "solves_http01"]

_HTTP01_PATH: Final = "/.well-known/acme-challenge"
# Of a pattern, only what stands for one path: a solver of cert-manager on a host whose paths are patterns.
_HTTP01_PATTERN: Final = re.compile(r"(?:\(\?i\))?/\\?\.well-known/acme-challenge/[A-Za-z0-9_-]*\$?")


def solves_http01(route: Route) -> bool:
    """Whether the rule of *route* is for ACME's HTTP-01 challenge: nothing may redirect or authenticate it.

    The validation begins over plain HTTP, before there is a certificate, and carries no credentials. What
    counts is the path that the rule itself asks for: a request for the same path that another rule takes,
    such as a protected ``/``, keeps its redirect and its protection.

    Source: RFC 8555, section 8.3.
    """
    path = route.match.value
    if route.match.kind is PathKind.REGEX:
        return _HTTP01_PATTERN.fullmatch(path) is not None
    return path == _HTTP01_PATH or path.startswith(f"{_HTTP01_PATH}/")


def is_open(route: Route) -> bool:
    """Whether nobody is authenticated for the rule of *route*.

    It `solves_http01`, or its own path is at or below one of `OpenPaths`; a regular expression is below none.
    As for challenges, the path that a request asks for does not matter.
    """
    if solves_http01(route):
        return True
    policy = route.policies.get(OpenPaths)
    if policy is None or route.match.kind is PathKind.REGEX:
        return False
    path = route.match.value
    return any(path == top or path.startswith(f"{top.rstrip('/')}/") for top in policy.paths)


def redirects_to_tls(host: VirtualHost, route: Route) -> bool:
    """Whether a plain HTTP request that *route* takes gets a redirect to HTTPS.

    Never one that `solves_http01`, whatever its policies say.
    """
    if solves_http01(route) or refuses_plain_http(route):
        return False
    policy = route.policies.get(TlsRedirect)
    if policy is None:
        return host.tls
    enabled = host.tls if policy.enabled is None else policy.enabled
    return enabled and policy.applies_to(_path(route))


def _path(route: Route) -> str:
    return route.match.value.removeprefix("(?i)")


def refuses_plain_http(route: Route) -> bool:
    """Whether a plain HTTP request that *route* takes gets 403, whatever else would happen to it.

    Never one that `solves_http01`, for it could not be solved over TLS.
    """
    policy = route.policies.get(PlainHttp)
    return policy is not None and not policy.allowed and not solves_http01(route)
