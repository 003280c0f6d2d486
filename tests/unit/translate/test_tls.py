from __future__ import annotations

from datetime import timedelta

import pytest

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.models import KubeObject, ObjectKey, Snapshot
from ingresskit.testing import EPOCH, ingress, ingress_class, tls_secret
from ingresskit.translate import HostOwnership, TranslateOptions, Translation, translate

_TLS = ObjectKey("default", "tls")


def _translate(*objects: KubeObject, options: TranslateOptions | None = None) -> Translation:
    return translate(Snapshot.of([ingress_class(), *objects]), options)


def _tls(translation: Translation) -> list[Diagnostic]:
    return [item for item in translation.diagnostics if "Certificate" in item.reason or "Secret" in item.reason]


def test_only_certificates_that_are_shown_are_in_the_graph() -> None:
    translation = _translate(
        ingress("web", {"a.test": None}, tls={"tls": ["a.test"]}),
        ingress("young", {"a.test": None}, tls={"lost": ["a.test"]}, created=1),
        tls_secret("a.test"),
        tls_secret("a.test", name="lost", salt="lost"),
        tls_secret("b.test", name="unused"),
    )

    assert list(translation.graph.certificates) == [_TLS]
    assert dict(translation.graph.server_names) == {"a.test": _TLS}


def test_the_loser_of_a_certificate_is_told_which_one_is_shown() -> None:
    (told,) = _tls(
        _translate(
            ingress("web", {"a.test": None}, tls={"tls": ["a.test"]}),
            ingress("young", {"a.test": None}, tls={"lost": ["a.test"]}, created=1),
            tls_secret("a.test"),
            tls_secret("a.test", name="lost", salt="lost"),
        )
    )

    assert told.message == "a.test is served with Secret default/tls, which Ingress default/web names first"


def test_two_that_name_the_same_secret_agree() -> None:
    translation = _translate(
        ingress("web", {"a.test": None}, tls={"tls": ["a.test"]}),
        ingress("young", {"a.test": None}, tls={"tls": ["a.test"]}, created=1),
        tls_secret("a.test"),
    )

    assert not _tls(translation)


def test_a_certificate_for_another_host_is_told_with_its_names() -> None:
    names = [f"n{number}.test" for number in range(9)]
    (told,) = _tls(_translate(ingress("web", {"a.test": None}, tls={"tls": ["a.test"]}), tls_secret(*names)))

    assert told.reason is Reason.CERTIFICATE_HOST_MISMATCH
    assert told.message == (
        "the certificate of default/tls is for n0.test, n1.test, n2.test, n3.test, n4.test, not for a.test; "
        "the default certificate is served for it"
    )


@pytest.mark.parametrize(
    ("days", "reasons"),
    [(-1, [Reason.CERTIFICATE_EXPIRED]), (0, []), (29, []), (30, [Reason.CERTIFICATE_EXPIRED])],
    ids=["not valid yet", "just valid", "still valid", "expired"],
)
def test_validity_is_judged_only_against_a_time(days: int, reasons: list[Reason]) -> None:
    snapshot = Snapshot.of(
        [
            ingress_class(),
            ingress("web", {"a.test": None}, tls={"tls": ["a.test"]}),
            tls_secret("a.test", not_after=30),
        ]
    )

    found = translate(snapshot, now=EPOCH + timedelta(days=days))

    assert [item.reason for item in _tls(found)] == reasons
    assert not _tls(translate(snapshot))


def test_without_hosts_and_rules_a_certificate_is_for_its_own_names() -> None:
    graph = _translate(ingress("web", default="one", tls={"tls": []}), tls_secret("a.test", "*.b.test")).graph

    assert dict(graph.server_names) == {"*.b.test": _TLS, "a.test": _TLS}


def test_its_own_names_give_nobody_anothers_host() -> None:
    graph = _translate(
        ingress("evil", default="one", tls={"tls": []}, namespace="evil"),
        ingress("web", {"a.test": None}, created=1),
        tls_secret("a.test", "*.test", namespace="evil"),
    ).graph

    assert graph.certificate_for("a.test") is None
    assert graph.certificate_for("b.test") is not None


def test_a_default_certificate_that_is_missing_is_told_of_the_secret() -> None:
    options = TranslateOptions(default_certificate=_TLS)
    (told,) = _translate(options=options).diagnostics

    assert (told.reason, str(told.subject)) == (Reason.SECRET_NOT_FOUND, "Secret default/tls")


