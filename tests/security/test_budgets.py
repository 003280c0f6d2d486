"""What one tenant writes costs everybody little: no step takes time by the square of an object's size.

The limits are wide (the slowest machine must meet them): what they refuse took ten times as long.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ingresskit.filters import explain
from ingresskit.graph import Request
from ingresskit.models import KubeObject, Snapshot
from ingresskit.policies import PrefixRewrite, RequestHeaders
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing import pace
from ingresskit.testing.builders import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import Translation, translate

SECONDS = pace.within(5.0)
MANY = 8_000


def _translated(*objects: KubeObject) -> Translation:
    victim = ingress("victim", {"victim.test": {"/": "shop"}}, namespace="victim")
    base = (
        ingress_class(),
        service("shop"),
        endpoint_slice("shop", "10.0.0.1"),
        victim,
        service("shop", namespace="victim"),
        endpoint_slice("shop", "10.0.0.2", namespace="victim"),
    )
    translation = translate(Snapshot.of((*base, *objects)))
    route = translation.graph.resolve("victim.test", "/")
    assert route is not None
    assert route.origin.subject == victim.ref
    return translation


def _many_hosts() -> list[KubeObject]:
    return [ingress("big", {f"h{number}.test": {"/": "shop"} for number in range(MANY)}, default="shop")]


def _many_paths() -> list[KubeObject]:
    return [ingress("big", {"h.test": {f"/p{number}": "shop" for number in range(MANY)}})]


def _many_ingresses_of_one_host() -> list[KubeObject]:
    return [ingress(f"i{number}", {"h.test": {f"/p{number}": "shop"}}) for number in range(MANY)]


def _many_claims_of_one_path() -> list[KubeObject]:
    return [ingress(f"i{number}", {"h.test": {"/": "shop"}}) for number in range(2_000)]


def _many_service_ports() -> list[KubeObject]:
    ports = {f"n{number}": number + 1 for number in range(MANY)}
    paths = {f"/p{number}": f"wide:{number + 1}" for number in range(MANY)}
    return [service("wide", ports), ingress("big", {"h.test": paths})]


def _many_missing_ports() -> list[KubeObject]:
    ports = {f"n{number}": number + 1 for number in range(MANY)}
    paths = {f"/p{number}": f"wide:{number + 30_000}" for number in range(MANY)}
    return [service("wide", ports), ingress("big", {"h.test": paths})]


def _many_ports_of_many_endpoints() -> list[KubeObject]:
    ports = {f"n{number}": number + 1 for number in range(1_000)}
    addresses = [f"10.1.{number // 250}.{number % 250}" for number in range(1_000)]
    paths = {f"/p{number}": f"wide:{number + 1}" for number in range(1_000)}
    return [
        service("wide", ports),
        endpoint_slice("wide", *addresses, ports=ports),
        ingress("big", {"h.test": paths}),
    ]


def _almost_a_regular_expression() -> list[KubeObject]:
    return [ingress("big", {"h.test": {"~/" + "(/../" * 40_000: "shop", "~/" + "[/../" * 40_000: "shop"}})]


def _long_paths_of_brackets() -> list[KubeObject]:
    return [ingress("big", {"h.test": {f"~/{number}" + "(" * 2_900: "shop" for number in range(400)}})]


def _split_of_every_path() -> list[KubeObject]:
    shares = ",".join(f"s{number}=1" for number in range(16))
    paths = {f"/p{number}": f"s0:{number + 1}" for number in range(2_000)}
    return [ingress("big", {"h.test": paths}, annotations={"ingresskit.dev/traffic-split": shares})]


def _many_unknown_annotations() -> list[KubeObject]:
    annotations = {f"ingresskit.dev/alow-sourc{number}": "x" for number in range(MANY)}
    return [ingress("big", {"h.test": {"/": "shop"}}, annotations=annotations)]


def _many_tls_hosts() -> list[KubeObject]:
    hosts = [f"h{number}.test" for number in range(MANY)]
    return [ingress("big", {host: {"/": "shop"} for host in hosts}, tls={"missing": hosts})]


@pytest.mark.parametrize(
    "objects",
    [
        _many_hosts,
        _many_paths,
        _many_ingresses_of_one_host,
        _many_claims_of_one_path,
        _many_service_ports,
        _many_missing_ports,
        _many_ports_of_many_endpoints,
        _almost_a_regular_expression,
        _long_paths_of_brackets,
        _split_of_every_path,
        _many_unknown_annotations,
        _many_tls_hosts,
    ],
)
def test_translation_time_grows_with_size_and_not_with_its_square(
    objects: Callable[[], list[KubeObject]],
) -> None:
    made = objects()
    begun = time.process_time()

    translation = _translated(*made)

    assert time.process_time() - begun < SECONDS
    assert len(translation.diagnostics) < 3_000


@pytest.mark.parametrize("asked", ["victim.test", "abcdefgh." * 26 + "hx.test", "test"])
def test_explaining_among_thousands_of_long_hosts_is_quick(asked: str) -> None:
    hosts = {"abcdefgh." * 26 + f"h{number}.test": {"/": "shop"} for number in range(MANY)}
    graph = _translated(ingress("big", hosts)).graph
    begun = time.process_time()

    explain(graph, Request(host=asked, path="/"))

    assert time.process_time() - begun < pace.within(1)


def test_headers_of_an_ingress_are_worked_out_once_for_all_its_paths() -> None:
    headers = "\n".join(f"X-{number}: {'v' * 100}" for number in range(64))
    annotations = {"ingresskit.dev/request-headers-set": headers, "ingresskit.dev/rewrite-prefix": "/"}
    paths = {f"/p{number}": "shop" for number in range(1_000)}
    graph = _translated(ingress("big", {"h.test": paths}, annotations=annotations)).graph
    host = graph.virtual_host("h.test")
    assert host is not None
    assert all(RequestHeaders in route.policies and PrefixRewrite in route.policies for route in host.routes)

    table = InProcessRenderer().render(graph)

    targets = table.hosts["h.test"].prefixes.values()
    assert {target.request is not None for target in targets} == {True}
    assert len({id(target.request) for target in targets}) == 1
