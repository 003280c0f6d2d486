from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.graph import (
    BackendKey,
    Respond,
    Route,
    RouteGraph,
    VirtualHost,
    Withholding,
    parts_by_object,
    withhold,
)
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import AllowedSources, PolicySet, Timeouts
from tests.unit.graph.graphs import backend, certificate, forward, graph, host, route

BAD = ObjectRef("Ingress", ObjectKey("shop", "bad"))
SECRET = ObjectRef("Secret", ObjectKey("shop", "tls"))
OTHER = BackendKey("shop", "other", 80)


def action(found: RouteGraph, name: str, path: str) -> object:
    taken = found.resolve(name, path)
    return taken and taken.action


def old() -> RouteGraph:
    return graph(
        host("a.test", route("Prefix /", name="good"), route("Prefix /bad", name="bad")),
        host("old.test", route("Prefix /", name="bad")),
    )


def new() -> RouteGraph:
    """`bad` changes its path's backend, takes another path and gives a host up."""
    return replace(
        graph(
            host(
                "a.test",
                route("Prefix /", name="good"),
                route("Prefix /bad", name="bad", action=forward(OTHER)),
                route("Prefix /more", name="bad", action=forward(OTHER)),
            )
        ),
        backends={OTHER: backend(OTHER, "10.0.0.9"), **graph().backends, **old().backends},
    )


def test_nothing_kept_back_is_the_graph_itself() -> None:
    found = new()

    assert withhold(found, {}) is found
    assert withhold(found, {ObjectRef("Ingress", ObjectKey("x", "y")): Withholding.CHANGE}, old()) is found


def test_what_an_object_had_is_served_while_its_change_is_kept_back() -> None:
    found = withhold(new(), {BAD: Withholding.CHANGE}, old())

    assert action(found, "a.test", "/bad") == forward()
    assert action(found, "old.test", "/") == forward()
    refused = action(found, "a.test", "/more")
    assert isinstance(refused, Respond)
    assert (refused.status, refused.reason) == (503, Reason.PROXY_REFUSED)
    assert set(found.backends) == set(old().backends)


def test_others_keep_their_routes_and_an_untouched_host_is_the_same_object() -> None:
    whole = new()
    other = host("z.test", route("Prefix /", name="good"))
    whole = replace(whole, virtual_hosts=(*whole.virtual_hosts, other))
    found = withhold(whole, {BAD: Withholding.CHANGE}, old())

    assert action(found, "a.test", "/") == forward()
    assert found.virtual_host("z.test") is other
    assert [item.host for item in found.virtual_hosts] == ["a.test", "old.test", "z.test"]


def test_an_object_that_was_never_served_answers_503() -> None:
    found = withhold(new(), {BAD: Withholding.CHANGE}, None)

    assert isinstance(action(found, "a.test", "/bad"), Respond)
    assert action(found, "a.test", "/") == forward()


def test_content_is_kept_back_though_there_was_some_before() -> None:
    found = withhold(new(), {BAD: Withholding.CONTENT}, old())

    assert isinstance(action(found, "a.test", "/bad"), Respond)
    assert isinstance(action(found, "a.test", "/more"), Respond)
    assert OTHER not in found.backends


def test_an_object_that_is_left_out_leaves_its_requests_to_others() -> None:
    found = withhold(new(), {BAD: Withholding.EVERYTHING}, old())

    assert action(found, "a.test", "/bad") == forward()
    taken = found.resolve("a.test", "/bad")
    assert taken is not None
    assert taken.origin.subject.key.name == "good"
    assert found.virtual_host("old.test") is None


def protected(kind: str) -> Route:
    allowed = PolicySet([AllowedSources(networks=(ip_network(kind),))])
    return route("Prefix /bad", name="bad", policies=allowed)


@pytest.mark.parametrize(
    ("before", "opens"),
    [
        (route("Prefix /bad", name="bad"), True),
        (protected("10.0.0.0/8"), True),
        (protected("10.1.0.0/16"), False),
    ],
    ids=["it had none", "it had another", "it had the same"],
)
def test_going_back_never_opens_what_is_to_be_protected(before: Route, opens: bool) -> None:
    policies = PolicySet([*protected("10.1.0.0/16").policies, Timeouts()])
    after = replace(protected("10.1.0.0/16"), policies=policies)
    found = withhold(graph(host("a.test", after)), {BAD: Withholding.CHANGE}, graph(host("a.test", before)))

    assert isinstance(action(found, "a.test", "/bad"), Respond) is opens


def test_a_host_that_is_somebody_elses_by_now_is_not_gone_back_to() -> None:
    taken: VirtualHost = replace(host("a.test", route("Prefix /", name="good")), owner="other")
    found = withhold(graph(taken), {BAD: Withholding.CHANGE}, old())

    assert isinstance(found.virtual_host("a.test"), VirtualHost)
    assert [item.origin.subject.key.name for item in found.virtual_hosts[0].routes] == ["good"]


def test_a_certificate_goes_back_to_the_one_before_or_to_the_default() -> None:
    first, second = certificate("tls"), replace(certificate("tls"), digest="2")
    served = replace(graph(), certificates={SECRET.key: first}, server_names={"a.test": SECRET.key})
    wanted = replace(served, certificates={SECRET.key: second}, default_certificate=SECRET.key)

    assert withhold(wanted, {SECRET: Withholding.CHANGE}, served).certificates[SECRET.key] is first
    gone = withhold(wanted, {SECRET: Withholding.CONTENT}, served)
    assert gone.certificates == {}
    assert gone.server_names == {"a.test": None}
    assert gone.default_certificate is None


def test_contributions_are_told_by_object() -> None:
    found = parts_by_object(old())

    assert set(found) == {BAD, ObjectRef("Ingress", ObjectKey("shop", "good"))}
    assert parts_by_object(old()) == found
    assert parts_by_object(new())[BAD] != found[BAD]