def test_shared_hosts_share_wildcard_certificates() -> None:
    objects = (
        ingress("wild", {"*.a.test": None}, tls={"tls": ["*.a.test"]}),
        ingress("web", {"x.a.test": None}, namespace="other", created=1),
        tls_secret("*.a.test"),
    )
    shared = TranslateOptions(host_ownership=HostOwnership.SHARED)

    assert _translate(*objects, options=shared).graph.certificate_for("x.a.test") is not None
    exact = TranslateOptions(host_ownership=HostOwnership.EXACT)
    assert _translate(*objects, options=exact).graph.certificate_for("x.a.test") is None


def test_a_wildcard_of_one_namespace_covers_its_own_hosts_through_all_conflicts() -> None:
    graph = _translate(
        ingress("first", {"b.test": None}, tls={"tls": ["*.a.test"]}, namespace="first"),
        ingress("web", {"x.a.test": None}, tls={"tls": ["*.a.test"]}, created=1),
        ingress("taker", {"*.a.test": None}, namespace="taker", created=2),
        tls_secret("*.a.test", namespace="first", salt="first"),
        tls_secret("*.a.test"),
    ).graph
    own = graph.certificate_for("x.a.test")

    assert own is not None
    assert own.secret == _TLS
    assert graph.certificate_for("y.a.test") is None


def test_a_certificate_for_a_host_that_no_rule_names_is_told_with_the_hosts_that_have_none() -> None:
    translation = _translate(
        ingress("apex", {"a.test": {"/": "web"}}, tls={"tls": ["b.test", "www.a.test"]}),
        ingress("other", {"b.test": {"/": "web"}, "": {"/any": "web"}}),
        tls_secret("www.a.test", "b.test"),
    )
    (told,) = (item for item in translation.diagnostics if item.reason is Reason.TLS_HOST_WITHOUT_RULE)

    assert (told.field, told.severity) == ("spec.tls[0].hosts[1]", Severity.WARNING)
    assert told.message == (
        "no rule names the host www.a.test; the rules of this Ingress are for a.test, without a certificate"
    )


def test_a_rule_of_another_namespace_changes_nothing_of_what_an_ingress_is_told() -> None:
    mine = ingress("apex", {"a.test": {"/": "web"}}, tls={"tls": ["www.a.test"]}, created=1)
    theirs = ingress("late", {"www.a.test": {"/": "web"}}, namespace="else", created=2)

    def told(*objects: KubeObject) -> list[str]:
        found = _translate(*objects, tls_secret("www.a.test")).diagnostics
        # That the certificate is another's matter now is said besides.
        ours = (item for item in found if item.namespace == "default")
        return [str(item) for item in ours if item.reason is not Reason.CERTIFICATE_CONFLICT]

    alone, beside = told(mine), told(mine, theirs)

    assert any(str(Reason.TLS_HOST_WITHOUT_RULE) in line for line in alone)
    assert beside == alone


@pytest.mark.parametrize(
    ("rules", "host"),
    [
        ({"a.test": {"/": "web"}}, "a.test"),
        ({"a.test": {"/": "web"}}, "A.test"),
        ({"*.a.test": {"/": "web"}}, "www.a.test"),
        ({"www.a.test": {"/": "web"}}, "*.a.test"),
        ({"": {"/": "web"}}, "a.test"),
    ],
    ids=["the same", "another case", "below a wildcard", "a wildcard above", "any host"],
)
def test_a_certificate_for_a_host_that_rules_take_is_no_matter(
    rules: dict[str, dict[str, str]], host: str
) -> None:
    translation = _translate(ingress("web", rules, tls={"tls": [host]}))

    assert Reason.TLS_HOST_WITHOUT_RULE not in [item.reason for item in translation.diagnostics]


@pytest.mark.parametrize(
    ("annotation", "value", "severity"),
    [
        ("cert-manager.io/cluster-issuer", "le", Severity.WARNING),
        ("cert-manager.io/issuer", "le", Severity.WARNING),
        ("kubernetes.io/tls-acme", "true", Severity.WARNING),
        ("kubernetes.io/tls-acme", "false", Severity.ERROR),
        ("cert-manager.io/duration", "24h", Severity.ERROR),
    ],
)
def test_a_secret_that_somebody_will_create_is_only_a_warning(
    annotation: str, value: str, severity: Severity
) -> None:
    (told,) = _tls(
        _translate(ingress("web", {"a.test": None}, tls={"tls": ["a.test"]}, annotations={annotation: value}))
    )

    assert (told.reason, told.severity) == (Reason.SECRET_NOT_FOUND, severity)
    assert (annotation in told.message) is (severity is Severity.WARNING)


def test_a_secret_of_another_namespace_cannot_be_named() -> None:
    (told,) = _tls(_translate(ingress("web", {"a.test": None}, tls={"other/tls": ["a.test"]})))

    assert told.reason is Reason.SECRET_NOT_FOUND
    assert "'other/tls' is no name of a Secret: no namespace can be named" in told.message
