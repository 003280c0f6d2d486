"""An administrator's annotation on a Namespace comes before every record and every age."""

from __future__ import annotations

import pytest

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.models import (
    HostClaim,
    HostClaims,
    Ingress,
    KubeObject,
    Namespace,
    ObjectMeta,
    Snapshot,
)
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.translate import HostOwnership, TranslateOptions, Translation, translate

_REQUIRED = TranslateOptions(require_namespace_hosts=True)
_WIDE = TranslateOptions(guard_wide_hosts=True)


def _namespace(name: str, hosts: str | None) -> Namespace:
    annotations = {} if hosts is None else {"ingresskit.dev/hosts": hosts}
    return Namespace(metadata=ObjectMeta(name=name, annotations=annotations))


def _web(namespace: str, *hosts: str, created: int = 0) -> Ingress:
    return ingress("web", {host: {"/": "web"} for host in hosts}, namespace=namespace, created=created)


def _translate(
    *objects: KubeObject, options: TranslateOptions | None = None, held: HostClaims | None = None
) -> Translation:
    world: list[KubeObject] = [ingress_class(), *objects]
    for namespace in ("a", "b"):
        world += [service("web", namespace=namespace), endpoint_slice("web", "10.0.0.1", namespace=namespace)]
    return translate(Snapshot.of(world, claims=held or HostClaims()), options)


def _owners(translation: Translation) -> dict[str, str | None]:
    return {host.host: host.owner for host in translation.graph.virtual_hosts}


def _only(translation: Translation) -> Diagnostic:
    (told,) = [item for item in translation.diagnostics if item.severity is Severity.ERROR]
    return told


def test_a_namespace_claims_what_its_list_has_and_nothing_else() -> None:
    found = _translate(
        _namespace("a", "shop.test, *.shop.test\n*"), _web("a", "shop.test", "www.shop.test", "x.y.shop.test")
    )
    told = _only(found)

    assert set(_owners(found)) == {"shop.test", "www.shop.test"}
    assert (told.reason, told.field) == (Reason.HOST_NOT_ALLOWED, "spec.rules[2].host")
    assert told.message == (
        "namespace a may not claim host x.y.shop.test:"
        " the annotation ingresskit.dev/hosts of its Namespace does not list it"
    )


def test_a_listed_host_is_reserved_before_record_and_age() -> None:
    held = HostClaims(by_host={"shop.test": HostClaim(namespace="b")})
    found = _translate(
        _namespace("a", "shop.test"), _web("a", "shop.test", created=9), _web("b", "shop.test"), held=held
    )

    assert _owners(found) == {"shop.test": "a"}
    assert found.claims.by_host["shop.test"] == HostClaim(namespace="a", reserved=True)
    assert _only(found).message == (
        "namespace b may not claim host shop.test:"
        " it is reserved for namespace a by the annotation ingresskit.dev/hosts"
    )


def test_a_reserved_host_is_kept_free_while_nobody_of_the_list_claims_it() -> None:
    found = _translate(_namespace("a", "*.shop.test"), _web("b", "www.shop.test"))

    assert _owners(found) == {}
    assert found.graph.resolve("www.shop.test", "/") is None


def test_a_name_in_one_list_is_none_of_a_wildcard_in_another() -> None:
    found = _translate(
        _namespace("a", "*.shop.test"),
        _namespace("b", "login.shop.test"),
        _web("a", "*.shop.test", "login.shop.test"),
        _web("b", "login.shop.test", created=9),
        held=HostClaims(by_host={"*.shop.test": HostClaim(namespace="a")}),
    )

    assert _owners(found) == {"login.shop.test": "b", "*.shop.test": "a"}


def test_a_refused_claim_takes_no_requests_from_the_wildcard_above() -> None:
    found = _translate(
        _namespace("a", "*.shop.test"), _web("a", "*.shop.test", created=9), _web("b", "www.shop.test")
    )
    route = found.graph.resolve("www.shop.test", "/")

    assert route is not None
    assert route.origin.subject.key.namespace == "a"


