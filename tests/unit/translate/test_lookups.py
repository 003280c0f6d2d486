"""What dialects look up: an object is read again when that changes, and otherwise not."""

from __future__ import annotations

from ingresskit.graph import RouteGraph
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, Snapshot
from ingresskit.policies import (
    NATIVE_ORDER,
    Dialect,
    DialectContext,
    Order,
    PolicyRegistry,
    PolicySet,
    Reading,
    ResponseHeaders,
)
from ingresskit.testing import ingress, ingress_class, service
from ingresskit.translate import TranslateOptions, Translator

BACKWARDS = Order(reversed(NATIVE_ORDER.stages))


class Counting(Dialect):
    """Sets a header to a text of a ConfigMap beside the Ingress, and counts what it reads."""

    prefix: str = "count.test"
    kinds: frozenset[type[KubeObject]] = frozenset({ConfigMap})

    def __init__(self) -> None:
        self.read_names: list[str] = []

    def read(self, context: DialectContext, /) -> Reading:
        subject = context.subject.key
        self.read_names.append(subject.name)
        named = context.annotations.get("count.test/from")
        found = context.lookup(ConfigMap, ObjectKey(subject.namespace, named)) if named else None
        text = found.data["text"] if found else "none"
        return Reading(policies=PolicySet([ResponseHeaders(set=(("X-Text", text),))]), order=BACKWARDS)


def config_map(name: str, text: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="default", name=name), data={"text": text})


WORLD: tuple[KubeObject, ...] = (
    ingress_class(),
    service("shop"),
    ingress("with", {"a.test": {"/": "shop"}}, annotations={"count.test/from": "words"}),
    ingress("without", {"b.test": {"/": "shop"}}),
)


class Followed:
    def __init__(self) -> None:
        self.dialect = Counting()
        self._translator = Translator(TranslateOptions(policies=PolicyRegistry([self.dialect])))

    def translate(self, *items: KubeObject) -> RouteGraph:
        self.dialect.read_names.clear()
        return self._translator.translate(Snapshot.of((*WORLD, *items))).graph


def text(graph: RouteGraph, host: str) -> str:
    route = graph.resolve(host, "/")
    assert route is not None
    policy = route.policies.get(ResponseHeaders)
    assert policy is not None
    return policy.set[0][1]


def test_an_object_is_read_again_when_what_it_names_comes_changes_or_goes() -> None:
    followed = Followed()
    assert text(followed.translate(), "a.test") == "none"

    for items, shown in (
        ([config_map("words", "one")], "one"),
        ([config_map("words", "two")], "two"),
        ([], "none"),
    ):
        graph = followed.translate(*items)

        assert text(graph, "a.test") == shown
        assert followed.dialect.read_names == ["with"]


def test_what_nothing_names_reads_nothing_again() -> None:
    followed = Followed()
    words = config_map("words", "one")
    followed.translate(words)

    followed.translate(words, config_map("others", "x"))

    assert followed.dialect.read_names == []


def test_routes_carry_the_order_that_the_dialect_brings() -> None:
    route = Followed().translate().resolve("a.test", "/")

    assert route is not None
    assert route.order == BACKWARDS
