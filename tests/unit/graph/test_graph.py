from __future__ import annotations

import pytest

from ingresskit.graph import HostRefused, RouteGraph
from ingresskit.models import ObjectKey
from tests.unit.graph.graphs import certificate, graph, host

SHOP = graph(
    host("shop.test", "Exact /cart", "Prefix /cart", "Prefix /"),
    host("empty.test"),
    host("*.shop.test", "Prefix /wild"),
    host("*", "Prefix /any"),
)


@pytest.mark.parametrize(
    ("name", "path", "match"),
    [
        pytest.param("shop.test", "/cart", "Exact /cart", id="exact before prefix"),
        pytest.param("shop.test", "/cart/", "Prefix /cart", id="a trailing slash is not exact"),
        pytest.param("shop.test", "/cartridge", "Prefix /", id="whole elements"),
        pytest.param("SHOP.TEST.:8080", "/cart", "Exact /cart", id="the normal form of the host"),
        pytest.param("shop.test", "//x/../cart", "Exact /cart", id="the normal form of the path"),
        pytest.param("a.shop.test", "/wild/x", "Prefix /wild", id="a wildcard"),
        pytest.param("a.b.shop.test", "/wild", None, id="a wildcard takes one label"),
        pytest.param("other.test", "/any", "Prefix /any", id="any host"),
        pytest.param("empty.test", "/any", None, id="a host without routes takes nothing"),
        pytest.param("a.shop.test", "/any", None, id="no fall-through"),
        pytest.param("shop.test", "/../x", None, id="a path without a normal form"),
        pytest.param("shop test", "/", None, id="a host that is none"),
        pytest.param("[::1]:80", "/any", "Prefix /any", id="an address"),
    ],
)
def test_a_request_is_resolved(name: str, path: str, match: str | None) -> None:
    found = SHOP.resolve(name, path)

    assert (None if found is None else str(found.match)) == match


def test_with_fall_through_less_specific_hosts_are_asked_in_turn() -> None:
    loose = graph(*SHOP.virtual_hosts, fallthrough=True)

    assert str(getattr(loose.resolve("a.shop.test", "/any"), "match", None)) == "Prefix /any"
    assert [item.host for item in loose.candidates("a.shop.test")] == ["*.shop.test", "*"]
    assert [item.host for item in SHOP.candidates("a.shop.test")] == ["*.shop.test"]


def test_candidates_refuse_what_is_no_host() -> None:
    with pytest.raises(HostRefused):
        SHOP.candidates("a b")


def test_a_virtual_host_is_found_by_its_rule_host() -> None:
    assert SHOP.virtual_host("*.shop.test") is SHOP.virtual_hosts[2]
    assert SHOP.virtual_host("a.shop.test") is None


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("shop.test", "exact"),
        ("SHOP.test.", "exact"),
        ("a.shop.test", "wild"),
        ("a.b.shop.test", "default"),
        ("other.test", "default"),
        ("", "default"),
        (None, "default"),
        ("\x00", "default"),
    ],
)
def test_a_server_name_has_its_certificate(name: str | None, secret: str) -> None:
    held = {item: certificate(item) for item in ("default", "exact", "wild")}
    served = RouteGraph(
        certificates={item.secret: item for item in held.values()},
        server_names={"shop.test": ObjectKey("shop", "exact"), "*.shop.test": ObjectKey("shop", "wild")},
        default_certificate=ObjectKey("shop", "default"),
    )

    assert served.certificate_for(name) is held[secret]


def test_without_a_default_other_names_have_no_certificate() -> None:
    assert RouteGraph().certificate_for("shop.test") is None
