from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pytest

from ingresskit.errors import ConfigurationError
from ingresskit.models import Node, Pod, Service, decode
from ingresskit.status import Addresses, fixed_addresses, node_addresses, running_nodes, service_addresses


def texts(addresses: Addresses) -> list[str]:
    return [str(address) for address in addresses]


def node(name: str, addresses: Sequence[tuple[str, str]], *, ready: str = "True", **metadata: object) -> Node:
    return decode(
        Node,
        {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {"name": name, **metadata},
            "status": {
                "addresses": [{"type": kind, "address": address} for kind, address in addresses],
                "conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": ready}],
            },
        },
    )


def service(kind: str, status: Sequence[Mapping[str, str]] = (), **spec: object) -> Service:
    return decode(
        Service,
        {
            "metadata": {"name": "edge", "namespace": "infra"},
            "spec": {"type": kind, "clusterIP": "10.0.0.1", **spec},
            "status": {"loadBalancer": {"ingress": list(status)}},
        },
    )


EDGE = node("edge", [("InternalIP", "10.0.0.7"), ("ExternalIP", "192.0.2.7"), ("Hostname", "edge")])
INNER = node("inner", [("InternalIP", "10.0.0.8"), ("InternalIP", "fd00::8"), ("Hostname", "inner")])


def test_fixed_addresses_are_sorted_by_number_then_name_and_each_is_there_once() -> None:
    given = ["lb.Example.", "10.0.0.10", "10.0.0.9", "2001:db8:0::1", "2001:DB8::1", "10.0.0.9", " a.example "]

    assert all(
        texts(fixed_addresses(order)) == ["10.0.0.9", "10.0.0.10", "2001:db8::1", "a.example", "lb.example"]
        for order in itertools.islice(itertools.permutations(given), 0, 5040, 97)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "0.0.0.0",  # noqa: S104
        "::",
        "224.0.0.1",
        "fe80::1%eth0",
        "256.1.1.1",
        "1.2.3",
        "a b",
        "*.example",
        "-a",
        "a" * 64,
    ],
)
def test_a_fixed_address_nobody_can_be_reached_at_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="neither an IP address"):
        fixed_addresses(["192.0.2.1", wrong])


@pytest.mark.parametrize(
    ("it", "expected"),
    [
        pytest.param(service("LoadBalancer", [{"ip": "192.0.2.1"}]), ["192.0.2.1"], id="a load balancer's IP"),
        pytest.param(service("LoadBalancer", [{"hostname": "Lb.example"}]), ["lb.example"], id="its name"),
        pytest.param(service("LoadBalancer"), [], id="a load balancer that is pending"),
        pytest.param(
            service("LoadBalancer", [{"ip": "192.0.2.1"}], externalIPs=["192.0.2.9"]),
            ["192.0.2.1", "192.0.2.9"],
            id="external IPs besides",
        ),
        pytest.param(service("ClusterIP", externalIPs=["192.0.2.9"]), ["192.0.2.9"], id="external IPs alone"),
        pytest.param(service("ClusterIP"), [], id="never the cluster IP"),
        pytest.param(service("ExternalName", externalName="edge.example"), ["edge.example"], id="a name"),
        pytest.param(service("NodePort"), ["10.0.0.8", "192.0.2.7", "fd00::8"], id="node ports"),
        pytest.param(service("NodePort", externalIPs=["192.0.2.9"]), ["192.0.2.9"], id="node ports with IPs"),
        pytest.param(service("LoadBalancer", [{"ip": "junk junk"}, {}]), [], id="junk"),
        pytest.param(None, [], id="no such service"),
    ],
)
def test_where_a_service_is_reached(it: Service | None, expected: list[str]) -> None:
    assert texts(service_addresses(it, [EDGE, INNER])) == expected


def test_nodes_give_their_external_addresses_or_else_their_internal_ones() -> None:
    assert texts(node_addresses([INNER, EDGE])) == ["10.0.0.8", "192.0.2.7", "fd00::8"]


def test_nodes_that_are_not_ready_or_go_or_do_not_run_us_do_not_count() -> None:
    nodes = [
        EDGE,
        INNER,
        node("down", [("InternalIP", "10.0.0.1")], ready="Unknown"),
        node("going", [("InternalIP", "10.0.0.2")], deletionTimestamp="2026-11-01T00:00:00Z"),
    ]

    assert texts(node_addresses(nodes, {"edge", "down", "going"})) == ["192.0.2.7"]
    assert node_addresses(nodes, set()) == ()


def test_only_ready_pods_say_where_we_run() -> None:
    def pod(name: str, node_name: str | None, phase: str, ready: str, **metadata: object) -> Pod:
        return decode(
            Pod,
            {
                "metadata": {"name": name, "namespace": "infra", **metadata},
                "spec": {"nodeName": node_name},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
            },
        )

    pods = [
        pod("a", "one", "Running", "True"),
        pod("b", "two", "Running", "False"),
        pod("c", None, "Pending", "False"),
        pod("d", "three", "Running", "True", deletionTimestamp="2026-11-01T00:00:00Z"),
    ]

    assert running_nodes(pods) == {"one"}
