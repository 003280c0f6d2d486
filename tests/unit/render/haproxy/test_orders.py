"""HAProxy refuses and redirects in the order that a route carries, as `decide` says."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection

import pytest

from ingresskit.filters import decide
from ingresskit.graph import Action, PathMatch, Redirect, Request, Respond, Route, VirtualHost
from ingresskit.policies import (
    NATIVE_ORDER,
    AllowedSources,
    BodyLimit,
    Order,
    PlainHttp,
    Policy,
    PolicySet,
    Stage,
    TlsRedirect,
)
from ingresskit.policies.dialects.ingress_nginx import INGRESS_NGINX_ORDER
from ingresskit.policies.values import parse_networks
from ingresskit.render.haproxy import Bind, HaproxyRenderer, HaproxySettings
from ingresskit.testing.ports import free_port
from tests.unit.graph.graphs import WEB, backend, forward, graph, host, origin
from tests.unit.render.haproxy.serving import needs_haproxy, running, write_configuration

POLICIES: tuple[Policy, ...] = (
    AllowedSources(networks=parse_networks("192.0.2.0/24")),
    BodyLimit(max_bytes=4),
    PlainHttp(allowed=False),
    TlsRedirect(enabled=True),
)
ACTIONS: tuple[Action, ...] = (forward(), Redirect(location="/new", status=302), Respond(status=410))
ORDERS = {
    "native": NATIVE_ORDER,
    "ingress-nginx": INGRESS_NGINX_ORDER,
    "reversed": Order(reversed(Stage)),
}


def hosts() -> Generator[VirtualHost]:
    """One for each order, action and choice of policies."""
    for name, order in ORDERS.items():
        for number, action in enumerate(ACTIONS):
            for bits in itertools.product((0, 1), repeat=len(POLICIES)):
                policies = PolicySet(itertools.compress(POLICIES, bits))
                label = f"{name}-{number}-{''.join(map(str, bits))}"
                yield host(
                    f"{label}.test",
                    Route(
                        match=PathMatch.prefix("/"),
                        action=action,
                        origin=origin(label),
                        policies=policies,
                        order=order,
                    ),
                )


HEADERS = {"content-length": "9"}
# Without endpoints: a request that nothing else ends is a 503.
GRAPH = replace(graph(*sorted(hosts(), key=lambda item: item.host)), backends={WEB: backend()})


def test_a_program_has_rules_for_the_orders_that_make_a_difference() -> None:
    needs = HaproxyRenderer().render(GRAPH).needs

    assert set(needs.orders) == set(ORDERS.values()) - {NATIVE_ORDER}


def test_an_order_that_makes_no_difference_needs_no_rules() -> None:
    only = Route(
        match=PathMatch.prefix("/"),
        action=forward(),
        origin=origin("web"),
        policies=PolicySet([BodyLimit(max_bytes=4)]),
        order=INGRESS_NGINX_ORDER,
    )

    assert not HaproxyRenderer().render(graph(host("a.test", only))).needs.orders


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Generator[int]:
    number = free_port()
    settings = HaproxySettings(http=(Bind("127.0.0.1", number),), public_https_port=443, max_connections=100)
    path = write_configuration(HaproxyRenderer().render(GRAPH), settings, tmp_path_factory.mktemp("orders"))
    with running(path, number):
        yield number


@needs_haproxy
@pytest.mark.parametrize("name", ORDERS)
def test_what_ends_a_request_first_is_what_the_order_of_its_route_says(port: int, name: str) -> None:
    found: dict[str, tuple[int, str | None]] = {}
    wanted: dict[str, tuple[int, str | None]] = {}
    for item in GRAPH.virtual_hosts:
        if not item.host.startswith(name):
            continue
        with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("POST", "/", body=b"123456789", headers={"Host": item.host})
            answer = connection.getresponse()
            found[item.host] = (answer.status, answer.getheader("location"))
        request = Request.of(f"http://{item.host}/", method="POST", client="127.0.0.1", headers=HEADERS)
        reply = decide(GRAPH, request).reply
        assert reply is not None
        wanted[item.host] = (reply.status, reply.location or None)

    assert found == wanted
