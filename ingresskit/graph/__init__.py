"""What should be served: virtual hosts, routes, backends and certificates, and which rule takes what."""

from ingresskit.graph.diff import GraphChanges, GraphDiff, diff
from ingresskit.graph.dump import digest, dump, to_json
from ingresskit.graph.graph import GraphKeys, Outcome, RouteGraph
from ingresskit.graph.holder import HostHolder, holder_of
from ingresskit.graph.hosts import (
    ANY_HOST,
    HostRefused,
    host_candidates,
    normalise_host,
    rule_host,
    wildcard_above,
)
from ingresskit.graph.match import PathKind, PathMatch
from ingresskit.graph.nodes import (
    Action,
    Backend,
    BackendKey,
    Certificate,
    Close,
    Endpoint,
    Forward,
    Protocol,
    Redirect,
    Respond,
    Route,
    RouteKey,
    StreamRoute,
    Unserved,
    VirtualHost,
    WeightedBackend,
)
from ingresskit.graph.paths import DEFAULT_PATHS, PathOptions, PathRefused, normalise_path, normalise_rewritten
from ingresskit.graph.plain_http import is_open, redirects_to_tls, refuses_plain_http, solves_http01
from ingresskit.graph.request import JudgedRequest, Request
from ingresskit.graph.termination import Termination
from ingresskit.graph.withhold import ObjectParts, Withholding, parts_by_object, withhold

__all__ = [
    "ANY_HOST",
    "DEFAULT_PATHS",
    "Action",
    "Backend",
    "BackendKey",
    "Certificate",
    "Close",
    "Endpoint",
    "Forward",
    "GraphChanges",
    "GraphDiff",
    "GraphKeys",
    "HostHolder",
    "HostRefused",
    "JudgedRequest",
    "ObjectParts",
    "Outcome",
    "PathKind",
    "PathMatch",
    "PathOptions",
    "PathRefused",
    "Protocol",
    "Redirect",
    "Request",
    "Respond",
    "Route",
    "RouteGraph",
    "RouteKey",
    "StreamRoute",
    "Termination",
    "Unserved",
    "VirtualHost",
    "WeightedBackend",
    "Withholding",
    "diff",
    "digest",
    "dump",
    "holder_of",
    "host_candidates",
    "is_open",
    "normalise_host",
    "normalise_path",
    "normalise_rewritten",
    "parts_by_object",
    "redirects_to_tls",
    "refuses_plain_http",
    "rule_host",
    "solves_http01",
    "to_json",
    "wildcard_above",
    "withhold",
]
