from __future__ import annotations

import pytest

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import PathMatch
from ingresskit.models import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    ObjectKey,
    ObjectMeta,
    ServiceBackendPort,
    TypedLocalObjectReference,
)
from ingresskit.policies import default_policies
from ingresskit.testing import backend, ingress
from ingresskit.translate.rules import BackendFault, Fragment, ServiceRef, not_ours, read_ingress

_POLICIES = default_policies()


def _read(item: Ingress) -> Fragment:
    return read_ingress(item, _POLICIES)


def _one_path(kind: str | None, path: str | None, to: IngressBackend | None = None) -> Fragment:
    written = HTTPIngressPath(path=path, path_type=kind, backend=to or backend("one"))
    rule = IngressRule(host="a.test", http=HTTPIngressRuleValue(paths=(written,)))
    return _read(Ingress(metadata=ObjectMeta(name="web", namespace="shop"), spec=IngressSpec(rules=(rule,))))


@pytest.mark.parametrize(
    ("kind", "path", "match"),
    [
        ("Exact", "/", PathMatch.exact("/")),
        ("Exact", "/foo", PathMatch.exact("/foo")),
        ("Exact", "/foo/", PathMatch.exact("/foo/")),
        ("Exact", "/f%6Fo", PathMatch.exact("/foo")),
        ("Prefix", "/", PathMatch.prefix("/")),
        ("Prefix", "/foo/", PathMatch.prefix("/foo")),
        ("Prefix", "/a b", PathMatch.prefix("/a%20b")),
        ("ImplementationSpecific", None, PathMatch.prefix("/")),
        ("ImplementationSpecific", "", PathMatch.prefix("/")),
        ("ImplementationSpecific", "/a//b/../c", PathMatch.prefix("/a/c")),
        ("ImplementationSpecific", "/" + "a" * 2999, PathMatch.prefix("/" + "a" * 2999)),
    ],
)
def test_a_path_is_read_as(kind: str, path: str | None, match: PathMatch) -> None:
    (claim,) = _one_path(kind, path).claims

    assert claim.match == match


@pytest.mark.parametrize(
    ("kind", "path", "reason", "message"),
    [
        pytest.param("Exact", None, Reason.INVALID_PATH, "is empty", id="missing"),
        pytest.param("Prefix", "", Reason.INVALID_PATH, "is empty", id="empty"),
        pytest.param("Prefix", "foo", Reason.INVALID_PATH, "does not begin with /", id="without a slash"),
        pytest.param(
            "ImplementationSpecific", "~ ^/x", Reason.INVALID_PATH, "does not begin with /", id="nginx"
        ),
        pytest.param("Prefix", "/a//b", Reason.INVALID_PATH, "has '//'", id="two slashes"),
        pytest.param("Exact", "/a%2Fb", Reason.INVALID_PATH, "has '%2F'", id="an escaped slash"),
        pytest.param("Exact", "/a/..", Reason.INVALID_PATH, "ends in a dot element", id="dots at the end"),
        pytest.param("Prefix", "/%2e%2e/x", Reason.INVALID_PATH, "leads above the root", id="above the root"),
        pytest.param("Prefix", "/a\x00", Reason.INVALID_PATH, "has a control character", id="NUL"),
        pytest.param("Prefix", "/a\r\nb", Reason.INVALID_PATH, "has a control character", id="line end"),
        pytest.param("Prefix", "/%zz", Reason.INVALID_PATH, "has an escape", id="a wrong escape"),
        pytest.param("Prefix", "/\ud800", Reason.INVALID_PATH, "is not text", id="half a character"),
        pytest.param(
            "Prefix", "/" + "a" * 3000, Reason.INVALID_PATH, "is longer than 3000 bytes", id="too long"
        ),
        pytest.param(
            "Prefix", "/" + "ü" * 600, Reason.INVALID_PATH, "is longer than 3000 bytes", id="in bytes"
        ),
        pytest.param(None, "/", Reason.INVALID_PATH_TYPE, "is missing", id="no type"),
        pytest.param("prefix", "/", Reason.INVALID_PATH_TYPE, "'prefix' is not Exact", id="another case"),
    ],
)
def test_a_path_is_refused(kind: str | None, path: str | None, reason: Reason, message: str) -> None:
    fragment = _one_path(kind, path)

    assert not fragment.claims
    assert list(fragment.hosts) == ["a.test"]  # it is held all the same
    (told,) = fragment.diagnostics
    assert (told.reason, told.severity) == (reason, Severity.ERROR)
    assert message in told.message
    assert [item.reason for item in fragment.unserved] == [reason]


@pytest.mark.parametrize("path", ["/api/(.*)", "/a.*", "/x.+", "/[a-z]", r"/\d", "/a$", "/^a"])
def test_a_pattern_is_told_and_read_letter_by_letter(path: str) -> None:
    fragment = _one_path("ImplementationSpecific", path)

    (told,) = fragment.diagnostics
    assert (told.reason, told.severity) == (Reason.PATH_LOOKS_LIKE_REGEX, Severity.WARNING)
    assert len(fragment.claims) == 1


