"""What endpoints speak, as an Ingress asks for it: each gets a backend of its own."""

from __future__ import annotations

from ingresskit.diagnostics import Reason
from ingresskit.graph import BackendKey, Forward, Protocol, RouteGraph
from ingresskit.models import Snapshot
from ingresskit.policies import Algorithm, IngressNginxDialect, NativeDialect, PolicyRegistry, UpstreamProtocol
from ingresskit.render.nginx.dynamic.rows import backend_id
from ingresskit.render.nginx.names import upstream_name
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import TranslateOptions, Translation, translate

OPTIONS = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(), NativeDialect()]))
PLAIN = BackendKey("default", "web", 443)
SECURE = BackendKey("default", "web", 443, "https")


def translation() -> Translation:
    items = (
        ingress_class(),
        service("web", 443),
        endpoint_slice("web", "10.0.0.1"),
        ingress("plain", {"a.test": {"/": "web:443"}}),
        ingress(
            "native", {"b.test": {"/": "web:443"}}, annotations={"ingresskit.dev/upstream-protocol": "https"}
        ),
        ingress(
            "nginx",
            {"c.test": {"/": "web:443"}},
            annotations={"nginx.ingress.kubernetes.io/backend-protocol": "https"},
        ),
    )
    return translate(Snapshot.of(items), OPTIONS)


def backend_of(graph: RouteGraph, host: str) -> BackendKey:
    route = graph.resolve(host, "/")
    assert route is not None
    assert isinstance(route.action, Forward)
    assert UpstreamProtocol not in route.policies
    return route.action.backends[0].key


def test_routes_that_ask_for_tls_share_a_backend_that_speaks_it() -> None:
    graph = translation().graph

    assert [backend_of(graph, f"{name}.test") for name in "abc"] == [PLAIN, SECURE, SECURE]
    assert graph.backends[PLAIN].protocol is Protocol.HTTP
    assert graph.backends[SECURE].protocol is Protocol.HTTPS
    assert graph.backends[PLAIN].endpoints == graph.backends[SECURE].endpoints


def test_a_port_that_looks_like_tls_is_doubted_for_plain_routes_only() -> None:
    (doubt,) = translation().diagnostics

    assert doubt.reason is Reason.PLAIN_HTTP_TO_TLS_PORT


def test_the_two_backends_have_two_names() -> None:
    assert str(PLAIN) != str(SECURE)
    assert backend_id(PLAIN) != backend_id(SECURE)
    assert upstream_name(PLAIN, Algorithm.ROUND_ROBIN) != upstream_name(SECURE, Algorithm.ROUND_ROBIN)
