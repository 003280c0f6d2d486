"""The interface of dialects: what one may look up, and how several are read together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, TypeVar, cast

import pytest

from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, ObjectRef, Secret
from ingresskit.policies import (
    NATIVE_ORDER,
    Dialect,
    DialectContext,
    Grants,
    NativeDialect,
    Order,
    Origin,
    Policy,
    PolicyRegistry,
    PolicySet,
    Reading,
    ResponseHeaders,
    Stage,
    Timeouts,
    Variant,
    annotated_object,
)

SUBJECT = ObjectRef("Ingress", ObjectKey("shop", "web"))
OWN, OTHER, SETTINGS = ObjectKey("shop", "x"), ObjectKey("bank", "x"), ObjectKey("ops", "settings")

K = TypeVar("K", bound=KubeObject)


@dataclass(frozen=True)
class Cluster:
    """Objects that can be looked up."""

    items: tuple[KubeObject, ...]

    def __call__(self, kind: type[K], key: ObjectKey, /) -> K | None:
        found = (item for item in self.items if isinstance(item, kind) and item.key == key)
        return next(found, None)


def config_map(key: ObjectKey, data: Mapping[str, str]) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace=key.namespace, name=key.name), data=data)


class Banner(Dialect):
    """Sets a header to the text in a ConfigMap that the annotation names."""

    prefix: str = "banner.test"
    globals_ref: ObjectKey | None = SETTINGS
    kinds: frozenset[type[KubeObject]] = frozenset({ConfigMap})

    def grants(self, settings: Mapping[str, str], /) -> Grants:
        named = settings.get("shared", "")
        key = ObjectKey(*named.split("/")) if named else None
        return Grants(
            other_namespaces=settings.get("across") == "yes",
            objects=frozenset({ObjectRef("ConfigMap", key)} if key else ()),
        )

    def read(self, context: DialectContext, /) -> Reading:
        namespace, _, name = context.annotations.get("banner.test/from", "").partition("/")
        found = context.lookup(ConfigMap, ObjectKey(namespace, name))
        if found is None:
            return Reading()
        policy = ResponseHeaders(set=(("X-Banner", found.data["text"]),))
        return Reading(policies=PolicySet([policy]))


def banner(where: ObjectKey, settings: Mapping[str, str] | None = None) -> str | None:
    """What an Ingress of the namespace shop shows that names the ConfigMap *where*."""
    items = [config_map(OWN, {"text": "own"}), config_map(OTHER, {"text": "other"})]
    if settings is not None:
        items.append(config_map(SETTINGS, settings))
    registry = PolicyRegistry([Banner()])
    reading = registry.read({"banner.test/from": str(where)}, SUBJECT, Cluster(tuple(items)))
    policy = reading.policies.get(ResponseHeaders)
    return policy.set[0][1] if policy else None


@pytest.mark.parametrize(
    ("settings", "own", "other"),
    [
        (None, "own", None),
        ({}, "own", None),
        ({"across": "yes"}, "own", "other"),
        ({"shared": "bank/x"}, "own", "other"),
        ({"shared": "bank/y"}, "own", None),
    ],
    ids=["no settings", "settings that grant nothing", "all namespaces", "this object", "another object"],
)
def test_only_the_settings_of_the_operator_open_other_namespaces(
    settings: Mapping[str, str] | None, own: str, other: str | None
) -> None:
    assert (banner(OWN, settings), banner(OTHER, settings)) == (own, other)


def test_a_grant_is_for_one_kind() -> None:
    context = DialectContext(
        subject=SUBJECT,
        annotations={},
        grants=Grants(objects=frozenset({ObjectRef("ConfigMap", OTHER)})),
    )

    assert context.may_look_up(ConfigMap, OTHER)
    assert not context.may_look_up(Secret, OTHER)


def test_a_registry_names_the_kinds_and_settings_of_its_dialects() -> None:
    registry = PolicyRegistry([NativeDialect(), Banner()])

    assert registry.kinds == {ConfigMap, Secret}
    assert registry.settings == {SETTINGS}
    assert PolicyRegistry([Banner()]).kinds == {ConfigMap}


@dataclass(frozen=True)
class Fixed(Dialect):
    """Reads the same of every object."""

    prefix: str
    reading: Reading

    def read(self, context: DialectContext, /) -> Reading:
        return self.reading


def together(first: Reading, second: Reading) -> Reading:
    dialects = cast("list[Dialect]", [Fixed("one.test", first), Fixed("two.test", second)])
    return PolicyRegistry(dialects).read({}, SUBJECT)


def timeouts(connect: int | None = None, read: int | None = None, *, asked: str = "") -> Reading:
    policy = Timeouts(
        connect=timedelta(seconds=connect) if connect else None, read=timedelta(seconds=read) if read else None
    )
    origins = {name: Origin(SUBJECT, f"metadata.annotations[{name}]") for name in asked.split()}
    return Reading(policies=PolicySet([policy], {Timeouts: origins}))


def test_policies_of_two_dialects_are_joined_field_by_field() -> None:
    reading = together(timeouts(5, 60, asked="connect"), timeouts(read=30, asked="read"))

    assert reading.policies.get(Timeouts) == Timeouts(connect=timedelta(seconds=5), read=timedelta(seconds=30))
    assert set(reading.policies.origins(Timeouts)) == {"connect", "read"}
    assert reading.diagnostics == ()


def test_a_default_of_the_later_dialect_does_not_undo_what_the_earlier_was_asked_for() -> None:
    reading = together(timeouts(3, asked="connect"), timeouts(5, 60))

    policy = reading.policies.get(Timeouts)
    assert policy is not None
    assert policy.connect == timedelta(seconds=3)


def test_modes_of_two_dialects_are_both_held() -> None:
    order = Order(reversed(NATIVE_ORDER.stages))
    first = Reading(aliases=("a.test", "b.test"), order=order)
    second = Reading(aliases=("b.test", "c.test"), regex_paths=True, variant=Variant.canary(weight=5))

    reading = together(first, second)

    assert reading.aliases == ("a.test", "b.test", "c.test")
    assert (reading.regex_paths, reading.order, reading.variant) == (True, order, second.variant)
    assert reading.order is not None
    assert reading.order.stages[0] is Stage.UPSTREAM


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge(Policy):
    """Protects by what a Secret holds."""

    protects: ClassVar[bool] = True

    key: str = annotated_object(
        "badge-secret",
        Secret,
        lambda secret: _badge(secret),
        default="",
        grammar="the name of a Secret",
        summary="Whose badge.",
    )


def _badge(secret: Secret) -> str:
    if "badge" not in secret.data:
        raise ValueError("must hold the key badge")
    return secret.data["badge"].decode()


def secret(key: ObjectKey, data: Mapping[str, bytes]) -> Secret:
    return Secret(metadata=ObjectMeta(namespace=key.namespace, name=key.name), data=data)


def read_badge(*items: KubeObject, name: str = "x") -> Reading:
    registry = PolicyRegistry((NativeDialect((Badge,)),))
    assert registry.kinds == {Secret}
    return registry.read({"ingresskit.dev/badge-secret": name}, SUBJECT, Cluster(items))


def test_annotation_that_names_a_secret_gets_what_it_holds() -> None:
    reading = read_badge(secret(OWN, {"badge": b"s3cr3t"}))

    assert reading.policies.get(Badge) == Badge(key="s3cr3t")
    assert reading.diagnostics == ()
    assert "s3cr3t" not in repr(reading)


@pytest.mark.parametrize(
    ("items", "name", "rule"),
    [
        ((), "x", "'x' must name a Secret of this namespace that is there and can be read"),
        ((secret(OTHER, {"badge": b"b"}),), "x", "'x' must name a Secret of this namespace that is there"),
        ((secret(OTHER, {"badge": b"b"}),), "bank/x", "must be the name of an object in the namespace"),
        ((secret(OWN, {"other": b"s3cr3t"}),), "x", "'x' must hold the key badge"),
    ],
    ids=["absent", "of-another-namespace", "with-a-namespace", "without-the-key"],
)
def test_secret_that_gives_no_value_closes_the_routes(
    items: tuple[KubeObject, ...], name: str, rule: str
) -> None:
    reading = read_badge(*items, name=name)

    assert len(reading.policies) == 0
    assert reading.protection_fault is not None
    assert rule in reading.protection_fault.message
    assert "respond 503" in reading.protection_fault.message
    assert "s3cr3t" not in reading.protection_fault.message
