from __future__ import annotations

from typing import NamedTuple

import pytest

from ingresskit.models import Ingress, IngressClass, ObjectKey, Snapshot, decode
from ingresskit.status import judge_ownership

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
