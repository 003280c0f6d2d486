"""Which endpoints get requests, by where they and the proxy run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.graph import Forward
from ingresskit.models import EndpointHints, HintTarget, SliceEndpoint, Snapshot
from ingresskit.policies import NearBy
from ingresskit.testing import endpoint, endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import Place, TranslateOptions, translate
from ingresskit.translate.places import near

HERE = Place(zone="a", node="n1")
NATIVE = "ingresskit.dev/prefer-endpoints"


def served(
    *endpoints: SliceEndpoint,
    place: Place = HERE,
    distribution: str | None = None,
    annotations: dict[str, str] | None = None,
) -> list[str]:
    """The last numbers of the addresses that get requests."""
    web = service("web", 8080)
    objects = [
        ingress_class(),
        replace(web, spec=replace(web.spec, cluster_ip="10.9.9.9", traffic_distribution=distribution)),
        endpoint_slice("web", *endpoints),
        ingress("web", {"a.test": {"/": "web:8080"}}, annotations=annotations or {}),
    ]
    graph = translate(Snapshot.of(objects), TranslateOptions(place=place)).graph
    route = graph.resolve("a.test", "/")
    assert route is not None
    assert isinstance(route.action, Forward)
    return [item.address.rpartition(".")[2] for item in graph.backends[route.action.backends[0].key].endpoints]


ZONES = (
    endpoint("10.0.0.1", zone="a", node="n1", for_zones=["a"]),
    endpoint("10.0.0.2", zone="a", node="n2", for_zones=["a", "c"]),
    endpoint("10.0.0.3", zone="b", node="n3", for_zones=["b"]),
)
NODES = (
    endpoint("10.0.0.1", zone="a", node="n1", for_zones=["a"], for_nodes=["n1"]),
    endpoint("10.0.0.2", zone="a", node="n2", for_zones=["a"], for_nodes=["n2"]),
    endpoint("10.0.0.3", zone="b", node="n3", for_zones=["b"], for_nodes=["n3"]),
)
UNHINTED = tuple(replace(item, hints=None) for item in NODES)


@pytest.mark.parametrize(
    ("endpoints", "place", "expected"),
    [
        pytest.param(ZONES, HERE, "12", id="those that are meant for the zone"),
        pytest.param(ZONES, Place(zone="c"), "2", id="one may be meant for several zones"),
        pytest.param(ZONES, Place(zone="d"), "123", id="all, where none is meant for the zone"),
        pytest.param(ZONES, Place(node="n1"), "123", id="all, where the zone is not known"),
        pytest.param(ZONES, Place(), "123", id="all, where nothing is known"),
        pytest.param((*ZONES[:2], UNHINTED[2]), HERE, "123", id="all, where one has no hint"),
        pytest.param(NODES, HERE, "1", id="those that are meant for the node go first"),
        pytest.param(NODES, Place(zone="a", node="n9"), "12", id="the zone, where none is meant for the node"),
        pytest.param((*NODES[:2], ZONES[2]), HERE, "12", id="the zone, where one has no hint for nodes"),
        pytest.param(
            (*ZONES, endpoint("10.0.0.4", ready=False)), HERE, "12", id="one that is not ready needs no hint"
        ),
        pytest.param(
            (
                endpoint("10.0.0.1", ready=False, serving=True, terminating=True, for_zones=["a"]),
                endpoint("10.0.0.3", ready=False, serving=True, terminating=True, for_zones=["b"]),
            ),
            HERE,
            "13",
            id="all that drain, where none is ready",
        ),
        pytest.param(
            (
                endpoint("10.0.0.1", ready=False, serving=True, terminating=True, for_zones=["a"]),
                ZONES[2],
            ),
            HERE,
            "3",
            id="one of another zone before one that drains here",
        ),
    ],
)
def test_hints_are_followed_as_by_kube_proxy(
    endpoints: tuple[SliceEndpoint, ...], place: Place, expected: str
) -> None:
    assert served(*endpoints, place=place) == [*expected]


@pytest.mark.parametrize(
    ("distribution", "place", "expected"),
    [
        ("PreferClose", HERE, "12"),
        ("PreferSameZone", HERE, "12"),
        ("PreferSameNode", HERE, "1"),
        ("PreferSameNode", Place(zone="a", node="n9"), "12"),
        ("PreferSameNode", Place(zone="d", node="n9"), "123"),
        ("SomethingNew", HERE, "123"),
        (None, HERE, "123"),
    ],
)
def test_distribution_of_the_service_counts_where_no_endpoint_has_hints(
    distribution: str | None, place: Place, expected: str
) -> None:
    assert served(*UNHINTED, place=place, distribution=distribution) == [*expected]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("anywhere", "123"), ("same-zone", "12"), ("same-node", "1"), ("hints", "2"), ("nowhere", "2")],
)
def test_annotation_leaves_hints_aside(wanted: str, expected: str) -> None:
    endpoints = (
        replace(NODES[0], hints=EndpointHints(for_zones=(HintTarget(name="b"),))),
        replace(NODES[1], hints=EndpointHints(for_zones=(HintTarget(name="a"),))),
        replace(NODES[2], hints=EndpointHints(for_zones=(HintTarget(name="b"),))),
    )

    assert served(*endpoints, annotations={NATIVE: wanted}) == [*expected]


def test_address_of_the_service_goes_before_preferences() -> None:
    annotations = {NATIVE: "same-node", "ingresskit.dev/service-upstream": "true"}

    assert served(*NODES, annotations=annotations) == ["9"]


_NAMES = st.lists(st.sampled_from("abc"), max_size=2, unique=True)


def _endpoint(zone: str | None, node: str | None, zones: list[str], nodes: list[str]) -> SliceEndpoint:
    return endpoint("10.0.0.1", zone=zone, node=node, for_zones=zones, for_nodes=nodes)


_WHERE = st.sampled_from([None, "a", "b"])
_ENDPOINTS = st.lists(st.builds(_endpoint, _WHERE, _WHERE, _NAMES, _NAMES), min_size=1, max_size=6)


class Placed:
    """An endpoint of a slice as the table has it."""

    def __init__(self, item: SliceEndpoint) -> None:
        self.zone = item.zone
        self.node = item.node_name
        self.hints = item.hints


@given(
    _ENDPOINTS,
    st.sampled_from(["", "a", "b", "z"]),
    st.sampled_from(["", "a", "b", "z"]),
    st.sampled_from(list(NearBy)),
    st.sampled_from([None, "PreferClose", "PreferSameNode"]),
)
def test_some_endpoint_is_always_near_enough_and_kept_in_order(
    made: list[SliceEndpoint], zone: str, node: str, wanted: NearBy, distribution: str | None
) -> None:
    endpoints = [Placed(item) for item in made]
    found = near(endpoints, Place(zone=zone, node=node), wanted, distribution)

    assert found
    assert list(found) == [item for item in endpoints if item in found]
    if not zone and not node:
        assert len(found) == len(endpoints)