@pytest.mark.parametrize("path", ["/a.b", "/a+b", "/a*", "/(a", "/a$b", "/v1"])
def test_what_only_resembles_a_pattern_is_not_told(path: str) -> None:
    assert not _one_path("ImplementationSpecific", path).diagnostics
    assert not _one_path("Prefix", "/(a.*)").diagnostics


_RESOURCE = TypedLocalObjectReference(kind="Bucket", name="x")


@pytest.mark.parametrize(
    ("to", "field", "reason"),
    [
        pytest.param(IngressBackend(), "backend", Reason.INVALID_BACKEND, id="neither"),
        pytest.param(
            IngressBackend(service=backend("one").service, resource=_RESOURCE),
            "backend",
            Reason.INVALID_BACKEND,
            id="both",
        ),
        pytest.param(
            IngressBackend(resource=_RESOURCE), "backend.resource", Reason.RESOURCE_BACKEND, id="a resource"
        ),
        pytest.param(
            IngressBackend(service=IngressServiceBackend(name="one")),
            "backend.service.port",
            Reason.INVALID_BACKEND,
            id="no port",
        ),
        pytest.param(
            IngressBackend(
                service=IngressServiceBackend(name="one", port=ServiceBackendPort(name="http", number=80))
            ),
            "backend.service.port",
            Reason.INVALID_BACKEND,
            id="two ports",
        ),
        pytest.param(
            IngressBackend(service=IngressServiceBackend(name="", port=ServiceBackendPort(number=80))),
            "backend.service.name",
            Reason.INVALID_BACKEND,
            id="no name",
        ),
    ],
)
def test_a_backend_that_can_never_be_is_claimed_as_a_fault(
    to: IngressBackend, field: str, reason: Reason
) -> None:
    fragment = _one_path("Prefix", "/", to)

    (claim,) = fragment.claims
    assert isinstance(claim.backend, BackendFault)
    assert claim.backend.reason is reason
    (told,) = fragment.diagnostics
    assert told.field == f"spec.rules[0].http.paths[0].{field}"
    assert told.message.endswith("requests are answered 503")


@pytest.mark.parametrize(
    ("text", "port"), [("one", 80), ("one:8080", 8080), ("one:http", "http")], ids=["default", "number", "name"]
)
def test_a_backend_is_of_the_ingresss_own_namespace(text: str, port: str | int) -> None:
    (claim,) = _read(ingress("web", {"a.test": {"/": text}}, namespace="shop")).claims

    assert claim.backend == ServiceRef(service=ObjectKey("shop", "one"), port=port)


def test_a_default_backend_is_claimed_for_each_host_last() -> None:
    claims = _read(ingress("web", {"a.test": {"/x": "one"}, "b.test": None}, default="two")).claims

    assert [(claim.host, claim.match.value, claim.fallback) for claim in claims] == [
        ("a.test", "/x", False),
        ("a.test", "/", True),
        ("b.test", "/", True),
    ]


def test_a_default_backend_without_rules_is_a_catch_all() -> None:
    fragment = _read(ingress("web", default="two"))

    assert fragment.catch_all is fragment.claims[0]
    assert fragment.claims[0].host == "*"
    assert not fragment.hosts


def test_a_default_backend_beside_an_invalid_host_is_none() -> None:
    fragment = _read(ingress("web", {"a_b": {"/": "one"}}, default="two"))

    assert fragment.catch_all is None
    assert not fragment.claims


def test_a_certificate_is_for_valid_hosts_only() -> None:
    fragment = _read(ingress("web", {"a.test": {"/": "one"}}, tls={"tls": ["A.test", "a_b", "a.test"]}))

    (claim,) = fragment.tls
    assert claim.hosts == ("a.test",)
    assert claim.secret == ObjectKey("default", "tls")
    assert [item.field for item in fragment.diagnostics] == ["spec.tls[0].hosts[1]"]


def test_a_certificate_of_which_no_host_is_valid_is_for_none() -> None:
    """Not for all hosts of the rules, as it would be without hosts."""
    assert not _read(ingress("web", {"a.test": {"/": "one"}}, tls={"tls": ["a_b"]})).tls


def test_what_is_not_ours_leaves_a_note_for_each_host() -> None:
    fragment = not_ours(ingress("web", {"a.test": {"/": "one"}, "": None}), "it names no class", ())

    assert [(item.host, item.origin.field) for item in fragment.unserved] == [
        ("a.test", "spec.rules[0].host"),
        ("*", "spec.rules[1].host"),
    ]
    assert not fragment.claims


@pytest.mark.parametrize("text", ["a\nb.test", "a" * 5000, "\u202etest.a", '"; }'])
def test_hostile_text_is_shown_on_one_short_line(text: str) -> None:
    told: list[Diagnostic] = [*_read(ingress("web", {text: {"/": "one"}})).diagnostics]
    told += _one_path(text, "/").diagnostics
    told += _one_path("Prefix", f"\x00{text}").diagnostics

    assert len(told) == 3
    for diagnostic in told:
        assert str(diagnostic).isprintable()
        assert len(diagnostic.message) < 200
