from __future__ import annotations

from dataclasses import replace

from ingresskit.graph import (
    BackendKey,
    GraphChanges,
    GraphDiff,
    GraphKeys,
    PathOptions,
    RouteGraph,
    VirtualHost,
    diff,
)
from ingresskit.models import ObjectKey
from tests.unit.graph.graphs import WEB, backend, certificate, graph, host

OLD = graph(host("a.test", "Prefix /"), host("b.test", "Prefix /"))


def test_equal_graphs_have_no_difference() -> None:
    assert diff(OLD, OLD) == GraphDiff()
    assert not diff(OLD, graph(host("a.test", "Prefix /"), host("b.test", "Prefix /")))


def test_hosts_are_added_removed_and_changed() -> None:
    new = graph(host("b.test", "Prefix /x"), host("d.test"), host("c.test"))

    found = diff(OLD, new)

    assert found.hosts == GraphChanges(added=("c.test", "d.test"), removed=("a.test",), changed=("b.test",))
    assert len(found.hosts) == 4
    assert found
    assert not found.endpoints_only


def test_a_change_of_endpoints_alone_is_told_apart() -> None:
    found = diff(OLD, replace(OLD, backends={WEB: backend(WEB, "10.0.0.2")}))

    assert found.backends == GraphChanges(changed=(WEB,))
    assert found.endpoints_only


def test_a_new_backend_is_more_than_a_change_of_endpoints() -> None:
    api = BackendKey("shop", "api", 80)

    found = diff(OLD, replace(OLD, backends={WEB: backend(WEB, "10.0.0.2"), api: backend(api)}))

    assert found.backends == GraphChanges(added=(api,), changed=(WEB,))
    assert not found.endpoints_only


def test_certificates_names_and_settings_are_planes_of_their_own() -> None:
    key = ObjectKey("shop", "tls")
    new = replace(OLD, certificates={key: certificate("tls")}, server_names={"a.test": key})

    assert diff(OLD, new) == GraphDiff(
        certificates=GraphChanges(added=(key,)), server_names=GraphChanges(added=("a.test",))
    )
    assert diff(OLD, replace(OLD, host_fallthrough=True)) == GraphDiff(settings=True)
    assert diff(OLD, replace(OLD, paths=PathOptions(strict=True))) == GraphDiff(settings=True)
    assert diff(OLD, replace(OLD, default_certificate=key)) == GraphDiff(settings=True)


def test_everything_is_new_to_an_empty_graph() -> None:
    assert diff(RouteGraph(), OLD) == GraphDiff(
        hosts=GraphChanges(added=("a.test", "b.test")), backends=GraphChanges(added=(WEB,))
    )


def _successor(before: RouteGraph, hosts: tuple[VirtualHost, ...], keys: GraphKeys) -> RouteGraph:
    return RouteGraph(virtual_hosts=hosts, after=(before, keys))


def test_successive_graphs_are_compared_where_their_maker_says_they_differ() -> None:
    kept, old, new = (
        VirtualHost(host="a.test"),
        VirtualHost(host="b.test"),
        VirtualHost(host="b.test", tls=True),
    )
    hidden = VirtualHost(host="a.test", tls=True)  # were it looked at, it would be found
    first = RouteGraph(virtual_hosts=(kept, old), after=(None, GraphKeys()))
    second = _successor(first, (hidden, new), GraphKeys(hosts=frozenset({"b.test"})))
    third = _successor(second, (hidden,), GraphKeys(hosts=frozenset({"b.test"})))

    assert diff(first, second).hosts == GraphChanges(changed=("b.test",))
    assert diff(second, first).hosts == GraphChanges(changed=("b.test",))
    assert diff(first, third).hosts == GraphChanges(removed=("b.test",))
    assert diff(third, second).hosts == GraphChanges(added=("b.test",))


def test_a_graph_that_was_altered_by_hand_is_compared_host_by_host() -> None:
    kept = VirtualHost(host="a.test")
    first = RouteGraph(virtual_hosts=(kept,), after=(None, GraphKeys()))
    second = _successor(first, (kept,), GraphKeys())
    altered = replace(second, virtual_hosts=(kept, VirtualHost(host="b.test")))

    assert altered.changed_since(first) is None
    assert altered.virtual_host("b.test") is not None
    assert diff(first, altered).hosts == GraphChanges(added=("b.test",))


def test_graphs_of_two_makers_are_compared_host_by_host() -> None:
    first = RouteGraph(virtual_hosts=(VirtualHost(host="a.test"),), after=(None, GraphKeys()))
    second = RouteGraph(virtual_hosts=(VirtualHost(host="b.test"),), after=(None, GraphKeys()))

    assert second.changed_since(first) is None
    assert diff(first, second).hosts == GraphChanges(added=("b.test",), removed=("a.test",))
