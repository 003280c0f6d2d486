from __future__ import annotations

import dataclasses

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.models import IngressClass, IngressClassParameters, ObjectKey
from ingresskit.testing import ingress, ingress_class
from ingresskit.translate import LabelSelector, Scope, TranslateOptions
from ingresskit.translate.ingress.classes import ClassTable, Verdict

_OURS, _OTHER = ingress_class(), ingress_class("other", controller="example.com/other")


def _judge(
    *classes: IngressClass,
    named: str | None = None,
    legacy: str | None = None,
    options: TranslateOptions | None = None,
    namespace_labels: dict[str, str] | None = None,
) -> Verdict:
    options = options or TranslateOptions()
    table = ClassTable.of({item.key: item for item in classes}, options)
    annotations = {} if legacy is None else {"kubernetes.io/ingress.class": legacy}
    item = ingress("web", ingress_class=named, annotations=annotations, labels={"tier": "web"})
    return table.judge(item, namespace_labels or {}, options)


@pytest.mark.parametrize(
    ("named", "legacy", "ours", "why"),
    [
        pytest.param("ingresskit", None, True, "", id="the field names ours"),
        pytest.param("other", None, False, "its class other belongs to another controller", id="another's"),
        pytest.param("gone", None, False, "IngressClass 'gone' does not exist", id="one that is not there"),
        pytest.param(None, "ingresskit", True, "", id="the annotation names ours"),
        pytest.param(
            None,
            "nginx",
            False,
            "its annotation kubernetes.io/ingress.class is 'nginx', not 'ingresskit'",
            id="the annotation names another",
        ),
        pytest.param("other", "ingresskit", True, "", id="of both the annotation counts for us"),
        pytest.param(
            "ingresskit",
            "",
            False,
            "its annotation kubernetes.io/ingress.class is '', not 'ingresskit'",
            id="an empty annotation names nobody",
        ),
        pytest.param(None, None, False, "it names no class", id="neither"),
    ],
)
def test_an_ingress_is_ours(named: str | None, legacy: str | None, ours: bool, why: str) -> None:
    verdict = _judge(_OURS, _OTHER, named=named, legacy=legacy)

    assert (verdict.ours, verdict.why) == (ours, why)


def test_an_annotation_and_a_field_that_agree_are_no_conflict() -> None:
    assert not _judge(_OURS, _OTHER, named="ingresskit", legacy="ingresskit").diagnostics
    assert not _judge(_OURS, _OTHER, named="other", legacy="nginx").diagnostics


def test_an_annotation_and_a_field_that_disagree_are_told_with_the_class() -> None:
    (told,) = _judge(_OURS, _OTHER, named="other", legacy="ingresskit").diagnostics

    assert told.reason is Reason.INGRESS_CLASS_CONFLICT
    assert [str(item) for item in told.related] == ["IngressClass other"]


def test_the_newest_default_class_counts() -> None:
    old = ingress_class("ingresskit", default=True, created=1)
    new = ingress_class("other", controller="example.com/other", default=True, created=2)

    assert not _judge(old, new).ours
    assert _judge(new, dataclasses.replace(old, metadata=ingress_class(created=3, default=True).metadata)).ours


def test_a_default_class_of_another_is_named_in_the_reason() -> None:
    default = ingress_class("other", controller="example.com/other", default=True)

    assert _judge(default).why == "it names no class and the default class other is not ours"


def test_without_a_class_it_is_ours_where_asked_for_whatever_the_default_class() -> None:
    options = TranslateOptions(watch_ingress_without_class=True)
    default = ingress_class("other", controller="example.com/other", default=True)

    assert _judge(options=options).ours
    assert _judge(default, options=options).ours
    assert not _judge(default, named="other", options=options).ours


@pytest.mark.parametrize(
    ("scope", "why"),
    [
        pytest.param(
            Scope(namespaces=frozenset({"shop"})), "the namespace default is not watched", id="by namespace"
        ),
        pytest.param(
            Scope(namespace_selector=LabelSelector.parse("edge=yes")),
            "the labels of the namespace default do not match edge=yes",
            id="by labels of the namespace",
        ),
        pytest.param(
            Scope(ingress_selector=LabelSelector.parse("tier=db")),
            "its labels do not match tier=db",
            id="by its labels",
        ),
    ],
)
def test_out_of_scope_comes_before_the_class(scope: Scope, why: str) -> None:
    verdict = _judge(_OURS, named="gone", options=TranslateOptions(scope=scope))

    assert (verdict.ours, verdict.why, verdict.diagnostics) == (False, why, ())


def test_in_scope_goes_by_the_class() -> None:
    scope = Scope(
        namespaces=frozenset({"default"}),
        namespace_selector=LabelSelector.parse("edge=yes"),
        ingress_selector=LabelSelector.parse("tier"),
    )

    assert _judge(
        _OURS, named="ingresskit", options=TranslateOptions(scope=scope), namespace_labels={"edge": "yes"}
    ).ours


def test_parameters_of_our_classes_are_told_and_of_others_are_not() -> None:
    parameters = IngressClassParameters(kind="Settings", name="x")
    classes = {
        ObjectKey("", item.metadata.name): dataclasses.replace(
            item, spec=dataclasses.replace(item.spec, parameters=parameters)
        )
        for item in (_OURS, _OTHER)
    }

    (told,) = ClassTable.of(classes, TranslateOptions()).diagnostics

    assert told.reason is Reason.INGRESS_CLASS_PARAMETERS_IGNORED
    assert str(told.subject) == "IngressClass ingresskit"
