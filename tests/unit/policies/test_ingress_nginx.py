"""The ingress-nginx dialect: what each annotation comes to, its defaults, its ConfigMap."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

import pytest

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, ObjectRef
from ingresskit.policies import (
    INGRESS_NGINX_ORDER,
    Algorithm,
    AllowedSources,
    AppRoot,
    BodyLimit,
    Cors,
    DeniedSources,
    EndpointProtocol,
    ForwardedPrefix,
    Hsts,
    IngressNginxDialect,
    LoadBalancing,
    NativeDialect,
    PermanentRedirect,
    Policy,
    PolicyRegistry,
    PolicySet,
    PrefixRewrite,
    Reading,
    RedirectStatus,
    RegexRewrite,
    ResponseHeaders,
    Retries,
    RetryOn,
    Risk,
    RulePath,
    Stage,
    Status,
    Timeouts,
    TlsRedirect,
    UpstreamHost,
    UpstreamProtocol,
    Variant,
    WwwRedirect,
)
from ingresskit.policies.dialects.ingress_nginx.table import TABLE
from ingresskit.policies.values import parse_networks

PREFIX = "nginx.ingress.kubernetes.io"
SUBJECT = ObjectRef("Ingress", ObjectKey("shop", "web"))
SETTINGS = ObjectKey("ingress-nginx", "ingress-nginx-controller")
K = TypeVar("K", bound=KubeObject)


def config_map(key: ObjectKey, data: Mapping[str, str]) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace=key.namespace, name=key.name), data=data)


def read(
    annotations: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    *items: ConfigMap,
    close: bool = True,
) -> Reading:
    """What the dialect makes of annotations, which are given without prefix."""
    known = {item.key: item for item in (*items, config_map(SETTINGS, settings or {}))}

    def objects(kind: type[K], key: ObjectKey, /) -> K | None:
        found = known.get(key)
        return found if isinstance(found, kind) else None

    registry = PolicyRegistry([IngressNginxDialect(settings=SETTINGS, close_protections=close)])
    named = {f"{PREFIX}/{name}": text for name, text in (annotations or {}).items()}
    return registry.read(named, SUBJECT, objects)


def only(reading: Reading) -> Diagnostic:
    (diagnostic,) = reading.diagnostics
    return diagnostic


BY_DEFAULT = (RetryOn.ERROR, RetryOn.TIMEOUT)


def test_an_ingress_without_annotations_has_the_defaults_of_ingress_nginx() -> None:
    reading = read()

    assert reading.policies == PolicySet(
        [
            Timeouts(connect=timedelta(seconds=5), read=timedelta(minutes=1), send=timedelta(minutes=1)),
            Retries(attempts=2, on=BY_DEFAULT),
            BodyLimit(max_bytes=1024 * 1024),
            Hsts(max_age=31_536_000, include_subdomains=True),
            TlsRedirect(keeps_slash=False),
        ]
    )
    assert reading.order == INGRESS_NGINX_ORDER
    assert (reading.diagnostics, reading.protection_fault) == ((), None)


POLICIES: dict[str, tuple[dict[str, str], Policy]] = {
    "seconds without a unit": (
        {"proxy-read-timeout": "120"},
        Timeouts(connect=timedelta(seconds=5), read=timedelta(minutes=2), send=timedelta(minutes=1)),
    ),
    "lines are trimmed": (
        {"proxy-connect-timeout": "  7\n"},
        Timeouts(connect=timedelta(seconds=7), read=timedelta(minutes=1), send=timedelta(minutes=1)),
    ),
    "a size with a unit in any case": ({"proxy-body-size": "8M"}, BodyLimit(max_bytes=8 * 1024**2)),
    "a size in bytes": ({"proxy-body-size": "100b"}, BodyLimit(max_bytes=100)),
    "no limit": ({"proxy-body-size": "0"}, BodyLimit(max_bytes=0)),
    "tries count the first one": ({"proxy-next-upstream-tries": "2"}, Retries(attempts=1, on=BY_DEFAULT)),
    "tries without end": ({"proxy-next-upstream-tries": "0"}, Retries(attempts=10, on=BY_DEFAULT)),
    "no further try": ({"proxy-next-upstream": "off", "proxy-next-upstream-tries": "3"}, Retries(attempts=0)),
    "conditions of another try": (
        {
            "proxy-next-upstream": "error http_503 http_429 non_idempotent invalid_header",
            "proxy-next-upstream-timeout": "7",
        },
        Retries(
            attempts=2,
            on=(
                *(RetryOn.ERROR, RetryOn.MALFORMED, RetryOn.TOO_MANY),
                *(RetryOn.UNAVAILABLE, RetryOn.NON_IDEMPOTENT),
            ),
            within=timedelta(seconds=7),
        ),
    ),
    "a Go boolean": ({"ssl-redirect": "F"}, TlsRedirect(enabled=False, keeps_slash=False)),
    "a redirect that is forced": (
        {"force-ssl-redirect": "1", "ssl-redirect": "false"},
        TlsRedirect(enabled=True, keeps_slash=False),
    ),
    "a slash at the end and the port": (
        {"preserve-trailing-slash": "true", "use-port-in-redirects": "true"},
        TlsRedirect(shows_port=True),
    ),
    "the root of an application": ({"app-root": "/app"}, AppRoot(location="/app", first=True, absolute=True)),
    "a twin": ({"from-to-www-redirect": "true"}, WwwRedirect(enabled=True, first=True)),
    "a redirect with a choice": (
        {"permanent-redirect": "https://b.test/x", "permanent-redirect-code": "300"},
        PermanentRedirect(location="https://b.test/x", status=RedirectStatus.MULTIPLE_CHOICES),
    ),
    "a redirect with a status that has no location": (
        {"permanent-redirect": "https://b.test/x", "permanent-redirect-code": "304"},
        PermanentRedirect(location="https://b.test/x", status=RedirectStatus.MOVED_PERMANENTLY),
    ),
    "a temporal redirect with a permanent status": (
        {"temporal-redirect": "https://b.test/x", "temporal-redirect-code": "308"},
        PermanentRedirect(location="https://b.test/x", status=RedirectStatus.FOUND),
    ),
    "a permanent redirect is 301": (
        {"permanent-redirect": "https://b.test/x"},
        PermanentRedirect(location="https://b.test/x", status=RedirectStatus.MOVED_PERMANENTLY),
    ),
    "a permanent redirect with a code": (
        {"permanent-redirect": "https://b.test/x", "permanent-redirect-code": "308"},
        PermanentRedirect(location="https://b.test/x", status=RedirectStatus.PERMANENT),
    ),
    "a temporal redirect is 302": (
        {"temporal-redirect": "https://b.test/"},
        PermanentRedirect(location="https://b.test/", status=RedirectStatus.FOUND),
    ),
    "networks with host bits": (
        {"whitelist-source-range": "10.1.2.3/8, 192.0.2.7"},
        AllowedSources(networks=parse_networks("10.0.0.0/8,192.0.2.7")),
    ),
    "the hash of the client's address": (
        {"upstream-hash-by": "$binary_remote_addr"},
        LoadBalancing(algorithm=Algorithm.CLIENT_HASH),
    ),
    "endpoints that speak TLS": (
        {"backend-protocol": "https"},
        UpstreamProtocol(protocol=EndpointProtocol.HTTPS),
    ),
    "endpoints that speak gRPC": (
        {"backend-protocol": "GRPC"},
        UpstreamProtocol(protocol=EndpointProtocol.GRPC),
    ),
    "a rewrite": ({"rewrite-target": "/v2"}, PrefixRewrite(whole="/v2")),
    "a rewrite with a slash at its end": ({"rewrite-target": "/v2/"}, PrefixRewrite(whole="/v2/")),
    "a rewrite beside patterns": (
        {"rewrite-target": "/v2", "use-regex": "true"},
        PrefixRewrite(whole="/v2"),
    ),
    "a forwarded prefix beside it": (
        {"rewrite-target": "/", "x-forwarded-prefix": "/shop"},
        ForwardedPrefix(prefix="/shop"),
    ),
}


@pytest.mark.parametrize(("annotations", "policy"), POLICIES.values(), ids=POLICIES)
def test_annotations_become_policies(annotations: Mapping[str, str], policy: Policy) -> None:
    reading = read(annotations)

    assert reading.policies.get(type(policy)) == policy
    assert reading.protection_fault is None


def test_fields_know_the_annotations_that_set_them_and_defaults_have_none() -> None:
    policies = read({"proxy-read-timeout": "9", "whitelist-source-range": "10.0.0.0/8"}).policies

    assert {name: origin.field for name, origin in policies.origins(Timeouts).items()} == {
        "read": f"metadata.annotations[{PREFIX}/proxy-read-timeout]"
    }
    assert [origin.field for origin in policies.origins(AllowedSources).values()] == [
        f"metadata.annotations[{PREFIX}/whitelist-source-range]"
    ]


INVALID: dict[str, dict[str, str]] = {
    "a time-out with a unit": {"proxy-read-timeout": "60s"},
    "a time-out of nothing": {"proxy-read-timeout": "0"},
    "a boolean that Go does not know": {"ssl-redirect": "off"},
    "a size with a fraction": {"proxy-body-size": "1.5m"},
    "a redirect to a variable": {"permanent-redirect": "https://b.test$request_uri"},
    "a redirect to a path": {"temporal-redirect": "/other"},
    "a protocol that is unknown": {"backend-protocol": "SPDY"},
    "a way to balance that is unknown": {"load-balance": "ip_hash"},
}


@pytest.mark.parametrize("annotations", INVALID.values(), ids=INVALID)
def test_an_invalid_value_leaves_the_default_and_is_reported(annotations: dict[str, str]) -> None:
    reading = read(annotations)

    assert reading.policies == read().policies
    assert (only(reading).reason, only(reading).severity) == (Reason.ANNOTATION_INVALID, Severity.WARNING)


def rewritten(target: str, *paths: str, **annotations: str) -> Reading:
    """What a target comes to for these paths; one that begins with ``=`` is Exact."""
    named = {"rewrite-target": target} | {name.replace("_", "-"): text for name, text in annotations.items()}
    registry = PolicyRegistry([IngressNginxDialect()])
    rules = tuple(RulePath("Exact" if path.startswith("=") else "Prefix", path.lstrip("=")) for path in paths)
    return registry.read({f"{PREFIX}/{name}": text for name, text in named.items()}, SUBJECT, paths=rules)


@pytest.mark.parametrize(
    ("target", "paths"),
    [
        ("/$2", ["/shop(/|$)(.*)"]),
        ("/v2/$2", ["/shop(/|$)(.*)", "/a/b(/|$)(.*)"]),
        ("$1", ["/shop(/.*)"]),
        ("/$1/$2", ["/(a)/(.*)"]),
        ("/$1", ["/shop/?(.*)"]),
    ],
)
def test_targets_with_captures_are_rewrites_by_the_path(target: str, paths: list[str]) -> None:
    reading = rewritten(target, *paths)

    assert reading.policies.get(RegexRewrite) == RegexRewrite(replacement=target)
    assert (reading.regex_paths, reading.diagnostics) == (True, ())


def test_a_capture_that_a_path_lacks_is_reported() -> None:
    reading = rewritten("/$2", "/shop(/|$)(.*)", "/other")

    assert reading.policies.get(RegexRewrite) == RegexRewrite(replacement="/$2")
    assert "the path '/other' has no group for $2" in only(reading).message


@pytest.mark.parametrize("paths", [["/shop"], ["=/shop"], ["/shop", "/v2"]])
def test_a_target_without_captures_is_the_whole_path_and_makes_paths_patterns(paths: list[str]) -> None:
    reading = rewritten("/v2", *paths)

    assert reading.policies.get(PrefixRewrite) == PrefixRewrite(whole="/v2")
    assert (reading.regex_paths, reading.diagnostics) == (True, ())


@pytest.mark.parametrize("target", ["/a/../b", "x", "/a b", "/a?b=c", "/$x", "/$uri", "/${1}", "/$0", "/$1/.."])
def test_a_target_that_is_no_path_is_reported_and_rewrites_nothing(target: str) -> None:
    reading = rewritten(target, "/shop")

    assert (reading.policies.get(PrefixRewrite), reading.regex_paths) == (None, False)
    assert only(reading).reason is Reason.ANNOTATION_INVALID


@pytest.mark.parametrize(
    ("paths", "sent", "reason"),
    [
        (["/"], False, Reason.ANNOTATION_IGNORED),
        (["/", "/shop"], True, Reason.ANNOTATION_UNSUPPORTED),
    ],
)
def test_a_forwarded_prefix_beside_a_target_that_is_a_path_is_reported(
    paths: list[str], sent: bool, reason: Reason
) -> None:
    reading = rewritten("/", *paths, x_forwarded_prefix="/shop")

    assert (ForwardedPrefix in reading.policies, only(reading).reason) == (sent, reason)


def test_a_target_that_is_the_path_rewrites_nothing() -> None:
    reading = rewritten("/", "/", "")

    assert reading.policies.get(PrefixRewrite) is None
    assert (reading.regex_paths, reading.diagnostics) == (False, ())


@pytest.mark.parametrize("host", ["inner.example", "Inner.example:8080", "10.0.0.1", "[2001:db8::1]:80"])
def test_endpoints_get_another_host(host: str) -> None:
    reading = read({"upstream-vhost": host})

    assert reading.policies.get(UpstreamHost) == UpstreamHost(host=host.lower())


@pytest.mark.parametrize(
    "host", ["$service_name.svc", "a b", "a:0", "a:65536", "http://a", "a/b", "[::x]", "a..b"]
)
def test_what_is_no_host_leaves_that_of_the_client(host: str) -> None:
    reading = read({"upstream-vhost": host})

    assert (UpstreamHost in reading.policies, only(reading).reason) == (False, Reason.ANNOTATION_INVALID)


def test_the_temporal_redirect_wins() -> None:
    reading = read({"permanent-redirect": "https://a.test/", "temporal-redirect": "https://b.test/"})

    policy = reading.policies.get(PermanentRedirect)
    assert policy is not None
    assert policy.location == "https://b.test/"
    assert only(reading).reason is Reason.ANNOTATION_IGNORED


def test_the_new_name_of_the_allow_list_wins() -> None:
    reading = read({"whitelist-source-range": "10.0.0.0/8", "allowlist-source-range": "192.0.2.0/24"})

    assert reading.policies.get(AllowedSources) == AllowedSources(networks=parse_networks("192.0.2.0/24"))
    assert "its new name" in only(reading).message


def test_an_allow_list_that_cannot_be_read_closes_the_routes() -> None:
    reading = read({"whitelist-source-range": "the office"}, close=False)

    assert reading.protection_fault == only(reading)
    assert only(reading).severity is Severity.ERROR


def test_a_deny_list_replaces_that_of_the_config_map_and_stands_beside_an_allow_list() -> None:
    settings = {"denylist-source-range": "198.51.100.0/24", "whitelist-source-range": "10.0.0.0/8"}
    reading = read({"denylist-source-range": " 10.1.2.3/16,192.0.2.1 "}, settings)

    assert reading.policies.get(DeniedSources) == DeniedSources(
        networks=parse_networks("10.1.0.0/16, 192.0.2.1")
    )
    assert reading.policies.get(AllowedSources) == AllowedSources(networks=parse_networks("10.0.0.0/8"))
    assert set(reading.policies.origins(DeniedSources)) == {"networks"}
    general = read({}, settings).policies
    assert general.get(DeniedSources) == DeniedSources(networks=parse_networks("198.51.100.0/24"))
    assert general.origins(DeniedSources) == {}


def test_clients_that_are_blocked_everywhere_stay_so_beside_a_deny_list() -> None:
    reading = read({"denylist-source-range": "192.0.2.1"}, {"block-cidrs": "192.0.2.1,198.51.100.0/24"})

    blocked = parse_networks("192.0.2.1, 198.51.100.0/24")
    assert reading.policies.get(DeniedSources) == DeniedSources(networks=blocked)
    assert reading.diagnostics == ()


@pytest.mark.parametrize("close", [True, False])
def test_a_deny_list_that_cannot_be_read_closes_the_routes(close: bool) -> None:
    reading = read({"denylist-source-range": "the office"}, close=close)

    assert reading.protection_fault == only(reading)
    assert only(reading).severity is Severity.ERROR


def test_other_sites_are_let_in_with_the_defaults_of_ingress_nginx() -> None:
    policy = read({"enable-cors": "true"}).policies.get(Cors)

    assert policy == Cors(origins=("*",), credentials=True, max_age=1_728_000, every_options=True)
    assert read({"enable-cors": "false", "cors-allow-origin": "https://a.test"}).policies.get(Cors) is None
    assert read({"cors-allow-origin": "https://a.test"}).policies.get(Cors) is None


def test_other_sites_are_let_in_as_the_annotations_say() -> None:
    reading = read(
        {
            "enable-cors": "true",
            "cors-allow-origin": "https://a.test, https://*.b.test:8443",
            "cors-allow-methods": "GET, PUT",
            "cors-allow-headers": "X-One,X_Two",
            "cors-allow-credentials": "false",
            "cors-max-age": "600",
            "cors-expose-headers": "*",
        }
    )

    assert reading.diagnostics == ()
    assert reading.policies.get(Cors) == Cors(
        origins=("https://a.test", "https://*.b.test:8443"),
        methods=("GET", "PUT"),
        headers=("X-One", "X_Two"),
        max_age=600,
        expose_headers=("*",),
        every_options=True,
    )
    assert len(reading.policies.origins(Cors)) == 6


@pytest.mark.parametrize(
    ("value", "origins"),
    [("https://a.test, nonsense/", ("https://a.test",)), ("nonsense/, *", ("*",)), ("nonsense/", None)],
)
def test_an_origin_that_cannot_be_read_is_left_out(value: str, origins: tuple[str, ...] | None) -> None:
    reading = read({"enable-cors": "true", "cors-allow-origin": value})
    policy = reading.policies.get(Cors)

    assert (policy.origins if policy else None) == origins
    assert "it is left out" in only(reading).message
    assert reading.protection_fault is None


PROTECTIONS: dict[str, dict[str, str]] = {
    "a firewall": {"enable-modsecurity": "true"},
    "a snippet": {"configuration-snippet": "deny all;"},
}


@pytest.mark.parametrize("annotations", PROTECTIONS.values(), ids=PROTECTIONS)
def test_a_protection_that_is_not_built_closes_the_routes(annotations: dict[str, str]) -> None:
    reading, opened = read(annotations), read(annotations, close=False)

    assert reading.protection_fault is not None
    assert reading.protection_fault.reason is Reason.ANNOTATION_UNSUPPORTED
    assert reading.protection_fault.message.endswith("the routes of this object respond 503")
    assert opened.protection_fault is None
    assert any("open to every client" in item.message for item in opened.diagnostics)


IDLE: dict[str, dict[str, str]] = {
    "no authentication": {"auth-type": "", "auth-realm": "shop"},
    "limits of zero": {"limit-rps": "0", "limit-connections": "0"},
    "a firewall that is off": {"enable-modsecurity": "false", "enable-owasp-core-rules": "true"},
    "certificates that are not asked for": {
        "auth-tls-secret": "shop/ca",
        "auth-tls-match-cn": "CN=a",
        "auth-tls-verify-client": "off",
    },
    "what holds anyway": {
        "ssl-redirect": "true",
        "proxy-http-version": "1.1",
        "enable-access-log": "true",
        "proxy-buffering": "on",
        "canary": "false",
    },
}


@pytest.mark.parametrize("annotations", IDLE.values(), ids=IDLE)
def test_what_asks_for_nothing_says_nothing(annotations: dict[str, str]) -> None:
    assert read(annotations).diagnostics == ()


def test_a_snippet_names_what_does_it_here() -> None:
    text = 'more_set_headers "X-A: b";\nif ($host) { return 301 https://b.test; }\ndeny all;'

    message = only(read({"configuration-snippet": text})).message
    assert "sets response header fields (use ingresskit.dev/response-headers-set)" in message
    assert "redirects (use ingresskit.dev/redirect)" in message
    assert "keeps them out (use ingresskit.dev/allow-sources)" in message


@pytest.mark.parametrize(
    ("settings", "closed"),
    [
        ({}, True),
        ({"allow-snippet-annotations": "false"}, True),
        ({"annotations-risk-level": "Critical"}, True),
        ({"annotations-risk-level": "Critical", "allow-snippet-annotations": "true"}, True),
        ({"annotations-risk-level": "Critical", "allow-snippet-annotations": "false"}, False),
    ],
)
def test_snippets_are_left_out_only_where_ingress_nginx_leaves_them_out(
    settings: dict[str, str], closed: bool
) -> None:
    assert (read({"server-snippet": "x;"}, settings).protection_fault is not None) is closed


def test_the_config_map_says_how_long_hosts_are_used_over_tls_only() -> None:
    settings = {"hsts-max-age": "60", "hsts-include-subdomains": "false"}

    assert read({}, settings).policies.get(Hsts) == Hsts(max_age=60)
    assert read({}, {"hsts": "false"}).policies.get(Hsts) is None


def test_settings_hold_for_every_ingress_and_annotations_win() -> None:
    settings = {
        "proxy-read-timeout": "30",
        "proxy-body-size": "0",
        "ssl-redirect": "false",
        "whitelist-source-range": "10.0.0.0/8",
        "load-balance": "ewma",
    }

    policies = read({"proxy-body-size": "2m"}, settings).policies
    assert policies.get(BodyLimit) == BodyLimit(max_bytes=2 * 1024**2)
    assert policies.get(TlsRedirect) == TlsRedirect(enabled=False, keeps_slash=False)
    assert policies.get(AllowedSources) == AllowedSources(networks=parse_networks("10.0.0.0/8"))
    assert policies.get(LoadBalancing) == LoadBalancing(algorithm=Algorithm.EWMA)
    assert policies.origins(AllowedSources) == {}


@pytest.mark.parametrize(
    ("key", "value", "closes"),
    [
        ("block-cidrs", "all", True),
        ("block-user-agents", "~(?=x)", True),
        ("block-referers", "~(a+)+", True),
        ("denylist-source-range", "the office", True),
        ("whitelist-source-range", "the office", True),
        ("http-redirect-code", "303", False),
        ("proxy-body-size", "large", False),
        ("main-snippet", "x;", False),
    ],
)
def test_a_setting_that_is_not_honoured_is_reported_once_for_its_config_map(
    key: str, value: str, closes: bool
) -> None:
    reading = read({}, {key: value})

    assert only(reading).subject == ObjectRef("ConfigMap", SETTINGS)
    assert only(reading).field == f"data[{key}]"
    assert (reading.protection_fault is not None) is closes


def test_an_annotation_above_the_risk_level_is_refused() -> None:
    reading = read({"whitelist-source-range": "10.0.0.0/8"}, {"annotations-risk-level": "Low"})

    assert reading.protection_fault == only(reading)
    assert "annotations-risk-level low" in only(reading).message


def test_a_word_on_the_block_list_refuses_the_annotation() -> None:
    reading = read({"rewrite-target": "/proc/self"}, {"annotation-value-word-blocklist": "proc, load_module"})

    assert reading.policies.get(PrefixRewrite) is None
    assert "'proc'" in only(reading).message


HEADERS = ObjectKey("shop", "headers")
ALLOWED = {"global-allowed-response-headers": "X-One, x-two"}


def test_custom_headers_come_from_the_config_map() -> None:
    reading = read(
        {"custom-headers": "shop/headers"}, ALLOWED, config_map(HEADERS, {"X-Two": "2", "X-One": "1"})
    )

    assert reading.policies.get(ResponseHeaders) == ResponseHeaders(set=(("X-One", "1"), ("X-Two", "2")))
    assert reading.diagnostics == ()


@pytest.mark.parametrize(
    ("named", "data", "why"),
    [
        ("shop/headers", {"X-Three": "3"}, "global-allowed-response-headers"),
        ("shop/headers", {"X-One": "1\r\nX-Two: 2"}, "one line"),
        ("shop/missing", {}, "no ConfigMap"),
        ("bank/headers", {}, "another namespace"),
        ("headers", {}, "NAMESPACE/NAME"),
    ],
)
def test_custom_headers_that_cannot_be_set_close_the_routes(named: str, data: dict[str, str], why: str) -> None:
    other = config_map(ObjectKey("bank", "headers"), {"X-One": "1"})
    reading = read({"custom-headers": named}, ALLOWED, config_map(HEADERS, data), other)

    assert reading.protection_fault == only(reading)
    assert why in only(reading).message


def test_the_config_map_opens_other_namespaces() -> None:
    settings = ALLOWED | {"allow-cross-namespace-resources": "true"}
    other = config_map(ObjectKey("bank", "headers"), {"X-One": "1"})

    assert read({"custom-headers": "bank/headers"}, settings, other).diagnostics == ()


def test_a_canary_is_a_variant() -> None:
    reading = read({"canary": "true", "canary-by-header": "X-Canary", "canary-weight": "20"})

    assert reading.variant == Variant.canary(header="X-Canary", weight=20)


def test_a_weight_without_canary_is_reported() -> None:
    reading = read({"canary-weight": "20"})

    assert reading.variant is None
    assert only(reading).reason is Reason.ANNOTATION_IGNORED


def test_the_order_is_that_of_the_phases_of_nginx() -> None:
    stages = [
        *(Stage.BODY, Stage.PREFLIGHT, Stage.ACTION, Stage.TLS_REDIRECT),
        *(Stage.RATE, Stage.ADDRESS, Stage.AUTHENTICATION, Stage.UPSTREAM),
    ]
    assert sorted(stages, key=INGRESS_NGINX_ORDER.place) == stages


def test_an_annotation_that_ingress_nginx_never_had_is_reported_with_the_nearest() -> None:
    reading = read({"server-snippets": "deny all;"})

    assert reading.protection_fault is None
    assert only(reading).reason is Reason.ANNOTATION_UNKNOWN
    assert only(reading).message.endswith(f"did you mean {PREFIX}/server-snippet?")


def test_a_native_annotation_wins_and_the_other_is_told() -> None:
    registry = PolicyRegistry([IngressNginxDialect(), NativeDialect()])
    annotations = {f"{PREFIX}/proxy-body-size": "1m", "ingresskit.dev/body-limit": "2m"}

    reading = registry.read(annotations | {"ingresskit.dev/read-timeout": "5s"}, SUBJECT)

    assert reading.policies.get(BodyLimit) == BodyLimit(max_bytes=2 * 1024**2)
    assert reading.policies.get(Timeouts) == Timeouts(
        connect=timedelta(seconds=5), read=timedelta(seconds=5), send=timedelta(minutes=1)
    )
    assert only(reading).field == f"metadata.annotations[{PREFIX}/proxy-body-size]"


def test_every_name_is_in_the_table_once_sorted_and_documented() -> None:
    table = IngressNginxDialect().table()
    names = [row.name for row in table]

    assert len(names) == 138
    assert names == sorted(set(names))
    assert all(row.summary.endswith(".") and row.value for row in table)
    assert {row.name for row in table if row.risk is Risk.CRITICAL} == {
        *("auth-snippet", "configuration-snippet", "modsecurity-snippet", "server-snippet", "stream-snippet"),
    }


@pytest.mark.parametrize("name", TABLE)
def test_every_name_that_is_not_honoured_is_reported_when_it_is_said_to_be(name: str) -> None:
    row = TABLE[name]
    annotations = {name: "something"} | ({row.needs: "true"} if row.needs else {})

    reading = read(annotations)

    unsupported = [item for item in reading.diagnostics if item.reason is Reason.ANNOTATION_UNSUPPORTED]
    fields = {item.field for item in unsupported if item.field.endswith(f"/{name}]")}
    if row.doc.status in (Status.REPORTED, Status.CLOSED):
        assert fields
    if row.doc.status is Status.CLOSED:
        assert reading.protection_fault is not None