def test_a_certificate_needs_leave_as_a_rule_does() -> None:
    theirs = ingress("web", {"b.test": {"/": "web"}}, namespace="b", tls={"tls": ["shop.test"]})
    found = _translate(_namespace("a", "shop.test"), theirs, tls_secret("shop.test", namespace="b"))
    told = _only(found)

    assert (told.reason, told.field) == (Reason.HOST_NOT_ALLOWED, "spec.tls[0]")
    assert found.graph.certificate_for("shop.test") is None


def test_a_namespace_without_a_list_claims_nothing_where_lists_are_required() -> None:
    found = _translate(
        _namespace("a", "a.test"),
        _namespace("b", None),
        _web("a", "a.test"),
        _web("b", "b.test"),
        options=_REQUIRED,
    )

    assert _owners(found) == {"a.test": "a"}
    assert _only(found).message.endswith(
        "its Namespace has no annotation ingresskit.dev/hosts, which this controller requires"
    )


@pytest.mark.parametrize("host", ["", "*.test"])
def test_wide_hosts_need_leave_where_they_are_guarded(host: str) -> None:
    refused = _translate(_web("a", host, "*.shop.test"), options=_WIDE)
    allowed = _translate(_namespace("a", "*.shop.test *.test *"), _web("a", host, "*.shop.test"), options=_WIDE)

    assert _owners(refused) == {"*.shop.test": "a"}
    assert _only(refused).reason is Reason.HOST_NOT_ALLOWED
    assert len(_owners(allowed)) == 2
    assert len(_owners(_translate(_web("a", host, "*.shop.test")))) == 2


def test_a_default_backend_of_all_hosts_needs_leave_where_wide_hosts_are_guarded() -> None:
    found = _translate(ingress("all", default="web", namespace="a"), options=_WIDE)

    assert found.graph.resolve("any.test", "/") is None
    assert _only(found).message.startswith("namespace a may not claim every other host: so wide a host needs")


def test_lists_hold_for_shared_hosts_too() -> None:
    options = TranslateOptions(host_ownership=HostOwnership.SHARED)
    found = _translate(_namespace("a", "a.test"), _web("a", "a.test"), _web("b", "a.test"), options=options)

    assert [str(route.origin.subject.key) for route in found.graph.virtual_hosts[0].routes] == ["a/web"]


@pytest.mark.parametrize(
    "text", ["shop_1.test", "http://a.test", "*.*.test", "10.0.0.1", "K" + "\u212a" + ".test"]
)
def test_an_entry_that_is_no_host_lists_nothing_and_is_told(text: str) -> None:
    found = _translate(_namespace("a", f"{text} a.test"), _web("a", "a.test"))
    told = _only(found)

    assert _owners(found) == {"a.test": "a"}
    assert (str(told.subject), told.reason) == ("Namespace a", Reason.ANNOTATION_INVALID)
    assert told.field == "metadata.annotations[ingresskit.dev/hosts]"


def test_an_empty_list_lets_a_namespace_claim_nothing() -> None:
    assert _owners(_translate(_namespace("a", ""), _web("a", "a.test"))) == {}


@pytest.mark.parametrize("key", ["ingresskit.io/hosts", "ingresskit/hosts", "ingresskit.dev/host"])
def test_a_list_under_another_name_reserves_nothing_and_is_told(key: str) -> None:
    slipped = Namespace(metadata=ObjectMeta(name="a", annotations={key: "a.test", "team.example/hosts": "x"}))
    (told,) = _translate(slipped, _web("b", "a.test")).diagnostics

    assert (str(told.subject), told.reason, told.severity) == (
        "Namespace a",
        Reason.ANNOTATION_UNKNOWN,
        Severity.WARNING,
    )
    assert "did you mean ingresskit.dev/hosts?" in told.message
