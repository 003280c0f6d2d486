"""The order in which policies act, in both modes: that of the filters, whatever order a route carries."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, TypedDict, cast

import pytest

from ingresskit.filters import chain_of
from ingresskit.graph import Action, Redirect, RouteGraph
from ingresskit.policies import (
    NATIVE_ORDER,
    AllowedSources,
    BodyLimit,
    DeniedSources,
    Order,
    PlainHttp,
    Policy,
    PolicySet,
    PrefixRewrite,
    RequestHeaders,
    Stage,
    TlsRedirect,
)
from ingresskit.policies.values import parse_networks
from ingresskit.render.nginx import Capabilities, Mode, NginxRenderer, NginxSettings
from ingresskit.render.nginx.policies import DYNAMIC_HANDLERS, STATIC_HANDLERS
from tests.unit.graph.graphs import graph, host, route

SETTINGS = NginxSettings(state="/run/ik", http=("0.0.0.0:80",), https=("0.0.0.0:443",))

GUARDS: Final[Mapping[str, Policy]] = {
    "addresses": AllowedSources(networks=parse_networks("10.0.0.0/8")),
    "denied addresses": DeniedSources(networks=parse_networks("192.0.2.0/24")),
    "the body limit": BodyLimit(max_bytes=1024),
    "plain HTTP": PlainHttp(allowed=False),
    "the redirect to TLS": TlsRedirect(enabled=True),
}
ORDERS: Final = {"native": NATIVE_ORDER, "reversed": Order(reversed(Stage))}
ACTIONS: Final[Mapping[str, Action | None]] = {"forward": None, "redirect": Redirect(location="/new")}

STAGES: Final = {
    "access": Stage.ADDRESS,
    "denied": Stage.ADDRESS,
    "plain_http": Stage.PLAIN_HTTP,
    "tls_redirect": Stage.TLS_REDIRECT,
    "respond": Stage.ACTION,
    "body": Stage.BODY,
}


class Target(TypedDict, total=False):
    guards: list[tuple[str, object]]
    request: list[tuple[str, object]]


class HostRow(TypedDict):
    targets: list[Target]


def world(policies: Iterable[Policy], order: Order, action: Action | None) -> RouteGraph:
    made = replace(route("Prefix /shop", policies=PolicySet(policies), action=action), order=order)
    return graph(host("a.test", made))


def up_to_the_action(stages: Iterable[Stage]) -> list[Stage]:
    """What can be seen: nothing comes after a response to every request."""
    found = list(stages)
    return found[: found.index(Stage.ACTION) + 1] if Stage.ACTION in found else found


def expected(served: RouteGraph) -> list[Stage]:
    (virtual_host,) = served.virtual_hosts
    (only,) = virtual_host.routes
    return up_to_the_action(item.stage for item in chain_of(virtual_host, only, only.order).plain)


def target_of(served: RouteGraph) -> Target:
    artifact = NginxRenderer(SETTINGS, Capabilities(lua=True), mode=Mode.DYNAMIC).render(served)
    assert artifact.tables is not None
    (target,) = cast("HostRow", json.loads(artifact.tables.hosts["a.test"]))["targets"]
    return target


def dynamic_stages(served: RouteGraph) -> list[Stage]:
    return up_to_the_action(STAGES[name] for name, _ in target_of(served).get("guards", []))


def _static_stage(line: str) -> Stage:
    if "ik_closed" in line:
        return Stage.ADDRESS
    if "308" in line:
        return Stage.TLS_REDIRECT
    return Stage.PLAIN_HTTP


def static_stages(served: RouteGraph) -> list[Stage]:
    """nginx judges an announced length first, and then what stands in the location for its 413."""
    text = NginxRenderer(SETTINGS, mode=Mode.STATIC).render(served).hosts["a.test"].content.decode()

    def guards(location: str) -> list[Stage]:
        body = re.search(rf"location {re.escape(location)} {{\n(.*?)\n    }}", text, re.DOTALL)
        assert body is not None
        return [_static_stage(item) for item in re.findall(r"if \([^}]*}", body[1])]

    stages = guards("= /shop")
    location = text[text.index("location = /shop {") : text.index("location ^~ /shop/ {")]
    if "client_max_body_size" in location:
        again = re.search(r"error_page 413 = (@\S+);", location)
        before = guards(again[1]) if again else []
        stages = [*before, Stage.BODY, *(stage for stage in stages if stage not in before)]
    return [*stages, Stage.ACTION] if 'return 308 "/new"' in location else stages


PAIRS = [
    pytest.param((GUARDS[one], GUARDS[other]), id=f"{one} and {other}")
    for one, other in itertools.combinations(GUARDS, 2)
]


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("policies", PAIRS)
def test_both_modes_judge_in_the_order_of_the_filters(
    policies: tuple[Policy, Policy], order: Order, action: Action | None
) -> None:
    served = world(policies, order, action)

    assert dynamic_stages(served) == expected(served)
    assert static_stages(served) == expected(served)


def test_everything_at_once_is_judged_in_the_order_of_the_filters() -> None:
    for order in ORDERS.values():
        served = world([policy for name, policy in GUARDS.items() if name != "plain HTTP"], order, None)

        assert dynamic_stages(served) == static_stages(served) == expected(served)


def test_a_path_is_rewritten_and_headers_are_set_in_order() -> None:
    policies = (PrefixRewrite(prefix="/v2"), RequestHeaders(remove=("X-A",)))

    names = [
        [name for name, _ in target_of(world(policies, order, None)).get("request", [])]
        for order in ORDERS.values()
    ]

    assert names == [["rewrite", "headers"], ["headers", "rewrite"]]


def test_a_host_that_redirects_everywhere_judges_nothing_before_the_redirect() -> None:
    """Where it would, the redirect stands in the locations, not before all of them."""
    for order, hoisted in ((NATIVE_ORDER, True), (ORDERS["reversed"], False)):
        made = route("Prefix /", policies=PolicySet([TlsRedirect(enabled=True), BodyLimit(max_bytes=9)]))
        served = graph(host("a.test", replace(made, order=order)))
        text = NginxRenderer(SETTINGS).render(served).hosts["a.test"].content.decode()

        assert ("ik_insecure_request" in text) is hoisted


def test_a_route_without_policies_has_no_lists_to_run() -> None:
    assert set(target_of(world([], NATIVE_ORDER, None))) == {"backends"}


def test_both_modes_honour_the_same_policies() -> None:
    assert STATIC_HANDLERS.supports == DYNAMIC_HANDLERS.supports == NginxRenderer.supports
