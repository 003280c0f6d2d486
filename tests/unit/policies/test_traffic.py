"""Pages of errors and stand-ins: their values, natively and as ingress-nginx writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, ObjectRef
from ingresskit.policies import FallbackService, IngressNginxDialect, NamedService, PolicyRegistry, Reading
from ingresskit.policies.kinds.traffic import parse_service, parse_statuses

K = TypeVar("K", bound=KubeObject)

SUBJECT = ObjectRef("Ingress", ObjectKey("shop", "web"))
SETTINGS = ObjectKey("ops", "settings")


def read(annotations: Mapping[str, str], settings: Mapping[str, str]) -> Reading:
    """What ingress-nginx's dialect makes of annotations, which are given without prefix."""
    data = ConfigMap(metadata=ObjectMeta(namespace=SETTINGS.namespace, name=SETTINGS.name), data=settings)

    def objects(kind: type[K], key: ObjectKey, /) -> K | None:
        return data if isinstance(data, kind) and key == SETTINGS else None

    registry = PolicyRegistry([IngressNginxDialect(settings=SETTINGS)])
    named = {f"nginx.ingress.kubernetes.io/{name}": text for name, text in annotations.items()}
    return registry.read(named, SUBJECT, objects)


@pytest.mark.parametrize(
    ("text", "service"),
    [
        ("errors", NamedService("errors")),
        (" errors:80 ", NamedService("errors", 80)),
        ("errors:http", NamedService("errors", "http")),
        ("errors:8080-http", NamedService("errors", "8080-http")),
    ],
)
def test_a_service_is_named_with_or_without_a_port(text: str, service: NamedService) -> None:
    assert parse_service(text) == service


@pytest.mark.parametrize(
    "text", ["", "Errors", "other/errors", "errors:", "errors:0", "errors:65536", "a:b:c", "a b"]
)
def test_anything_else_names_no_service(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be the name of a Service"):
        parse_service(text)


def test_statuses_are_sorted_and_each_once() -> None:
    assert parse_statuses("503, 404,503") == (404, 503)


@pytest.mark.parametrize("text", ["", "399", "600", "4xx", "404;503", "404,", ",".join(["404"] * 65)])
def test_what_is_no_error_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be statuses from 400 to 599"):
        parse_statuses(text)


SERVICE = NamedService("errors")
CASES: dict[str, tuple[dict[str, str], dict[str, str], FallbackService | None]] = {
    "nothing asked for": ({}, {}, None),
    "a Service alone": ({"default-backend": "errors"}, {}, FallbackService(service=SERVICE)),
    "statuses alone": ({"custom-http-errors": "404,503"}, {}, FallbackService(errors=(404, 503))),
    "statuses of the ConfigMap": ({}, {"custom-http-errors": "500"}, FallbackService(errors=(500,))),
    "the annotation in their place": (
        {"custom-http-errors": "404", "default-backend": "errors"},
        {"custom-http-errors": "500"},
        FallbackService(service=SERVICE, errors=(404,)),
    ),
    "those of the ConfigMap switched off here": (
        {"disable-proxy-intercept-errors": "true"},
        {"custom-http-errors": "500"},
        None,
    ),
    "those of the ConfigMap switched off everywhere": (
        {},
        {"custom-http-errors": "500", "disable-proxy-intercept-errors": "1"},
        None,
    ),
    "statuses of the Ingress while others are switched off": (
        {"custom-http-errors": "404"},
        {"disable-proxy-intercept-errors": "true"},
        FallbackService(errors=(404,)),
    ),
}


@pytest.mark.parametrize(("annotations", "settings", "policy"), CASES.values(), ids=CASES)
def test_ingress_nginx_names_statuses_and_a_service(
    annotations: dict[str, str], settings: dict[str, str], policy: FallbackService | None
) -> None:
    reading = read(annotations, settings)

    assert (reading.policies.get(FallbackService), reading.diagnostics) == (policy, ())


@pytest.mark.parametrize(
    "annotations",
    [{"default-backend": "errors:80"}, {"default-backend": "b/errors"}, {"custom-http-errors": "404,x"}],
)
def test_a_value_that_cannot_be_read_costs_itself(annotations: dict[str, str]) -> None:
    reading = read(annotations, {"custom-http-errors": "500"})

    assert [item.reason for item in reading.diagnostics] == [Reason.ANNOTATION_INVALID]
    assert reading.policies.get(FallbackService) == FallbackService(errors=(500,))
