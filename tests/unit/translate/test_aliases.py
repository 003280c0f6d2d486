"""Further hosts for the rules of an Ingress."""

from __future__ import annotations

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.models import Ingress, Snapshot
from ingresskit.policies import IngressNginxDialect, NativeDialect, PolicyRegistry
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import TranslateOptions, Translation, translate

_OPTIONS = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(), NativeDialect()]))


def _alias(text: str) -> dict[str, str]:
    return {"nginx.ingress.kubernetes.io/server-alias": text}


def _translate(*items: Ingress) -> Translation:
    objects = [ingress_class(), service("one"), endpoint_slice("one", "10.0.0.1")]
    return translate(Snapshot.of([*objects, *items]), _OPTIONS)


def test_the_paths_of_an_ingress_are_served_for_its_aliases_too() -> None:
    web = ingress(
        "web", {"a.test": {"/": "one"}, "b.test": {"/x": "one"}}, annotations=_alias("www.a.test, *.C.test")
    )
    translation = _translate(web)

    assert not translation.diagnostics
    hosts = {host.host: [str(route.match) for route in host.routes] for host in translation.graph.virtual_hosts}
    assert hosts == {
        "a.test": ["Prefix /"],
        "b.test": ["Prefix /x"],
        "www.a.test": ["Prefix /x", "Prefix /"],
        "*.c.test": ["Prefix /x", "Prefix /"],
    }


def test_an_alias_is_held_like_any_host() -> None:
    translation = _translate(
        ingress("web", {"a.test": {"/": "one"}}, created=2, annotations=_alias("b.test")),
        ingress("other", {"b.test": {"/": "one"}}, namespace="other", created=1),
    )

    (told,) = (item for item in translation.diagnostics if item.reason is Reason.HOST_CONFLICT)
    assert (told.subject.key.name, told.field) == ("web", "metadata.annotations")
    owner = translation.graph.virtual_host("b.test")
    assert owner is not None
    assert owner.owner == "other"


@pytest.mark.parametrize(
    ("alias", "reason"),
    [
        ("~^www\\d+\\.a\\.test$", Reason.ANNOTATION_INVALID),
        ("10.0.0.1", Reason.INVALID_HOST),
        ("a_b..test", Reason.INVALID_HOST),
    ],
)
def test_an_alias_that_is_not_a_host_costs_itself_only(alias: str, reason: Reason) -> None:
    translation = _translate(
        ingress("web", {"a.test": {"/": "one"}}, annotations=_alias(f"{alias},www.a.test"))
    )

    (told,) = translation.diagnostics
    assert told.reason is reason
    assert ascii(alias) in told.message
    assert translation.graph.resolve("www.a.test", "/") is not None


def test_a_host_that_is_its_own_alias_and_an_alias_without_rules_change_nothing() -> None:
    own = _translate(ingress("web", {"a.test": {"/": "one"}}, annotations=_alias("a.test")))
    without = _translate(ingress("web", default="one", annotations=_alias("a.test")))

    assert not own.diagnostics
    assert [host.host for host in own.graph.virtual_hosts] == ["a.test"]
    assert [host.host for host in without.graph.virtual_hosts] == ["*"]


def test_aliases_are_bounded() -> None:
    names = ",".join(f"h{number}.test" for number in range(60))
    translation = _translate(ingress("web", {"a.test": {"/": "one"}}, annotations=_alias(names)))

    assert len(translation.graph.virtual_hosts) == 51
    assert "60 aliases" in translation.diagnostics[0].message


def test_the_default_backend_of_an_ingress_is_that_of_its_aliases() -> None:
    web = ingress("web", {"a.test": {"/x": "one"}}, default="one", annotations=_alias("www.a.test"))

    route = _translate(web).graph.resolve("www.a.test", "/else")

    assert route is not None
    assert route.fallback
