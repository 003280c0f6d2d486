from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

from ingresskit.graph import Redirect, Respond, RouteGraph, digest, dump, to_json
from ingresskit.graph.dump import dump_route
from ingresskit.models import ObjectKey
from ingresskit.policies import Order, Policy, PolicySet, RequestHeaders, Stage, Timeouts
from tests.unit.graph.graphs import certificate, graph, host, origin, route

KEY = ObjectKey("shop", "tls")


def full(timeout: timedelta = timedelta(seconds=5), value: str = "b") -> RouteGraph:
    policies = PolicySet(
        [Timeouts(connect=timeout), RequestHeaders(set=(("X-A", value),))],
        {Timeouts: {"connect": origin("web")}},
    )
    made = graph(
        host("a.test", route("Prefix /", policies=policies), tls=True),
        host(
            "b.test",
            route("Exact /r", action=Redirect(location="/")),
            route("Prefix /e", action=Respond(status=503)),
        ),
    )
    return replace(made, certificates={KEY: certificate("tls", "a.test")}, server_names={"a.test": KEY})


def test_equal_graphs_give_equal_bytes_and_digests() -> None:
    assert to_json(full()) == to_json(full())
    assert digest(full()) == digest(full())
    assert len(digest(full())) == 64


def test_a_dump_is_json_and_holds_no_key_material() -> None:
    text = to_json(full())

    assert json.loads(text) == dump(full())
    assert text.endswith(b"}\n")
    assert b"KEY MATERIAL" not in text
    assert b"CHAIN" not in text
    assert b"KEY MATERIAL" not in repr(full()).encode()


def test_policies_of_hosts_and_backends_are_dumped_where_there_are_any() -> None:
    plain = dump(full())
    policies = PolicySet([Timeouts(connect=timedelta(seconds=5))])
    (shop, rest), (key, backend) = full().virtual_hosts, next(iter(full().backends.items()))

    scoped = replace(
        full(),
        virtual_hosts=(replace(shop, policies=policies), rest),
        backends={key: replace(backend, policies=policies)},
    )
    hosts = cast("list[dict[str, object]]", dump(scoped)["virtualHosts"])
    backends = cast("dict[str, dict[str, object]]", dump(scoped)["backends"])

    assert digest(scoped) != digest(full())
    assert "Timeouts" in str(hosts[0]["policies"])
    assert "Timeouts" in str(backends[str(key)]["policies"])
    assert "policies" not in hosts[1]
    assert hosts[1] == cast("list[object]", plain["virtualHosts"])[1]


def test_a_dump_names_policies_their_values_and_origins() -> None:
    (policies,) = (dump_route(item)["policies"] for item in full().virtual_hosts[0].routes)

    assert policies == {
        "RequestHeaders": {"values": {"set": [["X-A", "[hidden]"]], "remove": []}, "origins": {}},
        "Timeouts": {
            "values": {"connect": "5000ms", "read": None, "send": None, "request": None},
            "origins": {"connect": {"object": "Ingress shop/web", "field": "spec.rules[0]"}},
        },
    }


def test_values_of_header_fields_are_hidden_but_count_for_the_digest() -> None:
    one, other = full(value="Bearer 4f1c"), full(value="Bearer 88aa")

    assert b"4f1c" not in to_json(one)
    assert "4f1c" not in repr(one)
    assert to_json(one) == to_json(other)
    assert digest(one) != digest(other)


def test_durations_that_differ_by_a_millisecond_differ_in_the_dump() -> None:
    day = timedelta(hours=24)

    assert digest(full(day)) != digest(full(day - timedelta(milliseconds=1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags(Policy):
    names: frozenset[str] = frozenset()
    limits: tuple[tuple[str, timedelta], ...] = ()


def test_a_set_in_a_policy_of_a_user_is_dumped_in_order() -> None:
    policies = PolicySet([Tags(names=frozenset("bca"), limits=(("a", timedelta(microseconds=1500)),))])

    assert dump_route(route("Prefix /", policies=policies))["policies"] == {
        "Tags": {"values": {"names": ["a", "b", "c"], "limits": [["a", "1.5ms"]]}, "origins": {}}
    }


def test_a_digest_is_the_same_in_every_process() -> None:
    program = (
        "from ingresskit.graph import digest\n"
        "from tests.unit.graph.test_dump import full\n"
        "print(digest(full()))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert digests == {digest(full())}


def test_a_path_that_is_written_otherwise_than_it_is_matched_is_dumped_as_written() -> None:
    plain, odd = route("Prefix /a"), replace(route("Prefix /b%7C"), written="ImplementationSpecific /b|")
    shown = dump(graph(host("a.test", plain, odd)))

    hosts = cast("list[dict[str, list[dict[str, object]]]]", shown["virtualHosts"])
    assert [item.get("written") for item in hosts[0]["routes"]] == [None, "ImplementationSpecific /b|"]


def test_an_order_that_is_not_the_native_one_is_dumped() -> None:
    order = Order(reversed(Stage))
    other = replace(route("Prefix /"), order=order)

    assert dump_route(other)["order"] == list(order.stages)
    assert "order" not in dump_route(route("Prefix /"))
    assert digest(graph(host("a.test", other))) != digest(graph(host("a.test", "Prefix /")))
