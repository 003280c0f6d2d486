from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from ingresskit.models import Ingress, IngressClass, KubeObject, Namespace, ObjectKey, Snapshot, decode
from ingresskit.sources import MemorySource, SnapshotStore
from ingresskit.status import Ownership, OwnershipJudge, judge_ownership
from ingresskit.testing import ingress, ingress_class
from ingresskit.translate import LabelSelector, Scope, TranslateOptions

CLASSES = {"ours": "ingresskit.dev/ingress-controller", "theirs": "example.com/other"}


def judged(
    ingress_class: str | None = None,
    annotation: str | None = None,
    *,
    deleted: bool = False,
    classes: bool = True,
) -> str:
    metadata: dict[str, object] = {"name": "web", "namespace": "shop"}
    if annotation is not None:
        metadata["annotations"] = {"kubernetes.io/ingress.class": annotation}
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-01T00:00:00Z"
    ingress = decode(Ingress, {"metadata": metadata, "spec": {"ingressClassName": ingress_class}})
    known = [
        decode(IngressClass, {"metadata": {"name": name}, "spec": {"controller": controller}})
        for name, controller in CLASSES.items()
        if classes
    ]
    found = judge_ownership(Snapshot.of([ingress, *known]))
    assert found.ours.isdisjoint(found.foreign)
    key = ObjectKey("shop", "web")
    return "ours" if key in found.ours else "foreign" if key in found.foreign else "unknown"


class Case(NamedTuple):
    ingress_class: str | None = None
    annotation: str | None = None
    deleted: bool = False
    classes: bool = True


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param(Case("ours"), "ours", id="our class"),
        pytest.param(Case("theirs"), "foreign", id="another's class"),
        pytest.param(Case(annotation="nginx-of-others"), "foreign", id="another's annotation"),
        pytest.param(Case("gone"), "unknown", id="a class that is not there"),
        pytest.param(Case("ours", classes=False), "unknown", id="no classes can be read"),
        pytest.param(Case("theirs", classes=False), "unknown", id="no classes can be read, another's"),
        pytest.param(Case(), "unknown", id="no class"),
        pytest.param(Case("ours", deleted=True), "unknown", id="being deleted"),
    ],
)
def test_only_what_is_certain_is_called_anothers(case: Case, expected: str) -> None:
    found = judged(case.ingress_class, case.annotation, deleted=case.deleted, classes=case.classes)

    assert found == expected


@pytest.mark.parametrize("version", ["networking.k8s.io/v1", "networking.k8s.io/v1beta1", "extensions/v1beta1"])
def test_every_form_of_ingress_says_its_addresses(version: str) -> None:
    tree: dict[str, object] = {
        "apiVersion": version,
        "kind": "Ingress",
        "metadata": {"name": "web", "namespace": "shop"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ports": []}, {"hostname": "lb.example"}]}},
    }

    addresses = decode(Ingress, tree).status.load_balancer.ingress

    assert [str(address) for address in addresses] == ["192.0.2.1", "lb.example"]


def _ingress(name: str, namespace: str, ingress_class: str) -> Ingress:
    meta: dict[str, object] = {"name": name, "namespace": namespace}
    return decode(Ingress, {"metadata": meta, "spec": {"ingressClassName": ingress_class}})


def _object(chance: random.Random) -> KubeObject:
    name = chance.choice(("alpha", "beta"))
    match chance.randrange(6):
        case 0:
            spec = {"controller": chance.choice(tuple(CLASSES.values()))}
            return decode(IngressClass, {"metadata": {"name": chance.choice(("ours", "theirs"))}, "spec": spec})
        case 1:
            team = chance.choice(("web", "mail"))
            return decode(Namespace, {"metadata": {"name": name, "labels": {"team": team}}})
        case _:
            return _ingress(f"web-{chance.randrange(4)}", name, chance.choice(("ours", "theirs", "gone")))


@pytest.mark.parametrize("selector", [None, "team=web"], ids=["all namespaces", "namespaces by label"])
def test_a_judge_that_remembers_agrees_with_one_that_does_not(selector: str | None) -> None:
    scope = Scope(namespace_selector=None if selector is None else LabelSelector.parse(selector))
    options = TranslateOptions(scope=scope)
    chance = random.Random(7)  # noqa: S311 - reproducible on purpose
    store, judge, seen = SnapshotStore(), OwnershipJudge(options), set[Ownership]()
    store.replace([_object(chance)])

    for _ in range(500):
        if chance.random() < 0.7:
            store.update(apply=[_object(chance)])
        else:
            item = _object(chance)
            store.update(delete=[(type(item), item.key)])
        snapshot = store.snapshot()
        assert snapshot is not None
        found = judge.judge(snapshot)
        assert found == judge_ownership(snapshot, options)
        seen.add(found)

    assert len(seen) > 20


def test_a_judge_looks_only_at_ingresses_that_changed() -> None:
    source = MemorySource([ingress_class(), *(ingress(f"web-{number}") for number in range(50))])
    judge = OwnershipJudge()
    before = source.snapshot()
    assert before is not None
    judge.judge(before)
    source.apply(ingress("web-7", created=9))
    after = source.snapshot()
    assert after is not None

    found = judge.judge(after)

    assert judge.changed == {ObjectKey("default", "web-7")}
    assert len(found.ours) == 50
