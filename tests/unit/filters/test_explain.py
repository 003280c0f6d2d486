from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.errors import ConfigurationError
from ingresskit.filters import Explanation, Miss, explain
from ingresskit.graph import (
    PathMatch,
    Redirect,
    Request,
    Respond,
    Route,
    RouteGraph,
    Unserved,
)
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import (
    AllowedSources,
    BodyLimit,
    DeniedSources,
    ExternalAuth,
    Order,
    PlainHttp,
    PolicySet,
    PrefixRewrite,
    RequestHeaders,
    Shadow,
    Shadowed,
    Stage,
    TlsRedirect,
)
from ingresskit.policies.values import parse_networks
from ingresskit.policies.variables import parse_request_url
from tests.unit.graph.graphs import WEB, backend, graph, host, origin, route

SHOP = graph(
    host("shop.test", "Exact /exact", "Prefix /cart", "Prefix /"),
    host("tls.test", "Prefix /", tls=True),
    host("*.shop.test", "Prefix /wild"),
    host("*", "Prefix /any"),
)


def asked(url: str, *, at: RouteGraph = SHOP) -> Explanation:
    return explain(at, Request.of(url))


def misses(found: Explanation) -> dict[str, str]:
    """The reason for each near miss by its host and path."""
    return {f"{miss.host} {miss.path}": miss.reason for miss in found.near_misses}


def test_the_winning_rule_is_named_with_its_origin() -> None:
    found = asked("http://Shop.Test:80/cart/x?y#z")

    assert (found.host, found.path, found.virtual_host, found.status) == (
        "shop.test",
        "/cart/x",
        "shop.test",
        None,
    )
    assert found.route is SHOP.resolve("shop.test", "/cart/x")
    assert found.verdict == (
        "Prefix /cart of shop.test (Ingress shop/Prefix/cart, spec.rules[0]) takes it "
        "and forwards it to shop/web:80."
    )


@pytest.mark.parametrize(
    ("url", "rule", "reason"),
    [
        pytest.param(
            "http://shop.test/cart", "shop.test Prefix /", Miss.LESS_SPECIFIC_PATH, id="a longer prefix"
        ),
        pytest.param("http://shop.test/exact/", "shop.test Exact /exact", Miss.PATH_TYPE, id="exact is exact"),
        pytest.param(
            "http://shop.test/cartridge", "shop.test Prefix /cart", Miss.PATH_TYPE, id="whole elements"
        ),
        pytest.param("http://shop.test/Cart", "shop.test Prefix /cart", Miss.PATH_DIFFERS, id="upper case"),
        pytest.param("http://shop.test/any", "* Prefix /any", Miss.LESS_SPECIFIC_HOST, id="any host"),
        pytest.param(
            "http://a.b.shop.test/wild", "*.shop.test Prefix /wild", Miss.HOST_DIFFERS, id="two labels"
        ),
        pytest.param("http://shop.test/wild", "*.shop.test Prefix /wild", Miss.HOST_DIFFERS, id="no label"),
    ],
)
def test_a_near_miss_has_its_reason(url: str, rule: str, reason: Miss) -> None:
    assert misses(asked(url)).get(rule) == reason


def test_a_rule_of_an_unrelated_host_is_no_near_miss() -> None:
    assert not any(name.startswith("tls.test") for name in misses(asked("http://deep.other.example/")))


def test_a_host_of_like_spelling_is_a_near_miss_only_where_nobody_has_the_host_asked_for() -> None:
    shop, slip = host("shop.demo.test", "Prefix /"), host("shops.demo.test", "Prefix /")

    assert not misses(asked("http://shop.demo.test/", at=graph(shop, slip)))
    assert "shops.demo.test Prefix /" in misses(asked("http://shop.demo.test/", at=graph(slip)))


@pytest.mark.parametrize(
    ("url", "status", "verdict"),
    [
        ("http://tls.test/", 308, "sends plain HTTP to HTTPS"),
        ("https://tls.test/", None, "forwards it to shop/web:80"),
        ("http://other.test/x", 404, "404: the host * has no rule that takes /x."),
        ("http://shop.test/a/../../x", 400, "400: the path '/a/../../x' leads above the root."),
    ],
)
def test_the_status_is_what_the_proxy_answers(url: str, status: int | None, verdict: str) -> None:
    found = asked(url)

    assert found.status == status
    assert verdict in found.verdict


def test_a_host_that_nobody_claims_is_404() -> None:
    assert asked("http://a.test/", at=graph()).verdict == "404: no Ingress claims the host a.test."


def test_a_host_that_is_none_is_400() -> None:
    found = explain(SHOP, Request(host="a b", path="/"))

    assert (found.status, found.verdict) == (400, "400: the host 'a b' is not a host, optionally with a port.")


