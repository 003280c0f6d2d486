"""What stays the same object from one graph to the next, and what a fault of our own costs."""

from __future__ import annotations

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.graph import Respond
from ingresskit.models import KubeObject, ObjectKey, Service, Snapshot
from ingresskit.policies import Dialect, DialectContext, PolicyRegistry, Reading
from ingresskit.sources import MemorySource
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.translate import TranslateOptions, Translation, Translator, translate


def _world() -> list[KubeObject]:
    return [
        ingress_class(),
        ingress("one", {"a.test": {"/": "one"}}, tls={"tls": ["a.test"]}),
        ingress("two", {"b.test": {"/": "two"}}),
        service("one"),
        service("two"),
        endpoint_slice("one", "10.0.0.1"),
        endpoint_slice("two", "10.0.0.2"),
        tls_secret("a.test"),
    ]


class _Followed:
    """A source and a translator that follows it."""

    def __init__(self, options: TranslateOptions | None = None) -> None:
        self.source, self._translator = MemorySource(_world()), Translator(options)

    def translate(self, *applied: KubeObject) -> Translation:
        self.source.apply(*applied)
        snapshot = self.source.snapshot()
        assert snapshot is not None
        return self._translator.translate(snapshot)


def test_nothing_changed_gives_the_same_graph() -> None:
    followed = _Followed()

    assert followed.translate().graph is followed.translate().graph


def test_an_object_of_no_concern_gives_the_same_graph() -> None:
    followed = _Followed()
    before = followed.translate().graph

    assert followed.translate(service("unused"), tls_secret("z.test", name="unused")).graph is before


def test_an_endpoint_changes_no_host_and_no_certificate() -> None:
    followed = _Followed()
    before = followed.translate().graph
    after = followed.translate(endpoint_slice("one", "10.0.0.9")).graph

    assert after.virtual_hosts is before.virtual_hosts
    assert after.certificates is before.certificates
    one, two = sorted(after.backends)
    assert after.backends[one] != before.backends[one]
    assert after.backends[two] is before.backends[two]


def test_a_certificate_changes_no_host_and_no_backend() -> None:
    followed = _Followed()
    before = followed.translate().graph
    after = followed.translate(tls_secret("a.test", salt="rotated")).graph

    assert after.certificates != before.certificates
    assert after.backends is before.backends
    assert all(after.virtual_host(host.host) is host for host in before.virtual_hosts)


def test_an_ingress_changes_its_own_hosts_only() -> None:
    followed = _Followed()
    before = followed.translate().graph
    after = followed.translate(ingress("two", {"b.test": {"/": "one"}, "c.test": {"/": "one"}})).graph

    assert after.virtual_host("a.test") is before.virtual_host("a.test")
    assert after.virtual_host("b.test") != before.virtual_host("b.test")
    assert after.virtual_host("c.test") is not None


def test_a_service_that_comes_back_is_served_again() -> None:
    followed = _Followed()
    before = followed.translate()
    followed.source.delete(Service, "default", "one")
    without = followed.translate()
    again = followed.translate(service("one"))

    route = without.graph.resolve("a.test", "/")
    assert route is not None
    assert route.action == Respond(
        status=503, reason=Reason.SERVICE_NOT_FOUND, message="Service default/one does not exist"
    )
    assert again == before


class _FaultyDialect(Dialect):
    """A dialect of an integrator's own, with a fault."""

    prefix: str = "faulty.test"

    def read(self, context: DialectContext) -> Reading:
        if "faulty.test/boom" in context.annotations:
            raise RuntimeError("boom")
        return Reading()


def test_a_dialect_that_raises_costs_one_object(caplog: pytest.LogCaptureFixture) -> None:
    options = TranslateOptions(policies=PolicyRegistry([_FaultyDialect()]))
    bad = ingress("bad", {"bad.test": {"/": "one"}}, annotations={"faulty.test/boom": "1"})
    translation = translate(Snapshot.of([*_world(), bad]), options)

    assert translation.graph.resolve("a.test", "/")
    route = translation.graph.resolve("bad.test", "/")
    assert route is not None
    assert isinstance(route.action, Respond)
    (told,) = translation.diagnostics
    assert (told.reason, str(told.subject)) == (Reason.INTERNAL_ERROR, "Ingress default/bad")
    assert "boom" not in str(told)
    assert "RuntimeError: boom" in caplog.text


def test_a_certificate_that_turns_bad_goes_on_being_served() -> None:
    followed = _Followed()
    before = followed.translate().graph
    after = followed.translate(tls_secret("a.test", key=b"bad"))

    assert after.graph.certificates == before.certificates
    (told,) = after.diagnostics
    assert told.reason is Reason.CERTIFICATE_INVALID
    assert told.message.endswith("its last good certificate is still served")


def test_a_route_keeps_its_place_through_an_edit_of_the_younger() -> None:
    """Age is the time of creation: no edit moves who wins."""
    followed = _Followed()
    young = ingress("young", {"a.test": {"/": "two"}}, created=5)
    followed.translate(young)
    edited = followed.translate(ingress("young", {"a.test": {"/": "two", "/x": "two"}}, created=5)).graph

    root, below = edited.resolve("a.test", "/"), edited.resolve("a.test", "/x")
    assert root is not None
    assert below is not None
    assert root.origin.subject.key == ObjectKey("default", "one")
    assert below.origin.subject.key == ObjectKey("default", "young")


def test_what_is_not_ours_is_listed_with_the_reason() -> None:
    found = translate(
        Snapshot.of(
            [
                ingress_class(),
                ingress("ours", {"a.test": {"/": "web"}}),
                ingress("b", {"b.test": {"/": "web"}}, ingress_class="other"),
                ingress("a", {"b.test": {"/": "web"}}, ingress_class=None),
            ]
        )
    )

    assert [(ref.key.name, why) for ref, why in found.not_ours.items()] == [
        ("a", "it names no class"),
        ("b", "IngressClass 'other' does not exist"),
    ]
