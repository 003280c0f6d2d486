"""Backends that stand in for others: which the graph has, and what is said of those that are not there."""

from __future__ import annotations

import pytest

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.graph import BackendKey, Forward, RouteGraph
from ingresskit.models import KubeObject, ObjectKey, Snapshot
from ingresskit.policies import FallbackService, IngressNginxDialect, Mirror, PolicyRegistry
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import DefaultBackend, TranslateOptions, translate

ERRORS = BackendKey("default", "errors", 80)
MAIN = BackendKey("default", "web", 80)
NATIVE = "ingresskit.dev"
BOTH = {"fallback-service": "errors", "error-pages": "404"}


def graph_of(
    annotations: dict[str, str], *more: KubeObject, default: DefaultBackend | None = None
) -> tuple[RouteGraph, list[Diagnostic]]:
    objects = [
        ingress_class(),
        ingress(
            "web", {"a.test": {"/": "web"}}, annotations={f"{NATIVE}/{k}": v for k, v in annotations.items()}
        ),
        service("web"),
        endpoint_slice("web", "10.0.0.1"),
        *more,
    ]
    result = translate(Snapshot.of(objects), TranslateOptions(default_backend=default))
    return result.graph, list(result.diagnostics)


def action_of(graph: RouteGraph) -> Forward:
    action = graph.by_host["a.test"].routes[0].action
    assert isinstance(action, Forward)
    return action


@pytest.mark.parametrize("named", ["errors", "errors:80", "errors:http"])
def test_the_graph_holds_the_backend_that_stands_in(named: str) -> None:
    graph, diagnostics = graph_of(
        {**BOTH, "fallback-service": named},
        service("errors", ports={"http": 80}),
        endpoint_slice("errors", "10.0.0.2", ports={"http": 8080}),
    )

    action = action_of(graph)
    assert (action.fallback, action.pages) == (ERRORS, ERRORS)
    assert len(graph.backends[ERRORS].endpoints) == 1
    assert diagnostics == []


def test_without_statuses_it_makes_no_pages() -> None:
    graph, _ = graph_of({"fallback-service": "errors"}, service("errors"))

    assert (action_of(graph).fallback, action_of(graph).pages) == (ERRORS, None)


def test_a_service_that_is_not_there_costs_the_annotation_only() -> None:
    graph, diagnostics = graph_of(BOTH)

    action = action_of(graph)
    assert (action.fallback, action.pages) == (None, None)
    assert FallbackService not in graph.by_host["a.test"].routes[0].policies
    assert [item.reason for item in diagnostics] == [Reason.SERVICE_NOT_FOUND]
    assert diagnostics[0].field == f"metadata.annotations[{NATIVE}/fallback-service]"


def test_the_default_backend_of_the_controller_makes_pages_and_gets_no_requests() -> None:
    default = DefaultBackend(service=ObjectKey("ops", "errors"), port=80)
    graph, diagnostics = graph_of({"error-pages": "404"}, service("errors", namespace="ops"), default=default)

    action = action_of(graph)
    assert (action.fallback, action.pages) == (None, BackendKey("ops", "errors", 80))
    assert not any(item.reason is Reason.ANNOTATION_IGNORED for item in diagnostics)


def test_pages_that_nothing_makes_are_reported() -> None:
    graph, diagnostics = graph_of({"error-pages": "404"})

    assert FallbackService not in graph.by_host["a.test"].routes[0].policies
    assert [(item.reason, item.field) for item in diagnostics] == [
        (Reason.ANNOTATION_IGNORED, f"metadata.annotations[{NATIVE}/error-pages]")
    ]


def test_the_graph_holds_the_service_that_gets_copies() -> None:
    graph, diagnostics = graph_of(
        {"mirror-to": "shadow"}, service("shadow"), endpoint_slice("shadow", "10.0.0.3")
    )

    assert action_of(graph).mirror == BackendKey("default", "shadow", 80)
    assert (len(graph.backends), diagnostics) == (2, [])


def test_copies_for_a_service_that_is_not_there_are_reported() -> None:
    graph, diagnostics = graph_of({"mirror-to": "shadow"})

    assert (action_of(graph).mirror, Mirror in graph.by_host["a.test"].routes[0].policies) == (None, False)
    assert [(item.reason, item.field) for item in diagnostics] == [
        (Reason.SERVICE_NOT_FOUND, f"metadata.annotations[{NATIVE}/mirror-to]")
    ]


def test_a_canary_has_the_services_of_its_main_path() -> None:
    prefix = "nginx.ingress.kubernetes.io"
    canary = ingress(
        "canary",
        {"a.test": {"/": "next"}},
        annotations={
            f"{prefix}/canary": "true",
            f"{prefix}/canary-weight": "10",
            f"{prefix}/default-backend": "mine",
        },
        created=1,
    )
    main = ingress(
        "web",
        {"a.test": {"/": "web"}},
        annotations={f"{prefix}/default-backend": "errors", f"{prefix}/custom-http-errors": "404"},
    )
    services = [service(name) for name in ("web", "next", "errors", "mine")]
    options = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect()]))
    graph = translate(Snapshot.of([ingress_class(), main, canary, *services]), options).graph

    actions = [route.action for route in graph.by_host["a.test"].routes]
    assert [action.pages for action in actions if isinstance(action, Forward)] == [ERRORS, ERRORS]
    assert [action.fallback for action in actions if isinstance(action, Forward)] == [MAIN, ERRORS]
    assert not any(key.service == "mine" for key in graph.backends)