def test_redirects_and_answers_are_told() -> None:
    served = graph(
        host(
            "a.test",
            route("Prefix /r", action=Redirect(location="/new", status=302)),
            route(
                "Prefix /e",
                action=Respond(status=503, reason=Reason.SERVICE_NOT_FOUND, message="no Service web"),
            ),
        )
    )

    assert (asked("http://a.test/r", at=served).status, asked("http://a.test/e", at=served).status) == (
        302,
        503,
    )
    assert asked("http://a.test/r", at=served).verdict.endswith("takes it and redirects to /new.")
    assert asked("http://a.test/e", at=served).verdict.endswith("takes it because no Service web.")


def test_a_backend_without_endpoints_is_503_with_the_reason() -> None:
    served = replace(SHOP, backends={WEB: backend(WEB, note="no pod is ready")})

    found = asked("http://shop.test/", at=served)

    assert found.status == 503
    assert "no endpoint can (shop/web:80: no pod is ready)" in found.verdict


def test_a_policy_decides_about_the_redirect_to_tls() -> None:
    off = route("Prefix /", policies=PolicySet([TlsRedirect(enabled=False)]))
    on = route("Prefix /", policies=PolicySet([TlsRedirect(enabled=True)]))

    assert asked("http://a.test/", at=graph(host("a.test", off, tls=True))).status is None
    assert asked("http://a.test/", at=graph(host("a.test", on))).status == 308


def unserved(name: str, path: str, reason: str = "RouteConflict") -> Unserved:
    return Unserved(
        origin=origin("late"),
        host=name,
        path=path and f"Prefix {path}",
        match=PathMatch.prefix(path) if path else None,
        reason=reason,
        message="it lost",
        winner=ObjectRef("Ingress", ObjectKey("shop", "early")),
    )


def test_rules_that_are_not_served_say_why() -> None:
    dropped = (unserved("shop.test", "/cart"), unserved("shop.test", "/else"), unserved("far.example", "/cart"))
    served = replace(SHOP, unserved=(*dropped, unserved("shop.test", "", "ClassNotOurs")))

    found = asked("http://shop.test/cart", at=served)

    lost = [
        (miss.path, miss.reason, str(miss.winner)) for miss in found.near_misses if miss.message == "it lost"
    ]
    assert lost == [
        ("Prefix /cart", "RouteConflict", "Ingress shop/early"),
        ("", "ClassNotOurs", "Ingress shop/early"),
    ]


def test_there_are_at_most_fifty_near_misses() -> None:
    served = graph(host("a.test", *(f"Exact /{number}" for number in range(100))))

    assert len(asked("http://a.test/x", at=served).near_misses) == 50


