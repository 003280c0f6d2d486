"""Limits of requests in HAProxy: which it counts by itself, and what a program without them has of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.graph import (
    Backend,
    BackendKey,
    Endpoint,
    Forward,
    PathMatch,
    Route,
    RouteGraph,
    VirtualHost,
    WeightedBackend,
)
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import (
    ClientKey,
    ConnectionLimit,
    KeySource,
    Origin,
    Policy,
    PolicySet,
    Rate,
    RateLimit,
)
from ingresskit.render import Support
from ingresskit.render.haproxy import (
    Bind,
    Capabilities,
    HaproxyRenderer,
    HaproxySettings,
    SlotClass,
    program,
)

KEY = BackendKey("shop", "web", 80)
RATES = RateLimit(rates=(Rate(10, 1),), owner="shop/web")
CONNECTIONS = ConnectionLimit(most=5, owner="shop/web")


def rendered(*policies: Policy) -> str:
    """The program for one route with these policies."""
    route = Route(
        match=PathMatch.prefix("/"),
        action=Forward(backends=(WeightedBackend(KEY),)),
        origin=Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "spec"),
        policies=PolicySet(policies),
    )
    graph = RouteGraph(
        virtual_hosts=(VirtualHost(host="shop.test", routes=(route,)),),
        backends={KEY: Backend(key=KEY, endpoints=(Endpoint(address="192.0.2.1", port=80),))},
    )
    artifact = HaproxyRenderer().render(graph)
    settings = HaproxySettings(http=(Bind("127.0.0.1", 8080),))
    return program(settings, Capabilities(), needs=artifact.needs, pools={SlotClass(): 1})


def test_a_program_has_rules_for_limits_only_while_a_route_has_one() -> None:
    plain, rates, connections = rendered(), rendered(RATES), rendered(CONNECTIONS)

    assert "stick-table" not in plain
    assert "track-sc" not in plain
    assert [word in rates for word in ("backend rates\n", "backend connections\n")] == [True, False]
    assert [word in connections for word in ("backend rates\n", "backend connections\n")] == [False, True]


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (replace(RATES, key=ClientKey(KeySource.HEADER, "x-api-key")), "key"),
        (replace(RATES, status=420), "status"),
        (replace(RATES, rates=(Rate(7000, 1),)), "rates"),
        (replace(RATES, rates=(Rate(1, 1), Rate(70_000, 60))), "rates"),
        (replace(RATES, burst=101), "burst"),
        (replace(CONNECTIONS, key=ClientKey(KeySource.COOKIE, "sid")), "key"),
        (replace(CONNECTIONS, status=420), "status"),
    ],
)
def test_what_haproxy_would_count_otherwise_is_for_the_delegate(policy: Policy, field: str) -> None:
    found = HaproxyRenderer().handlers.judge(PolicySet([policy]))

    assert [(loss.field, loss.support) for _, loss in found.losses] == [(field, Support.DELEGATED)]
    assert HaproxyRenderer().handlers.judge(PolicySet([policy]), delegate=True).delegated


@pytest.mark.parametrize("rate", [Rate(1, 1), Rate(1000, 1), Rate(50_000, 1), Rate(1, 60), Rate(6000, 60)])
def test_rates_that_are_exact_or_nearly_so_are_native(rate: Rate) -> None:
    assert HaproxyRenderer().handlers.judge(PolicySet([replace(RATES, rates=(rate,))])).losses == ()
