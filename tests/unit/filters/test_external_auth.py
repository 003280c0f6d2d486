"""Another service that decides: the question of the filter, what comes of each response, what is said of it."""

from __future__ import annotations

import base64
import ipaddress
import pickle
from dataclasses import dataclass, field, replace

import pytest

from ingresskit.filters import (
    UNCHANGED,
    Admitted,
    Chain,
    Handshake,
    Reply,
    ResponseFilter,
    Resuming,
    Subrequest,
    SubrequestReply,
    chain_of,
    decide,
    explain,
)
from ingresskit.filters.variables import fill, fill_parts, fill_url
from ingresskit.graph import Request, RouteGraph, Termination
from ingresskit.policies import ExternalAuth, OpenPaths, Policy, PolicySet, Stage
from ingresskit.policies.kinds.external_auth import parse_kept_verdicts
from ingresskit.policies.variables import parse_request_text, parse_request_url
from ingresskit.testing import Answer, Ask, answer_faults, possible_answers
from tests.unit.graph.graphs import graph, host, route

AUTH = ExternalAuth(
    url=parse_request_url("http://auth.test:81/check?key=$cookie_s"), response_headers=("X-User",)
)
CLIENT = ipaddress.ip_address("2001:db8::1")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def world(*policies: Policy, name: str = "a.test", path: str = "Prefix /") -> RouteGraph:
    return graph(host(name, route(path, policies=PolicySet(policies))))


def question(policy: ExternalAuth = AUTH, url: str = "http://a.test/cart?x=1", **headers: str) -> Subrequest:
    (found,) = decide(world(policy), Request.of(url, headers=headers)).questions
    assert isinstance(found, Subrequest)
    return found


def chain(*policies: Policy, name: str = "a.test", path: str = "Prefix /") -> Chain:
    """The chain of a route with these policies, as a worker process would get it."""
    (virtual_host,) = world(*policies, name=name, path=path).virtual_hosts
    found: Chain = pickle.loads(pickle.dumps(chain_of(virtual_host, virtual_host.routes[0])))  # noqa: S301
    return found


@dataclass
class View:
    """A request."""

    fields: dict[str, str] = field(default_factory=dict[str, str])
    method: bytes = b"GET"
    host: str = "a.test"
    path: str = "/p%20q"
    query: bytes = b"?a=1&b=2;3+4"
    client: Address = CLIENT
    https: bool = True
    handshake: Handshake | None = None
    length: int | None = None
    secure_location: str | None = None

    def field(self, name: bytes) -> bytes | None:
        if name == b"host":
            return b"a.test:8443"
        found = self.fields.get(name.decode())
        return None if found is None else found.encode("latin-1")


@dataclass
class Response:
    status: int = 200

    def field(self, name: bytes) -> bytes | None:
        return None

    def values(self, name: bytes) -> tuple[bytes, ...]:
        return ()


def outcome(reply: SubrequestReply, policy: ExternalAuth = AUTH) -> object:
    (guard,) = chain(policy).plain
    assert isinstance(guard, Resuming)
    return guard.resume(View(), reply)


URI = "/p%20q?a=1&b=2;3+4"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$host $http_host $best_http_host", "a.test a.test:8443 a.test:8443"),
        ("$scheme $pass_access_scheme $request_method", "https https GET"),
        ("$request_uri", URI),
        ("$escaped_request_uri", "%2Fp%2520q%3Fa%3D1%26b%3D2%3B3%2B4"),
        ("$uri$is_args$args $query_string", f"{URI} a=1&b=2;3+4"),
        ("$arg_a ${arg_b} $arg_c.", "1 2;3+4 ."),
        ("$remote_addr $the_real_ip", "2001:db8::1 2001:db8::1"),
        ("$cookie_s $cookie_S $cookie_none.", "a=b  ."),
        ("$http_x_one $http_x_two.", "1 .,2 ."),
        ("$remote_user", "ann"),
    ],
)
def test_variables_have_the_values_of_the_request(text: str, value: str) -> None:
    basic = "Basic " + base64.b64encode(b"ann:secret").decode()
    view = View({"cookie": "t=1; s=a=b", "x-one": "1 .,2", "authorization": basic})

    assert fill(parse_request_text(text), view) == value


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer YW5uOng=", "Basic ?", "Basic", "Basic " + base64.b64encode(b"a\r\nb:x").decode()],
)
def test_there_is_no_user_without_a_decent_one(authorization: str) -> None:
    assert fill(parse_request_text("$remote_user"), View({"authorization": authorization})) == ""


