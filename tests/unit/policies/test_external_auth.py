"""Another service that decides: what its annotations take, and what the ingress-nginx dialect makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, ObjectRef
from ingresskit.policies import (
    ExternalAuth,
    IngressNginxDialect,
    NativeDialect,
    OpenPaths,
    PolicyRegistry,
    Reading,
    RequestText,
    Variable,
)
from ingresskit.policies.kinds.external_auth import KeptVerdicts, parse_kept_verdicts
from ingresskit.policies.variables import parse_request_text, parse_request_url

SUBJECT = ObjectRef("Ingress", ObjectKey("shop", "web"))
SETTINGS = ObjectKey("ops", "settings")
HEADERS = ObjectKey("shop", "headers")
URL = "http://auth.test/check"
K = TypeVar("K", bound=KubeObject)


def config_map(key: ObjectKey, data: Mapping[str, str]) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace=key.namespace, name=key.name), data=data)


def read(
    annotations: Mapping[str, str], settings: Mapping[str, str] | None = None, *items: ConfigMap
) -> Reading:
    """What the ingress-nginx dialect makes of annotations, which are given without prefix."""
    known = {item.key: item for item in (*items, config_map(SETTINGS, settings or {}))}

    def objects(kind: type[K], key: ObjectKey, /) -> K | None:
        found = known.get(key)
        return found if isinstance(found, kind) else None

    registry = PolicyRegistry([IngressNginxDialect(settings=SETTINGS)])
    named = {f"nginx.ingress.kubernetes.io/{name}": text for name, text in annotations.items()}
    return registry.read(named, SUBJECT, objects)


def read_native(**annotations: str) -> Reading:
    named = {
        f"ingresskit.dev/external-auth-{name.replace('_', '-')}": text for name, text in annotations.items()
    }
    return PolicyRegistry([NativeDialect()]).read(named, SUBJECT)


def policy_of(reading: Reading) -> ExternalAuth:
    found = reading.policies.get(ExternalAuth)
    assert found is not None, reading.diagnostics
    return found


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("https://$host/oauth2/auth", "https://${host}/oauth2/auth"),
        ("HTTP://auth.test", "http://auth.test"),
        ("http://$http_host:81/", "http://${host}:81/"),
        ("http://auth.ns.svc.cluster.local:8080$request_uri", None),
        ("http://auth.test/?url=$scheme://$http_host$escaped_request_uri", None),
        ("http://auth.test/${http_x_tenant}/$cookie_Session/$arg_id", None),
    ],
)
def test_urls_keep_their_text_and_variables(text: str, written: str | None) -> None:
    read_once = parse_request_url(text)

    if written is not None:
        assert str(read_once) == written
    assert parse_request_url(str(read_once)) == read_once


@pytest.mark.parametrize(
    "text",
    [
        *("", "auth.test", "/check", "//auth.test/", "ftp://auth.test/", "$scheme://auth.test/"),
        *(
            "http://user:pass@auth.test/",
            "http:///check",
            "http://auth.test/ x",
            'http://auth.test/"',
            "http://a\n/",
        ),
        # A client would choose the server.
        *(
            "http://$http_x_server/",
            "http://auth$arg_x/",
            "http://auth.test:$cookie_port/",
            "http://$remote_addr/",
        ),
        # No such variable.
        *("http://auth.test/$proxy_add_x_forwarded_for", "http://auth.test/$", "http://auth.test/${host"),
        *("http://auth.test/$1", "http://auth.test/;}$host{", "http://auth.test/" + "a" * 2000),
    ],
)
def test_a_url_of_any_other_form_is_refused_and_closes_the_routes(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_request_url(text)
    if text.strip():
        assert read({"auth-url": text}).protection_fault is not None
        assert read_native(url=text).protection_fault is not None


def test_variables_are_marked_where_they_stand_in_the_value_of_a_parameter() -> None:
    text = parse_request_url("https://a.test/$uri?a=$args&$http_b")

    assert text.variables == (
        Variable("uri"),
        Variable("args", in_value=True),
        Variable("http", "b"),
    )


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        *(("$cookie_session", True), ("$remote_user$http_authorization", True), ("$remote_addr", True)),
        # Or else whoever says the name of a user has the verdict on that user, whatever the password.
        ("$remote_user", False),
        *(("x", False), ("$host$request_uri", False), ("$scheme$request_method", False)),
    ],
)
def test_keys_are_known_to_tell_clients_apart_or_not(text: str, apart: bool) -> None:
    assert parse_request_text(text).tells_clients_apart is apart
    assert bool(policy_of(read({"auth-url": URL, "auth-cache-key": text})).cache_key) is apart
    assert (read_native(url=URL, cache_key=text).protection_fault is None) is apart


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("200 202 401 5m", {200: 300, 202: 300, 401: 300}),
        ("200 202 10m, 401 30s", {200: 600, 202: 600, 401: 30}),
        ("1h", {200: 3600, 301: 3600, 302: 3600}),
        ("200 1s, 200 5s", {200: 1}),
        ("200 0s", {200: 0}),
        ("200 999999999y", {200: 365 * 86400}),
    ],
)
def test_times_are_read_as_nginx_reads_them(text: str, times: dict[int, int]) -> None:
    found = parse_kept_verdicts(text)

    assert found == KeptVerdicts(tuple((status, timedelta(seconds=time)) for status, time in times.items()))


@pytest.mark.parametrize("text", ["", "200", "any 5m", "200 5", "200,5m", "2000 5m", "200 5m 401", "200 -5m"])
def test_times_of_another_form_close_the_routes(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_kept_verdicts(text)
    if text:
        assert read({"auth-url": URL, "auth-cache-duration": text}).protection_fault is not None


def test_every_annotation_has_its_field() -> None:
    reading = read(
        {
            "auth-url": "http://$host/check?of=$namespace/$ingress_name",
            "auth-method": "HEAD",
            "auth-signin": "https://sign.test/in",
            "auth-signin-redirect-param": "back",
            "auth-request-redirect": "https://$host/after",
            "auth-response-headers": "X-User, X-Forwarded-Groups,, Authorization",
            "auth-proxy-set-headers": "shop/headers",
            "auth-always-set-cookie": "true",
            "auth-cache-key": "$cookie_s",
            "auth-cache-duration": "200 1m",
            "auth-keepalive-requests": "10",
            "auth-keepalive-timeout": "5",
            "auth-keepalive-share-vars": "true",
        },
        None,
        config_map(HEADERS, {"X-Tenant": "$http_x_tenant", "X-Of": "$namespace"}),
    )

    assert reading.diagnostics == ()
    assert policy_of(reading) == ExternalAuth(
        url=parse_request_url("http://$host/check?of=shop/web"),
        method="HEAD",
        signin=parse_request_url("https://sign.test/in"),
        signin_parameter="back",
        request_redirect=parse_request_text("https://$host/after"),
        response_headers=("X-User", "X-Forwarded-Groups", "Authorization"),
        request_headers=(
            ("X-Of", RequestText(("shop",))),
            ("X-Tenant", RequestText((Variable("http", "x-tenant"),))),
        ),
        always_set_cookie=True,
        cache_key=parse_request_text("$cookie_s"),
        cache_times=parse_kept_verdicts("200 1m"),
        keepalive=0,
        keepalive_requests=10,
        keepalive_timeout=timedelta(seconds=5),
        timeout=timedelta(seconds=60),
        forwarded_fields=False,
    )


REFUSED: dict[str, dict[str, str]] = {
    "a method of no HTTP": {"auth-method": "GET;"},
    "a method with a line end": {"auth-method": "GET\n}"},
    "a place to sign in that is none": {"auth-signin": "javascript:alert(1)"},
    "a place to sign in that clients choose": {"auth-signin": "https://$http_x/"},
    "a parameter with a delimiter": {"auth-signin-redirect-param": "rd=x&y"},
    "a header name with a blank": {"auth-response-headers": "X-User X-Group"},
    "a header of framing": {"auth-response-headers": "Content-Length"},
    "a header of the proxy": {"auth-response-headers": "x_real_ip"},
    "a redirect with an unknown variable": {"auth-request-redirect": "$arbitrary"},
    "a ConfigMap that is not there": {"auth-proxy-set-headers": "shop/none"},
    "a ConfigMap of another namespace": {"auth-proxy-set-headers": "ops/settings"},
    "no name of a ConfigMap": {"auth-proxy-set-headers": "a/b/c"},
    "header fields that cannot be sent": {"auth-proxy-set-headers": "shop/headers"},
}


@pytest.mark.parametrize("annotations", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_closes_the_routes(annotations: dict[str, str]) -> None:
    broken = config_map(HEADERS, {"X-A": "1'; return 200", "X-B": "one\ntwo"})
    reading = read({"auth-url": URL, **annotations}, None, broken)

    assert reading.protection_fault is not None
    assert reading.protection_fault.reason is Reason.ANNOTATION_INVALID
    assert reading.policies.get(ExternalAuth) is None


def test_a_config_map_of_the_same_namespace_needs_no_namespace() -> None:
    reading = read(
        {"auth-url": URL, "auth-proxy-set-headers": "headers"}, None, config_map(HEADERS, {"X-A": "1"})
    )

    assert policy_of(reading).request_headers == (("X-A", RequestText(("1",))),)


@pytest.mark.parametrize(
    ("annotations", "kept"),
    [({}, 0), ({"auth-keepalive": "5"}, 5), ({"auth-keepalive": "-1"}, 0), ({"auth-keepalive": "x"}, 0)],
)
def test_connections_are_kept_where_that_is_asked_for(annotations: dict[str, str], kept: int) -> None:
    assert policy_of(read({"auth-url": URL, **annotations})).keepalive == kept


def test_no_connection_is_kept_to_a_host_that_varies() -> None:
    reading = read({"auth-url": "http://$host/", "auth-keepalive": "5"})

    assert policy_of(reading).keepalive == 0
    assert "no connection is kept" in reading.diagnostics[0].message


GLOBAL = {
    "global-auth-url": "http://auth.test/all?of=$namespace",
    "global-auth-method": "POST",
    "global-auth-signin": "https://sign.test/",
    "global-auth-signin-redirect-param": "back",
    "global-auth-request-redirect": "/after",
    "global-auth-response-headers": "X-User",
    "global-auth-always-set-cookie": "true",
    "global-auth-cache-key": "$cookie_s",
    "global-auth-cache-duration": "200 1m",
    "no-auth-locations": "/public, /health",
}


def test_settings_hold_for_an_ingress_that_has_no_service_of_its_own() -> None:
    reading = read({}, GLOBAL)

    assert reading.policies.get(OpenPaths) == OpenPaths(paths=("/public", "/health"))
    assert policy_of(reading) == ExternalAuth(
        url=parse_request_url("http://auth.test/all?of=shop"),
        method="POST",
        signin=parse_request_url("https://sign.test/"),
        signin_parameter="back",
        request_redirect=parse_request_text("/after"),
        response_headers=("X-User",),
        always_set_cookie=True,
        cache_key=parse_request_text("$cookie_s"),
        cache_times=parse_kept_verdicts("200 1m"),
        keepalive=0,
        timeout=timedelta(seconds=60),
        forwarded_fields=False,
    )


@pytest.mark.parametrize("name", ["false", "0", "F"])
def test_an_ingress_may_do_without_them(name: str) -> None:
    assert read({"enable-global-auth": name}, GLOBAL).policies.get(ExternalAuth) is None


def test_a_service_of_an_ingress_takes_nothing_from_those_of_the_settings() -> None:
    assert policy_of(read({"auth-url": URL, "enable-global-auth": "false"}, GLOBAL)) == ExternalAuth(
        url=parse_request_url(URL),
        keepalive=0,
        timeout=timedelta(seconds=60),
        forwarded_fields=False,
    )


@pytest.mark.parametrize(
    ("key", "value", "closes"),
    [
        ("global-auth-url", "auth.test", True),
        ("global-auth-method", "get", True),
        ("global-auth-response-headers", "X User", True),
        ("global-auth-snippet", "deny all;", True),
        ("global-auth-signin", "javascript:x", False),
        ("global-auth-cache-key", "x", False),
        ("no-auth-locations", "public", False),
    ],
)
def test_a_setting_that_cannot_be_read_is_never_an_open_route(key: str, value: str, closes: bool) -> None:
    reading = read({}, {**GLOBAL, key: value})

    assert (reading.protection_fault is not None) is closes
    assert len(reading.diagnostics) == 1
    if not closes:
        assert policy_of(reading).url


def test_native_annotations_refine_those_of_ingress_nginx() -> None:
    named = {
        "nginx.ingress.kubernetes.io/auth-url": URL,
        "nginx.ingress.kubernetes.io/auth-method": "HEAD",
        "ingresskit.dev/external-auth-timeout": "2s",
    }
    policy = policy_of(PolicyRegistry([IngressNginxDialect(), NativeDialect()]).read(named, SUBJECT))

    assert (str(policy.url), policy.method, policy.timeout) == (URL, "HEAD", timedelta(seconds=2))


def test_values_for_the_service_are_hidden() -> None:
    policy = policy_of(read_native(url=URL, request_headers="X-Key: s3cret\nX-Host: $host"))

    assert "s3cret" not in repr(policy)
    assert policy.request_headers[1] == ("X-Host", RequestText((Variable("host"),)))
