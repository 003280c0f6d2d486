"""Requests are answered as ingress-nginx answers them, and what was planted is found by one that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pytest

from ingresskit.graph import Request
from ingresskit.migrate import (
    Agreement,
    IngressNginxModel,
    Prediction,
    Probes,
    logged_requests,
    prove,
    read_flags,
)
from ingresskit.models import ConfigMap, Ingress, KubeObject, ObjectMeta
from ingresskit.testing import ingress, tls_secret

_NGINX = "nginx.ingress.kubernetes.io"
_CERTIFICATE = tls_secret("shop.test", name="cert", namespace="a")


def web(
    notes: Mapping[str, str] | None = None,
    paths: Mapping[str, str] | None = None,
    *,
    name: str = "web",
    host: str = "shop.test",
    tls: bool = True,
    ingress_class: str = "nginx",
    created: int = 0,
) -> Ingress:
    return ingress(
        name,
        {host: paths or {"/": "web"}},
        namespace="a",
        created=created,
        ingress_class=ingress_class,
        tls={"cert": [host]} if tls else {},
        annotations={f"{_NGINX}/{key}": value for key, value in (notes or {}).items()},
    )


def settings(**data: str) -> ConfigMap:
    meta = ObjectMeta(namespace="edge", name="conf")
    return ConfigMap(metadata=meta, data={key.replace("_", "-"): value for key, value in data.items()})


def canary(**notes: str) -> Ingress:
    shown = {"canary": "true", **{f"canary-{key.replace('_', '-')}": value for key, value in notes.items()}}
    return web(shown, {"/": "next"}, name="canary", created=1)


_LOGGED = (
    '192.0.2.1 - - [30/Nov/2026:10:00:00 +0000] "POST /cart?x=1 HTTP/1.1" 200 12 "-" "curl" 345 0.004'
    " [a-web-80] [] 10.0.0.1:8080 12 0.004 200 abc"
)
_FLAGS = read_flags(["--configmap=edge/conf", "--enable-ssl-passthrough"])
_PATTERN = {"/v1(/|$)(.*)": "web"}

# What ingress-nginx has, and what is served here in its place.
PLANTED: dict[str, tuple[list[KubeObject], list[KubeObject]]] = {
    "another service": ([web()], [web(paths={"/": "other"})]),
    "a path less": ([web(paths={"/": "web", "/a": "a"})], [web()]),
    "a path more": ([web()], [web(paths={"/": "web", "/a": "a"})]),
    "exact for prefix": ([web(paths={"/a": "web"})], [web(paths={"=/a": "web"})]),
    "prefix for exact": ([web(paths={"=/a": "web"})], [web(paths={"/a": "web"})]),
    "another class": ([web()], [web(ingress_class="other")]),
    "another host": ([web()], [web(host="new.test")]),
    "a wildcard in place of the host": ([web(host="a.shop.test")], [web(host="*.shop.test")]),
    "no TLS": ([web()], [web(tls=False)]),
    "no redirect to TLS": ([web()], [web({"ssl-redirect": "false"})]),
    "a forced redirect to TLS": ([web(tls=False)], [web({"force-ssl-redirect": "true"}, tls=False)]),
    "a smaller body": ([web({"proxy-body-size": "8m"})], [web()]),
    "a larger body": ([web()], [web({"proxy-body-size": "8m"})]),
    "clients let in": ([web({"whitelist-source-range": "10.0.0.0/8"})], [web()]),
    "clients kept out": ([web()], [web({"whitelist-source-range": "10.0.0.0/8"})]),
    "a wider range": (
        [web({"whitelist-source-range": "10.0.0.0/16"})],
        [web({"whitelist-source-range": "10.0.0.0/15"})],
    ),
    "a denied range lost": ([web({"denylist-source-range": "192.0.2.0/24"})], [web()]),
    "a permanent redirect": ([web({"permanent-redirect": "https://x.test/a"})], [web()]),
    "another target": (
        [web({"permanent-redirect": "https://x.test/a"})],
        [web({"permanent-redirect": "https://x.test/b"})],
    ),
    "another status": (
        [web({"permanent-redirect": "https://x.test/a"})],
        [web({"permanent-redirect": "https://x.test/a", "permanent-redirect-code": "308"})],
    ),
    "a temporal redirect": ([web()], [web({"temporal-redirect": "https://x.test/a"})]),
    "app root": ([web({"app-root": "/app"})], [web()]),
    "another app root": ([web({"app-root": "/app"})], [web({"app-root": "/other"})]),
    "a rewrite lost": (
        [web({"rewrite-target": "/$2"}, _PATTERN)],
        [web({"use-regex": "true"}, _PATTERN)],
    ),
    "another rewrite": (
        [web({"rewrite-target": "/$2"}, _PATTERN)],
        [web({"rewrite-target": "/x/$2"}, _PATTERN)],
    ),
    "another pattern": (
        [web({"use-regex": "true"}, {"/v[0-9]+": "web"})],
        [web({"use-regex": "true"}, {"/v[0-9]{2}": "web"})],
    ),
    "a pattern that became a path": (
        [web({"use-regex": "true"}, {"/foo": "web"})],
        [web(paths={"/foo": "web"})],
    ),
    "another upstream host": ([web({"upstream-vhost": "in.test"})], [web()]),
    "credentials lost": ([web({"auth-type": "basic", "auth-secret": "users"})], [web()]),
    "preflights lost": ([web({"enable-cors": "true"})], [web()]),
    "another origin": (
        [web({"enable-cors": "true", "cors-allow-origin": "https://app.example"})],
        [web({"enable-cors": "true", "cors-allow-origin": "https://b.example"})],
    ),
    "a canary lost": ([web(), canary(by_header="X-Lane")], [web()]),
    "another header of a canary": (
        [web(), canary(by_header="X-Lane")],
        [web(), canary(by_header="X-Other")],
    ),
    "a cookie of a canary": ([web(), canary(by_cookie="lane")], [web(), canary(by_header="lane")]),
    "a global body limit": ([web(), settings(proxy_body_size="8m")], [web(), settings(proxy_body_size="2m")]),
    "a global redirect": ([web(), settings(ssl_redirect="false")], [web(), settings()]),
    "the code of redirects": ([web(), settings(http_redirect_code="301")], [web(), settings()]),
    "a rate lost": ([web({"limit-rps": "10"})], [web()]),
    "another rate": ([web({"limit-rps": "10"})], [web({"limit-rpm": "10"})]),
    "another burst": ([web({"limit-rps": "10"})], [web({"limit-rps": "10", "limit-burst-multiplier": "2"})]),
    "clients without a rate": (
        [web({"limit-rps": "10", "limit-allowlist": "198.51.100.0/24", "denylist-source-range": "192.0.2.9"})],
        [web({"limit-rps": "10", "denylist-source-range": "192.0.2.9"})],
    ),
    "connections lost": ([web({"limit-connections": "10"})], [web()]),
    "the status of rates": (
        [web({"limit-rps": "10"}), settings(limit_req_status_code="429")],
        [web({"limit-rps": "10"}), settings()],
    ),
    "another weight": ([web(), canary(weight="20")], [web(), canary(weight="30")]),
    "another total": ([web(), canary(weight="20")], [web(), canary(weight="20", weight_total="200")]),
    "a weight lost": ([web(), canary(weight="20")], [web()]),
    "no HSTS": ([web()], [web(), settings(hsts="false")]),
    "another HSTS": ([web(), settings(hsts_max_age="60")], [web(), settings()]),
    "a header field of a rewrite": (
        [web({"rewrite-target": "/$2", "x-forwarded-prefix": "/v1"}, _PATTERN)],
        [web({"rewrite-target": "/$2"}, _PATTERN)],
    ),
    "a service that nobody asks": ([web({"auth-url": "http://auth.a.svc/x"})], [web()]),
    "a service that is asked everywhere": (
        [web(), settings(global_auth_url="http://auth.a.svc/x")],
        [web(), settings()],
    ),
    "a program let in": ([web(), settings(block_user_agents="~*probe")], [web(), settings()]),
    "a slash that stays": (
        [web({"preserve-trailing-slash": "true"}, {"/a": "web"})],
        [web(paths={"/a": "web"})],
    ),
    "TLS that ends here": ([web({"ssl-passthrough": "true"})], [web()]),
    "TLS that is passed on": ([web()], [web({"ssl-passthrough": "true"})]),
    "TLS that is passed on to another": (
        [web({"ssl-passthrough": "true"})],
        [web({"ssl-passthrough": "true"}, {"/": "other"})],
    ),
    "a global list": ([web(), settings(whitelist_source_range="10.0.0.0/8")], [web(), settings()]),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_was_planted_is_found_by_a_request(name: str) -> None:
    there, here = PLANTED[name]

    whole = prove([*there, _CERTIFICATE], _FLAGS)
    found = prove([*there, _CERTIFICATE], _FLAGS, served=[*here, _CERTIFICATE])

    if "credentials" not in name:  # there is no Secret: those routes are closed here
        assert [item.why for item in whole.unexplained] == []
    assert found.differences
    assert found.differences[0].why


def test_request_that_is_refused_here_is_lost() -> None:
    found = prove([web()], served=[web({"configuration-snippet": "deny all;"})])

    assert found.differences[0].agreement is Agreement.LOST
    assert "no snippet is ever executed" in found.differences[0].reason
    assert found.unexplained == ()


def test_counts_are_kept_for_each_ingress() -> None:
    kept, lost = web(host="a.test", tls=False), web(name="lost", host="b.test", tls=False)

    found = prove([kept, lost], served=[kept])

    assert found.by_ingress[kept.ref][1] == 0
    assert found.by_ingress[lost.ref][1] > 0
    assert found.same < found.asked


def predict(*ingresses: Ingress, path: str, host: str = "shop.test", **more: object) -> Prediction:
    return IngressNginxModel(ingresses).predict(Request(scheme="https", host=host, path=path, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/a", "a/a"),
        ("/a/b", "a/a"),
        ("/ab", "a/web"),
        ("/a%2Fb", "a/a"),
        ("//a", "a/a"),
        ("/x/../a", "a/a"),
        ("/b", "a/b"),
        ("/b/c", "a/web"),
    ],
)
def test_model_chooses_the_location_as_nginx_does(path: str, service: str) -> None:
    assert predict(web(paths={"/": "web", "/a": "a", "=/b": "b"}), path=path).service == service


@pytest.mark.parametrize(("path", "service"), [("/FOObar", "a/foo"), ("/foo", "a/foo"), ("/other", "a/web")])
def test_one_pattern_makes_patterns_of_all_paths_of_the_host(path: str, service: str) -> None:
    plain = web(paths={"=/foo": "foo", "/": "web"})
    pattern = web({"use-regex": "true"}, {"/x[0-9]+y": "x"}, name="pattern", created=1)

    assert predict(plain, pattern, path=path).service == service


def test_longest_pattern_wins_in_the_model() -> None:
    paths = {"/api/[a-z]+": "long", "/api": "short"}

    assert predict(web({"use-regex": "true"}, paths), path="/api/x").service == "a/long"


def test_older_ingress_keeps_a_path_in_the_model_and_of_equals_the_last_name() -> None:
    old, new = web(paths={"/": "old"}), web(paths={"/": "new"}, name="young", created=1)
    twin = web(paths={"/": "twin"}, name="zz")

    assert predict(new, old, path="/").service == "a/old"
    assert predict(old, twin, path="/").service == "a/twin"


def test_slash_is_added_by_nginx_itself() -> None:
    found = predict(web(paths={"/a/": "a"}), path="/a")

    assert (found.status, found.location) == (301, "https://shop.test/a/")


def test_limits_are_decisions_with_their_burst() -> None:
    notes = {"limit-rps": "5", "limit-rpm": "100", "limit-connections": "7", "limit-burst-multiplier": "3"}

    found = predict(web({**notes, "limit-allowlist": "192.0.2.0/24"}), path="/")
    free = predict(web({**notes, "limit-allowlist": "192.0.2.0/24"}), path="/", client="192.0.2.7")

    assert [str(item) for item in found.limits] == [
        "5 a second, 16 at once, then 503",
        "7 at a time, then 503",
        "100 a minute, 301 at once, then 503",
    ]
    assert free.limits == ()


@pytest.mark.parametrize(
    ("notes", "shares"),
    [
        ({"weight": "20"}, {"a/next": Fraction(1, 5), "a/web": Fraction(4, 5)}),
        ({"weight": "20", "weight_total": "400"}, {"a/next": Fraction(1, 20), "a/web": Fraction(19, 20)}),
        ({"weight": "5", "weight_total": "10"}, {"a/next": Fraction(1, 20), "a/web": Fraction(19, 20)}),
        ({"weight": "0"}, {}),
        ({"weight": "100"}, {}),
    ],
    ids=["of a hundred", "of more", "a total below a hundred does nothing", "none", "all"],
)
def test_a_weight_is_a_share(notes: dict[str, str], shares: dict[str, Fraction]) -> None:
    found = predict(web(), canary(**notes), path="/")

    assert dict(found.shares) == shares
    if not shares:
        assert found.service == ("a/next" if notes["weight"] == "100" else "a/web")


def test_a_header_decides_before_a_weight() -> None:
    both = canary(weight="20", by_header="X-Lane")

    assert predict(web(), both, path="/", headers={"x-lane": "always"}).service == "a/next"
    assert predict(web(), both, path="/", headers={"x-lane": "never"}).shares == ()


@pytest.mark.parametrize("notes", [{"use-regex": "true"}, {"rewrite-target": "/x"}], ids=str)
def test_a_canary_makes_no_patterns_of_the_paths_of_a_host(notes: dict[str, str]) -> None:
    shown = {"canary": "true", "canary-weight": "20", **notes}
    objects = [
        web(paths={"/": "web", "/api": "api"}, tls=False),
        web(shown, {"/": "next"}, name="canary", created=1, tls=False),
    ]

    assert prove(objects).differences == ()


def test_the_tls_section_of_a_canary_alone_is_explained() -> None:
    shown = {"canary": "true", "canary-weight": "20"}

    found = prove([web(tls=False), web(shown, {"/": "next"}, name="canary", created=1), _CERTIFICATE])

    assert found.differences
    assert found.unexplained == ()


def test_a_canary_of_a_pattern_is_one_of_the_same_pattern() -> None:
    notes = {"use-regex": "true", "rewrite-target": "/$2"}
    objects = [
        web(notes, _PATTERN, tls=False),
        web(
            {**notes, "canary": "true", "canary-weight": "20"},
            {"/v1(/|$)(.*)": "next"},
            name="canary",
            created=1,
            tls=False,
        ),
    ]

    assert prove(objects).differences == ()


def test_the_smallest_request_is_shown() -> None:
    there, here = web({"permanent-redirect": "https://x.test/a"}), web()
    asked = Request(scheme="https", host="shop.test", path="/a/b/c", query="?x=1", headers={"x-other": "1"})

    (shown,) = prove([there], served=[here], requests=[asked], probes=Probes(most_per_host=0)).differences

    assert (shown.request.path, shown.request.query, shown.request.headers) == ("/", "", {})


def test_what_a_body_may_be_is_judged_before_a_slash_is_added() -> None:
    found = predict(web(paths={"/a/": "a"}), path="/a", headers={"content-length": "9000000"})

    assert found.status == 413


def test_a_rule_with_an_escape_takes_nothing_at_ingress_nginx_and_that_is_explained() -> None:
    (found, *more) = prove([web(paths={"/a%20b": "web"}, tls=False)]).differences

    assert found.there.status == 404
    assert all("one with an escape takes no request" in item.reason for item in (found, *more))


def test_services_without_endpoints_explain_no_difference() -> None:
    found = prove([web()], served=[web(paths={"/": "other"})])

    assert found.differences
    assert found.unexplained == found.differences


@pytest.mark.parametrize("path", ["/%zz", "/a%00b", "/../x"])
def test_malformed_path_is_refused_by_the_model(path: str) -> None:
    assert predict(web(), path=path).status == 400


@pytest.mark.parametrize(
    ("line", "url", "method"),
    [
        (
            _LOGGED,
            "https://shop.test/cart?x=1",
            "POST",
        ),
        (
            '{"vhost": "shop.test", "request_uri": "/x?y=z", "method": "GET", "remote_addr": "192.0.2.1"}',
            "https://shop.test/x?y=z",
            "GET",
        ),
        (
            '{"host": "shop.test", "path": "/p", "request_query": "q=1", "scheme": "http"}',
            "http://shop.test/p?q=1",
            "GET",
        ),
    ],
)
def test_requests_of_a_log_are_read(line: str, url: str, method: str) -> None:
    (found,) = logged_requests([line, line], [web()])

    assert f"{found.scheme}://{found.host}{found.path}{found.query}" == url
    assert found.method == method


@pytest.mark.parametrize("line", ["", "nonsense", "{", '{"host": "a.test"}', "[1]"])
def test_other_lines_of_a_log_are_left_out(line: str) -> None:
    assert list(logged_requests([line], [web()])) == []


def test_requests_of_a_log_are_proved_too() -> None:
    logged = Request(scheme="https", host="shop.test", path="/only/in/the/log")

    found = prove([web(paths={"/only": "web"})], requests=[logged], served=[web(paths={"=/only": "web"})])

    assert found.asked > 1
    assert any(item.request.path.startswith("/only/") for item in found.differences)