def test_what_a_client_sends_cannot_add_to_a_url() -> None:
    view = View({"x-a": "1&admin=1 #\xe9/..", "cookie": "s=b%3D&c"})

    assert fill_url(parse_request_url("http://t.test/?u=$request_uri&v=1"), view) == (
        "http://t.test/?u=/p%20q?a=1%26b=2%3B3%2B4&v=1"
    )
    assert fill_url(parse_request_url("http://t.test/$http_x_a?c=$cookie_s"), view) == (
        "http://t.test/1%26admin%3D1%20%23%E9%2F..?c=b%253D%26c"
    )
    assert fill_url(parse_request_url("http://t.test$request_uri"), view) == f"http://t.test{URI}"


def test_parts_of_a_key_are_never_joined() -> None:
    text = parse_request_text("$http_a$http_b")

    assert fill_parts(text, View({"a": "xy", "b": ""})) != fill_parts(text, View({"a": "x", "b": "y"}))


def test_the_question_passes_the_fields_of_the_client_but_none_that_it_could_forge() -> None:
    asked = question()

    assert (asked.url, asked.method, asked.passes) == ("http://auth.test:81/check?key=", b"GET", True)
    assert {b"x-original-url", b"x-forwarded-for", b"x-real-ip", b"range", b"content-length"} <= asked.drop
    assert dict(asked.fields)[b"X-Original-URL"] == b"http://a.test/cart?x=1"
    assert dict(asked.fields)[b"X-Forwarded-Uri"] == b"/cart?x=1"
    assert asked.host == ""


def test_as_in_ingress_nginx_the_question_has_no_more_and_no_port() -> None:
    asked = question(replace(AUTH, forwarded_fields=False))

    assert asked.host == "auth.test"
    assert b"X-Forwarded-Proto" not in dict(asked.fields)
    assert b"x-forwarded-proto" in asked.drop


def test_further_fields_replace_those_of_the_proxy_and_empty_ones_are_not_sent() -> None:
    further = (
        ("x_sent_from", parse_request_text("us")),
        ("X-Tenant", parse_request_text("$http_tenant")),
        ("X-None", parse_request_text("$http_none")),
    )
    asked = question(replace(AUTH, request_headers=further), tenant="b")
    names = [name.lower() for name, _ in asked.fields]

    assert dict(asked.fields)[b"x_sent_from"] == b"us"
    assert dict(asked.fields)[b"X-Tenant"] == b"b"
    assert (b"x-sent-from" in names, b"x-none" in names) == (False, False)
    assert {b"x-tenant", b"x-none"} <= asked.drop


def test_verdicts_of_policies_that_differ_are_kept_apart() -> None:
    keyed = replace(AUTH, cache_key=parse_request_text("$cookie_s"), cache_times=parse_kept_verdicts("200 1m"))
    others = [
        keyed,
        replace(keyed, url=parse_request_url("http://other.test/?k=$cookie_s")),
        replace(keyed, request_headers=(("X-A", parse_request_text("1")),)),
        replace(keyed, request_headers=(("X-A", parse_request_text("2")),)),
    ]
    kept = [question(policy).kept for policy in others]

    assert len({item.parts for item in kept if item is not None}) == len(others)
    assert question(keyed).kept == kept[0]
    assert question(AUTH).kept is None


def test_who_is_let_in_brings_what_the_service_says_and_never_what_the_client_says() -> None:
    fields = ((b"x_user", b"ann"), (b"x-user", b"of us"), (b"x-other", b"1"), (b"set-cookie", b"a=b"))
    let_in, empty = outcome(SubrequestReply(status=204, fields=fields)), outcome(SubrequestReply(status=200))

    assert isinstance(let_in, Admitted)
    assert let_in.request.fields == ((b"X-User", b"ann, of us"),)
    assert let_in.request.drop == frozenset({b"x-user"})
    assert isinstance(empty, Admitted)
    assert (empty.request.fields, empty.request.drop) == ((), frozenset({b"x-user"}))
    assert empty.response is None
    assert chain(AUTH).request.drop == frozenset({b"x-user"})


