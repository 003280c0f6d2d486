"""Pages of errors and stand-ins: their values, natively and as ingress-nginx writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, ObjectRef
from ingresskit.policies import (
    AccessLog,
    Coding,
    Compression,
    FallbackService,
    IngressNginxDialect,
    Mirror,
    MirrorUrl,
    NamedService,
    PolicyRegistry,
    Reading,
)
from ingresskit.policies.dialects.ingress_nginx.host_patterns import hosts_of
from ingresskit.policies.kinds.compression import parse_media_types
from ingresskit.policies.kinds.traffic import parse_mirror, parse_service, parse_statuses

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


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("shadow:80", NamedService("shadow", 80)),
        ("https://copies.test", MirrorUrl(secure=True, authority="copies.test")),
        ("http://10.0.0.1:8080/in/", MirrorUrl(secure=False, authority="10.0.0.1:8080", path="/in")),
    ],
)
def test_copies_go_to_a_service_or_a_url(text: str, target: NamedService | MirrorUrl) -> None:
    assert parse_mirror(text) == target


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "Shadow",
            "ftp://a.test",
            "http://",
            "http://a.test/?x=y",
            "http://a.test/../x",
            "http://u@a.test",
        ),
        *("http://a.test$request_uri", "http://a.test/ x", "http://a.test:0", 'http://a.test/";'),
    ],
)
def test_copies_go_nowhere_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be"):
        parse_mirror(text)


TARGETS = {
    "https://a.test$request_uri": MirrorUrl(secure=True, authority="a.test"),
    "https://a.test/$request_uri": MirrorUrl(secure=True, authority="a.test"),
    "https://a.test": MirrorUrl(secure=True, authority="a.test"),
    "http://a.test:80/in$request_uri": MirrorUrl(secure=False, authority="a.test:80", path="/in"),
    "http://a.test/in": MirrorUrl(secure=False, authority="a.test", path="/in", whole=True),
}


@pytest.mark.parametrize(("text", "target"), TARGETS.items(), ids=TARGETS)
def test_ingress_nginx_names_a_url_with_the_path_of_the_request(text: str, target: MirrorUrl) -> None:
    reading = read({"mirror-target": text, "mirror-host": "b.test", "mirror-request-body": "off"}, {})

    assert reading.policies.get(Mirror) == Mirror(target=target, host="b.test", body=False)
    assert reading.diagnostics == ()


@pytest.mark.parametrize(
    "annotations",
    [
        {"mirror-target": "https://a.test/$uri"},
        {"mirror-target": "https://$host/"},
        {"mirror-target": "a.test"},
        {"mirror-target": "https://a.test", "mirror-host": "$host"},
        {"mirror-target": "https://a.test", "mirror-request-body": "false"},
    ],
)
def test_a_part_of_a_mirror_that_cannot_be_read_costs_itself(annotations: dict[str, str]) -> None:
    reading = read(annotations, {})

    assert [item.reason for item in reading.diagnostics] == [Reason.ANNOTATION_INVALID]
    mirror = reading.policies.get(Mirror)
    assert (mirror is None) == (len(annotations) == 1)
    assert mirror is None or (mirror.host, mirror.body) == ("", True)


def test_native_details_of_a_mirror_need_one() -> None:
    with pytest.raises(ValueError, match="need mirror-to too"):
        Mirror.build({"host": "a.test"})


def test_media_types_are_a_list_or_all() -> None:
    assert parse_media_types("Text/Plain, application/json,text/plain") == ("text/plain", "application/json")
    assert parse_media_types(" * ") == ("*",)


@pytest.mark.parametrize("text", ["", "text", "text/*", "*, text/plain", "text/plain;q=1", "text/plain,"])
def test_what_is_no_media_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be media types"):
        parse_media_types(text)


def test_the_config_map_compresses_every_response() -> None:
    settings = {
        "use-gzip": "true",
        "gzip-types": "text/css  text/plain",
        "gzip-level": "5",
        "gzip-min-length": "1",
    }
    reading = read({}, settings)

    assert reading.diagnostics == ()
    assert reading.policies.get(Compression) == Compression(
        coding=Coding.GZIP, types=("text/css", "text/plain", "text/html"), min_length=1, level=5
    )
    assert read({}, {**settings, "use-gzip": "false"}).policies.get(Compression) is None


def test_brotli_is_reported_with_what_there_is_instead() -> None:
    (diagnostic,) = read({}, {"enable-brotli": "true", "brotli-level": "4"}).diagnostics

    assert diagnostic.reason is Reason.ANNOTATION_UNSUPPORTED
    assert "use-gzip" in diagnostic.message


@pytest.mark.parametrize(
    ("annotations", "settings", "policy"),
    [
        ({}, {}, None),
        ({"enable-access-log": "true"}, {}, None),
        ({"enable-access-log": "false"}, {}, AccessLog(enabled=False)),
        ({"enable-access-log": "true"}, {"disable-access-log": "true"}, AccessLog(enabled=False)),
        ({}, {"skip-access-log-urls": "/b?x,/a"}, AccessLog(skipped=("/a", "/b?x"))),
    ],
)
def test_ingress_nginx_leaves_requests_out_of_the_log(
    annotations: dict[str, str], settings: dict[str, str], policy: AccessLog | None
) -> None:
    reading = read(annotations, settings)

    assert (reading.policies.get(AccessLog), reading.diagnostics) == (policy, ())


def test_patterns_of_targets_are_reported() -> None:
    reading = read({}, {"skip-access-log-urls": "~^/health"})

    assert reading.policies.get(AccessLog) is None
    assert "regular expressions" in reading.diagnostics[0].message


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        (r"^(www|shop)\.a\.test$", ("shop.a.test", "www.a.test")),
        (r"^(?:www\.)?A\.test$", ("a.test", "www.a.test")),
        (r"^s[12]\.a\.test$", ("s1.a.test", "s2.a.test")),
        (r"^[^.]+\.a\.test$", ("*.a.test",)),
        (r"^[a-z0-9-]+\.a\.test$", ("*.a.test",)),
    ],
)
def test_an_expression_for_a_few_hosts_is_read(text: str, hosts: tuple[str, ...]) -> None:
    assert hosts_of(text) == hosts
    assert read({"server-alias": f"b.test, ~{text}"}, {}).aliases == ("b.test", *hosts)


@pytest.mark.parametrize(
    "text",
    [
        *(r"a\.test$", r"^a\.test", r"^.+\.a\.test$", r"^\d+\.a\.test$", r"^[a-z]+\.a\.test$", r"^a.test$"),
        *(
            r"^(a|b$)\.test$",
            r"^[a-f][a-f]\.test$",
            r"^(?=x)a\.test$",
            r"^a[^.]+\.test$",
            r"^a\.test$|b\.test$",
            r"^\*\.test$",
        ),
    ],
)
def test_any_other_expression_names_no_host(text: str) -> None:
    reading = read({"server-alias": f"~{text}"}, {})

    assert reading.aliases == ()
    assert [item.reason for item in reading.diagnostics] == [Reason.ANNOTATION_INVALID]
