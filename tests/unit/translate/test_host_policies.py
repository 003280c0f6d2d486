"""Policies that belong to a host, which several Ingresses may want otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.diagnostics import Reason
from ingresskit.graph import Respond, VirtualHost
from ingresskit.models import Ingress, Snapshot
from ingresskit.policies import NativeDialect, Policy, PolicyRegistry, PolicyScope, Timeouts, annotated
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import TranslateOptions, Translation, translate


@dataclass(frozen=True, slots=True, kw_only=True)
class Age(Policy):
    scope: ClassVar[PolicyScope] = PolicyScope.HOST

    seconds: int = annotated("age", int, default=0, grammar="a number", summary="An age.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge(Policy):
    protects: ClassVar[bool] = True
    scope: ClassVar[PolicyScope] = PolicyScope.HOST

    name: str = annotated("badge", str, default="", grammar="a name", summary="A badge.")


_OPTIONS = TranslateOptions(policies=PolicyRegistry([NativeDialect((Age, Badge, Timeouts))]))


def _web(name: str, path: str, created: int, **annotations: str) -> Ingress:
    named = {f"ingresskit.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return ingress(name, {"a.test": {path: "one"}}, created=created, annotations=named)


def _translate(*items: Ingress) -> tuple[VirtualHost, Translation]:
    objects = [ingress_class(), service("one"), endpoint_slice("one", "10.0.0.1")]
    translation = translate(Snapshot.of([*objects, *items]), _OPTIONS)
    (host,) = translation.graph.virtual_hosts
    return host, translation


def test_policies_of_a_host_stand_there_and_not_in_its_routes() -> None:
    host, translation = _translate(_web("web", "/", 1, age="5", read_timeout="7s"), _web("other", "/x", 2))

    assert host.policies.get(Age) == Age(seconds=5)
    assert [route.policies.get(Age) for route in host.routes] == [None, None]
    assert host.routes[1].policies.get(Timeouts) is not None
    origin = host.policies.origin(Age, "seconds")
    assert origin is not None
    assert origin.subject.key.name == "web"
    assert not translation.diagnostics


def test_the_oldest_ingress_that_asks_decides_and_the_others_are_told() -> None:
    host, translation = _translate(
        _web("young", "/y", 3, age="7"), _web("web", "/", 2, age="5"), _web("old", "/x", 1)
    )

    assert host.policies.get(Age) == Age(seconds=5)
    (told,) = translation.diagnostics
    assert (told.subject.key.name, told.reason) == ("young", Reason.ANNOTATION_IGNORED)
    assert told.field == "metadata.annotations[ingresskit.dev/age]"
    assert told.message == "Age of the host a.test is decided by the older Ingress default/web; it is ignored"


def test_who_asks_for_the_same_is_told_nothing() -> None:
    _, translation = _translate(_web("young", "/y", 3, badge="blue"), _web("web", "/", 2, badge="blue"))

    assert not translation.diagnostics


def test_routes_that_want_another_protection_than_their_host_has_are_closed() -> None:
    host, translation = _translate(_web("young", "/y", 3, badge="red"), _web("web", "/", 2, badge="blue"))

    assert host.policies.get(Badge) == Badge(name="blue")
    closed, served = host.routes
    assert isinstance(closed.action, Respond)
    assert not isinstance(served.action, Respond)
    (told,) = translation.diagnostics
    assert told.message.endswith("the routes of this object respond 503")