@pytest.mark.parametrize(
    ("always", "status", "sent"),
    [(False, 200, True), (False, 302, True), (False, 404, False), (True, 404, True), (False, 101, False)],
)
def test_cookies_go_with_the_responses_that_nginx_adds_them_to(always: bool, status: int, sent: bool) -> None:
    cookies = ((b"set-cookie", b"a=b"), (b"set-cookie", b"c=d"))
    let_in = outcome(SubrequestReply(status=200, fields=cookies), replace(AUTH, always_set_cookie=always))

    assert isinstance(let_in, Admitted)
    assert let_in.response is not None
    adding: ResponseFilter = let_in.response
    edit = adding.response(View(), Response(status))
    assert edit == UNCHANGED if not sent else edit.fields == ((b"Set-Cookie", b"a=b"), (b"Set-Cookie", b"c=d"))


@pytest.mark.parametrize("status", [0, 199, 300, 302, 304, 400, 404, 407, 429, 500, 503])
def test_whatever_is_neither_yes_nor_no_is_a_500(status: int) -> None:
    refusal = outcome(SubrequestReply(status=status))

    assert isinstance(refusal, Reply)
    assert (refusal.status, refusal.termination) == (500, Termination.INTERNAL)
    assert refusal.detail.endswith(f"responded {status}" if status else "did not respond")


@pytest.mark.parametrize(
    "path", ["Prefix /open", "Prefix /open/below", "Exact /open", "Exact /.well-known/acme-challenge/x"]
)
def test_rules_that_are_open_ask_nobody(path: str) -> None:
    assert chain(AUTH, OpenPaths(paths=("/open",)), path=path).plain == ()


@pytest.mark.parametrize("path", ["Prefix /", "Prefix /opened", "Exact /ope", "Prefix /other/open"])
def test_rules_that_are_not_below_an_open_path_ask(path: str) -> None:
    assert len(chain(AUTH, OpenPaths(paths=("/open",)), path=path).plain) == 1


@pytest.mark.parametrize(("name", "closed"), [("a.test", False), ("*.a.test", False), ("*", True)])
def test_a_service_at_any_host_is_never_asked(name: str, closed: bool) -> None:
    policy = ExternalAuth(url=parse_request_url("https://$http_host/check"))
    made = world(policy, name=name)
    request = Request.of("http://x.a.test/" if name != "a.test" else "http://a.test/")
    decision = decide(made, request)

    if not closed:
        assert decision.reply is None
        assert len(decision.questions) == 1
        return
    assert decision.reply == Reply(status=503, termination=Termination.UNAVAILABLE)
    assert (decision.stage, decision.questions) == (Stage.AUTHENTICATION, ())
    assert (
        "it is closed: there is no service to ask, or clients would choose it" in explain(made, request).verdict
    )


def test_without_a_service_nobody_is_let_in() -> None:
    decision = decide(world(ExternalAuth()), Request.of("http://a.test/"))

    assert decision.reply == Reply(status=503, termination=Termination.UNAVAILABLE)


def test_explanations_name_who_decides_without_what_clients_sent() -> None:
    made = world(AUTH)
    found = explain(made, Request.of("http://a.test/", headers={"cookie": "s=s3cret"}))

    assert found.verdict.endswith(
        "Before that, http://auth.test:81 is asked whether the request may go on. "
        "A client that it does not know (401) would get that 401 by external-auth-url."
    )
    assert "s3cret" not in found.verdict
    assert found.order == (Stage.AUTHENTICATION, Stage.HEADERS)


def test_an_oracle_takes_a_yes_and_a_no() -> None:
    made, ask = world(AUTH), Ask(host="a.test")
    (forwarded,) = possible_answers(made, ask)

    assert forwarded.status == 200
    for status in (302, 401, 403, 500):
        assert answer_faults(made, ask, Answer(status=status)) == ()
    assert answer_faults(made, ask, Answer(status=404)) != ()
    assert answer_faults(made, ask, replace(forwarded, services=frozenset({"shop/other"}))) != ()
    assert answer_faults(world(), ask, Answer(status=401)) != ()
