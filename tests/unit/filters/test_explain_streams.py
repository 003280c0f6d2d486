"""What `explain` says of hosts whose TLS connections are passed on."""

from __future__ import annotations

from ingresskit.filters import explain
from ingresskit.graph import Request, RouteGraph
from ingresskit.models import Snapshot
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import translate


def _graph(**annotations: str) -> RouteGraph:
    named = {key.replace("_", "-"): value for key, value in annotations.items()}
    web = ingress("web", {"a.test": {"/": "one"}}, annotations={"tls-passthrough": "true", **named})
    return translate(
        Snapshot.of([ingress_class(), web, service("one"), endpoint_slice("one", "10.0.0.1")])
    ).graph


def test_requests_over_tls_are_never_seen() -> None:
    found = explain(_graph(), Request(host="a.test", path="/x", scheme="https"))

    assert found.verdict == (
        "TLS connections for a.test are passed on to default/one:80+tcp as they are"
        " (Ingress default/web, metadata.annotations[ingresskit.dev/tls-passthrough])."
    )
    assert (found.virtual_host, found.route, found.status) == ("a.test", None, None)


def test_why_connections_are_closed_is_told() -> None:
    found = explain(_graph(rate_limit="5/s"), Request(host="a.test", path="/", scheme="https"))

    assert found.verdict.startswith("TLS connections for a.test are closed because RateLimit protects")


def test_plain_http_is_explained_as_ever() -> None:
    found = explain(_graph(), Request(host="a.test", path="/x", scheme="http"))

    assert found.route is not None
