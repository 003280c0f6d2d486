"""What one Ingress and one namespace may ask for, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.errors import ConfigurationError
from ingresskit.graph import RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import Budgets, TranslateOptions, Translation, Translator

USUAL = [ingress_class(), service("web"), endpoint_slice("web", "10.0.0.1")]


def translated(budgets: Budgets, *objects: KubeObject) -> Translation:
    return Translator(TranslateOptions(budgets=budgets)).translate(Snapshot.of([*USUAL, *objects]))


def hosts(graph: RouteGraph) -> list[str]:
    return [host.host for host in graph.virtual_hosts]


def named(names: Iterable[str]) -> dict[str, dict[str, str]]:
    return {name: {"/": "web"} for name in names}


def exceeded(translation: Translation) -> list[tuple[str, str]]:
    return [
        (str(item.subject), item.field)
        for item in translation.diagnostics
        if item.reason is Reason.BUDGET_EXCEEDED
    ]


@pytest.mark.parametrize(("most", "served"), [(3, 3), (4, 4), (None, 4), (5, 4)])
def test_the_first_hosts_of_an_ingress_are_served(most: int | None, served: int) -> None:
    names = [f"h{number}.test" for number in range(4)]

    found = translated(Budgets(hosts_per_ingress=most), ingress("web", named(names)))

    assert hosts(found.graph) == names[:served]
    assert exceeded(found) == ([("Ingress default/web", "spec.rules[3]")] if served < 4 else [])
    assert [item.reason for item in found.graph.unserved] == [Reason.BUDGET_EXCEEDED] * (served < 4)


def test_paths_count_whole_rules() -> None:
    rules = {"a.test": {"/1": "web", "/2": "web"}, "b.test": {"/1": "web", "/2": "web"}}

    found = translated(Budgets(paths_per_ingress=3), ingress("web", rules))

    assert hosts(found.graph) == ["a.test"]
    assert exceeded(found) == [("Ingress default/web", "spec.rules[1]")]


def test_hosts_of_tls_are_counted_by_themselves() -> None:
    item = ingress("web", named(["a.test"]), tls={"cert": ["a.test", "b.test", "c.test"]})

    found = translated(Budgets(hosts_per_ingress=2), item)

    assert exceeded(found) == [("Ingress default/web", "spec.tls")]
    assert hosts(found.graph) == ["a.test"]


def test_an_object_over_its_budget_costs_only_its_own_rest() -> None:
    found = translated(
        Budgets(hosts_per_ingress=1),
        ingress("big", named(["a.test", "b.test"]), created=1),
        ingress("other", named(["b.test"]), namespace="else", created=2),
        service("web", namespace="else"),
        endpoint_slice("web", "10.0.0.2", namespace="else"),
    )

    assert hosts(found.graph) == ["a.test", "b.test"]
    assert found.graph.virtual_hosts[1].owner == "else"


def test_the_older_ingresses_of_a_namespace_are_served() -> None:
    items = [ingress(f"i{number}", named([f"h{number}.test"]), created=10 - number) for number in range(3)]

    found = translated(Budgets(ingresses_per_namespace=2), *items)

    assert hosts(found.graph) == ["h1.test", "h2.test"]
    assert exceeded(found) == [("Ingress default/i0", "metadata.namespace")]
    assert "budget of 2 Ingresses" in found.diagnostics[0].message


def test_hosts_of_a_namespace_are_counted_once() -> None:
    items = [
        ingress("first", named(["a.test", "b.test"]), created=1),
        ingress("same", {"a.test": {"/more": "web"}}, created=2),
        ingress("third", named(["c.test"]), created=3),
    ]

    found = translated(Budgets(hosts_per_namespace=2), *items)

    assert hosts(found.graph) == ["a.test", "b.test"]
    assert exceeded(found) == [("Ingress default/third", "metadata.namespace")]


def test_room_that_becomes_free_is_given_to_the_next() -> None:
    items = [ingress(f"i{number}", named([f"h{number}.test"]), created=number) for number in range(3)]
    translator = Translator(TranslateOptions(budgets=Budgets(ingresses_per_namespace=2)))
    before = translator.translate(Snapshot.of([*USUAL, *items]))

    after = translator.translate(Snapshot.of([*USUAL, *items[1:]]))

    assert hosts(before.graph) == ["h0.test", "h1.test"]
    assert hosts(after.graph) == ["h1.test", "h2.test"]
    assert exceeded(after) == []


@pytest.mark.parametrize("name", ["hosts_per_ingress", "paths_per_ingress", "hosts_per_namespace"])
def test_a_budget_of_nothing_is_a_mistake(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be at least 1, not 0"):
        Budgets(**{name: 0})