@pytest.mark.parametrize(
    "url", ["", "shop.test/x", "ftp://shop.test/", "http://", "/x", "http://[::1", "http:///x"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Request.of(url)


def test_a_host_field_replaces_the_host_of_the_url() -> None:
    request = Request.of(
        "https://10.0.0.1", headers={"Host": "shop.test", "X-A": "b"}, method="POST", client="::1"
    )

    assert request == Request(
        scheme="https",
        host="shop.test",
        path="/",
        method="POST",
        headers={"host": "shop.test", "x-a": "b"},
        client="::1",
    )


@pytest.mark.parametrize(
    ("url", "rule", "says"),
    [
        ("http://a.test/foo/", "Exact /foo", "in the slash at the end, which counts for Exact /foo"),
        ("http://a.test/foo", "Exact /foo/", "in the slash at the end, which counts for Exact /foo/"),
        ("http://a.test/foo/x", "Exact /foo", "a Prefix would"),
        ("http://a.test/Foo", "Prefix /foo", "paths are case-sensitive"),
        ("http://a.test/foobar", "Prefix /foo", "takes whole elements"),
        ("http://a.test/api", "Prefix /api/v1", "takes nothing above /api/v1"),
        ("http://a.test/chekout", "Prefix /checkout", "is spelt nearly the same"),
    ],
)
def test_the_relation_that_matters_comes_first(url: str, rule: str, says: str) -> None:
    others = ("Prefix /aaa", "Exact /aab", "Prefix /other")
    found = asked(url, at=graph(host("a.test", *others, rule)))

    assert found.near_misses[0].path == rule
    assert says in found.near_misses[0].message


def test_a_rule_of_the_host_that_is_not_served_comes_before_all_others() -> None:
    served = graph(host("a.test", "Exact /foo", "Prefix /"))
    found = asked("http://a.test/foo/", at=replace(served, unserved=(unserved("a.test", "/foo"),)))

    assert found.near_misses[0].reason == "RouteConflict"


@pytest.mark.parametrize(
    ("asked_for", "held", "says"),
    [
        ("www.shop.test", "shop.test", "two hosts"),
        ("shop.test", "www.shop.test", "two hosts"),
        ("shop.test", "*.shop.test", "takes names below shop.test, not shop.test itself"),
        ("a.b.shop.test", "*.shop.test", "exactly one label before"),
        ("api.shop.test", "shop.test", "takes no names below it; *.shop.test would"),
        ("shop.test", "api.shop.test", "is a name below shop.test"),
        ("shop.test", "*.eu.shop.test", "it is for the host *.eu.shop.test"),
        ("web.shop.test", "web.eu.shop.test", "it is for the host web.eu.shop.test, and web.shop.test has one"),
        ("web.shop.test", "*.eu.shop.test", "has one label less"),
        ("web.eu.shop.test", "web.shop.test", "has one label more"),
        ("shpo.test", "shop.test", "it is for the host shop.test"),
    ],
)
def test_a_host_that_is_nearly_there_is_named_even_where_it_lacks_the_path(
    asked_for: str, held: str, says: str
) -> None:
    found = asked(f"http://{asked_for}/nowhere", at=graph(host(held, "Prefix /x")))

    assert [miss.host for miss in found.near_misses] == [held]
    assert says in found.near_misses[0].message
    assert found.near_misses[0].message.endswith("no rule of it takes /nowhere")


@pytest.mark.parametrize("written", ["shop.test:8080", "https://shop.test/", "shop.test.", "Shop.test/x"])
def test_a_host_that_is_refused_for_how_it_is_written_is_a_near_miss(written: str) -> None:
    lost = Unserved(origin=origin("bad"), host=written, reason="InvalidHost", message="it is none")
    found = asked("http://shop.test/", at=replace(graph(), unserved=(lost,)))

    assert [miss.reason for miss in found.near_misses] == ["InvalidHost"]


def test_a_route_that_refuses_plain_http_says_so() -> None:
    only = route("Prefix /", policies=PolicySet([PlainHttp(allowed=False)]))
    served = graph(host("a.test", only, tls=True))

    assert asked("http://a.test/", at=served).status == 403
    assert "plain HTTP is refused" in asked("http://a.test/", at=served).verdict
    assert asked("https://a.test/", at=served).status is None


@pytest.mark.parametrize(
    ("rule", "solves"),
    [
        ("Exact /.well-known/acme-challenge/t0ken", True),
        ("Prefix /.well-known/acme-challenge", True),
        ("Exact /.well-known/acme-challenge/", True),
        ("Prefix /.well-known/acme-challenges", False),
        ("Prefix /.well-known", False),
        ("Prefix /x/.well-known/acme-challenge", False),
        ("Prefix /", False),
    ],
)
def test_only_a_rule_for_the_path_of_challenges_itself_is_free_of_redirects(rule: str, solves: bool) -> None:
    at = graph(host("tls.test", rule, tls=True))
    path = rule.split()[1]

    assert asked(f"http://tls.test{path}", at=at).status == (None if solves else 308)
    assert asked(f"https://tls.test{path}", at=at).status is None


def test_the_order_in_force_is_that_of_the_route() -> None:
    policies = PolicySet(
        [
            PrefixRewrite(prefix="/v2"),
            RequestHeaders(remove=("X-A",)),
            BodyLimit(max_bytes=10),
            AllowedSources(networks=parse_networks("10.0.0.0/8")),
        ]
    )
    native = route("Prefix /", policies=policies)
    order = Order([Stage.REWRITE, *(stage for stage in Stage if stage is not Stage.REWRITE)])

    def stages(made: Route, scheme: str) -> tuple[Stage, ...]:
        return explain(graph(host("a.test", made, tls=True)), Request.of(f"{scheme}://a.test/")).order

    assert stages(native, "https") == (Stage.ADDRESS, Stage.BODY, Stage.REWRITE, Stage.HEADERS)
    assert stages(native, "http")[:2] == (Stage.ADDRESS, Stage.TLS_REDIRECT)
    assert stages(replace(native, order=order), "https")[:2] == (Stage.REWRITE, Stage.ADDRESS)
    assert stages(route("Prefix /"), "https") == ()


def test_policies_on_trial_refuse_nothing_and_are_named() -> None:
    closed = AllowedSources(networks=parse_networks("192.0.2.0/24"))
    policies = PolicySet([closed, Shadow(on_trial=(Shadowed.ACCESS,))])
    one = replace(route("Prefix /"), policies=policies)
    found = asked("http://a.test/", at=graph(host("a.test", one)))

    assert found.status is None
    assert found.verdict.endswith("On trial, and refusing nothing: address.")


@pytest.mark.parametrize(
    ("asked_for", "held"),
    [
        ("shop.test", "*.shop.test"),
        ("shop.test", "www.shop.test"),
        ("a.b.shop.test", "*.shop.test"),
        ("web.shop.test", "web.eu.shop.test"),
    ],
)
def test_a_host_that_relates_by_structure_comes_before_hosts_of_like_spelling(
    asked_for: str, held: str
) -> None:
    alike = [host(f"{number}{asked_for}", "Prefix /") for number in range(9)]
    found = asked(f"http://{asked_for}/", at=graph(*alike, host(held, "Prefix /")))

    assert next(miss.host for miss in found.near_misses) == held
    assert len(found.near_misses) == 8


def test_rules_of_related_hosts_that_are_not_served_come_after_these_and_before_hosts_of_like_spelling() -> (
    None
):
    served = graph(host("shops.test", "Prefix /"), host("*.shop.test", "Prefix /"))
    lost = unserved("www.shop.test", "", "ClassNotOurs")
    found = asked("http://shop.test/", at=replace(served, unserved=(lost,)))

    assert [miss.host for miss in found.near_misses] == ["*.shop.test", "www.shop.test", "shops.test"]


def test_near_misses_that_are_not_shown_are_counted() -> None:
    below = [host(f"tenant{number}.shop.test", "Prefix /") for number in range(74)]
    found = asked("http://shop.test/", at=graph(*below))

    assert (len(found.near_misses), found.near_miss_count) == (8, 74)
    assert asked("http://tenant1.shop.test/", at=graph(*below)).near_miss_count == 0


def test_ten_thousand_hosts_are_asked_once_each() -> None:
    names = [f"t{number}.{'abcdefgh'[number % 8]}.shop.test" for number in range(10_000)]
    found = asked("http://shop.test/", at=graph(*(host(name, "Prefix /") for name in sorted(names))))

    assert (len(found.near_misses), found.near_miss_count) == (8, 10_000)


def test_what_keeps_other_clients_out_is_told_without_a_client_and_named_with_one() -> None:
    allow = AllowedSources(networks=parse_networks("10.0.0.0/8"))
    deny = DeniedSources(networks=parse_networks("10.9.0.0/16"))
    where = {"networks": origin("a", "metadata.annotations[ingresskit.dev/allow-sources]")}
    policies = PolicySet([allow, deny], {AllowedSources: where})
    at = graph(host("a.test", route("Prefix /", policies=policies)))
    by = "allow-sources (Ingress shop/a, metadata.annotations[ingresskit.dev/allow-sources])"

    open_ended = asked("http://a.test/", at=at)
    outside = explain(at, Request.of("http://a.test/", client="192.0.2.7"))
    denied = explain(at, Request.of("http://a.test/", client="10.9.0.1"))
    inside = explain(at, Request.of("http://a.test/", client="10.0.0.1"))

    assert open_ended.status is None
    assert f"Clients outside 10.0.0.0/8 would be refused by {by}." in open_ended.verdict
    assert "Clients in 10.9.0.0/16 would be refused by deny-sources." in open_ended.verdict
    assert (outside.status, denied.status, inside.status) == (403, 403, None)
    assert f"does not let 192.0.2.7 in: refused by {by}" in outside.verdict
    assert "does not let 10.9.0.1 in: refused by deny-sources" in denied.verdict
    assert "would be" not in inside.verdict


def test_who_is_not_signed_in_would_be_sent_to_the_page_for_that() -> None:
    auth = ExternalAuth(
        url=parse_request_url("https://auth.test/check"), signin=parse_request_url("https://auth.test/in")
    )
    bare = ExternalAuth(url=parse_request_url("https://auth.test/check"))

    def verdict(policy: ExternalAuth) -> str:
        return asked(
            "http://a.test/", at=graph(host("a.test", route("Prefix /", policies=PolicySet([policy]))))
        ).verdict

    assert "(401) would be sent to the sign-in page https://auth.test/in by external-auth-url" in verdict(auth)
    assert "(401) would get that 401 by external-auth-url" in verdict(bare)


def test_cookies_are_a_header_field() -> None:
    made = Request.of("http://a.test/", headers={"Cookie": "a=1"}, cookies={"b": "2", "c": "3"})

    assert made.headers == {"cookie": "a=1; b=2; c=3"}


@pytest.mark.parametrize(
    ("url", "method", "says"),
    [
        ("http://a.test:99999/", "GET", "ort"),
        ("http://a.test:0/", "GET", "ports are from 1 to 65535"),
        ("http://a.test/", "", "'' is not a method"),
        ("a.test/x", "GET", "did you mean http://a.test/x?"),
        ("a.test:8080/x", "GET", "did you mean http://a.test:8080/x?"),
    ],
)
def test_a_request_that_cannot_be_is_refused_with_what_to_write(url: str, method: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Request.of(url, method=method)

    assert says in str(refused.value)
