from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import PathMatch, PathOptions
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
    decode,
)
from ingresskit.policies import default_policies
from ingresskit.testing import backend, ingress
from ingresskit.translate.claims import BackendFault, Claimant, ServiceRef
from ingresskit.translate.ingress.rules import not_ours, read_ingress

_POLICIES = default_policies()


def _read(item: Ingress) -> Claimant:
    return read_ingress(item, _POLICIES)


def _one_path(kind: str | None, path: str | None, to: IngressBackend | None = None) -> Claimant:
    written = HTTPIngressPath(path=path, path_type=kind, backend=to or backend("one"))
    rule = IngressRule(host="a.test", http=HTTPIngressRuleValue(paths=(written,)))
    return _read(Ingress(metadata=ObjectMeta(name="web", namespace="shop"), spec=IngressSpec(rules=(rule,))))


def _told(claimant: Claimant) -> list[Diagnostic]:
    """Everything that is reported of *claimant* on a host whose paths are no regular expressions."""
    return [*claimant.diagnostics, *(claim.doubt for claim in claimant.claims if claim.doubt is not None)]


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
    claimant = _one_path(kind, path)

    assert not claimant.claims
    assert list(claimant.hosts) == ["a.test"]  # it is held all the same
    (told,) = claimant.diagnostics
    assert (told.reason, told.severity) == (reason, Severity.ERROR)
    assert message in told.message
    assert [item.reason for item in claimant.unserved] == [reason]


@pytest.mark.parametrize("kind", ["Exact", "Prefix", "ImplementationSpecific"])
@pytest.mark.parametrize(
    "path", ["/api/(.*)", "/a.*", "/x.+", "/[a-z]", r"/\d", r"/a\.b", "/a$", "/^a", "/a|/b", "/~/status"]
)
def test_a_pattern_is_told_and_read_letter_by_letter(kind: str, path: str) -> None:
    claimant = _one_path(kind, path)

    (told,) = _told(claimant)
    assert (told.reason, told.severity) == (Reason.PATH_LOOKS_LIKE_REGEX, Severity.WARNING)
    assert len(claimant.claims) == 1


@pytest.mark.parametrize("kind", ["Prefix", "ImplementationSpecific"])
@pytest.mark.parametrize(
    "path", ["/a.b", "/a+b", "/(a", "/a$b", "/v1", "/~user", "/v1/x:cancel", "/a%20b", "/a%3Fb"]
)
def test_what_only_resembles_a_notation_is_not_told(kind: str, path: str) -> None:
    assert not _told(_one_path(kind, path))


@pytest.mark.parametrize(
    ("kind", "path", "reason", "says"),
    [
        (
            "Prefix",
            "/bot(/|$)(.*)",
            Reason.PATH_LOOKS_LIKE_REGEX,
            "; Prefix /bot takes the requests that are meant",
        ),
        ("Prefix", "/app/?(.*)", Reason.PATH_LOOKS_LIKE_REGEX, "; Prefix /app takes"),
        ("Prefix", "/app/.*", Reason.PATH_LOOKS_LIKE_REGEX, "; Prefix /app takes"),
        ("Prefix", "/(.*)", Reason.PATH_LOOKS_LIKE_REGEX, "; Prefix / takes"),
        ("Exact", "/$", Reason.PATH_LOOKS_LIKE_REGEX, "; Exact / takes"),
        ("Prefix", "/app$", Reason.PATH_LOOKS_LIKE_REGEX, "; Exact /app takes"),
        ("Prefix", "/v[0-9]+/.*", Reason.PATH_LOOKS_LIKE_REGEX, "is taken letter by letter"),
        ("Prefix", "/*", Reason.PATH_TAKEN_LITERALLY, "; Prefix / takes"),
        ("ImplementationSpecific", "/shop/*", Reason.PATH_TAKEN_LITERALLY, "; Prefix /shop takes"),
        ("Prefix", "/shop/**", Reason.PATH_TAKEN_LITERALLY, "; Prefix /shop takes"),
        ("Prefix", "/shop*", Reason.PATH_TAKEN_LITERALLY, "Prefix /shop takes no more than /shop itself"),
        ("Prefix", "/a/*/b", Reason.PATH_TAKEN_LITERALLY, "paths have no wildcards"),
        ("Prefix", "/search?q=1", Reason.PATH_TAKEN_LITERALLY, "begins the query of a URL"),
        ("Exact", "/page#top", Reason.PATH_TAKEN_LITERALLY, "; Exact /page is the nearest"),
        ("Prefix", "/users/{id}/x", Reason.PATH_TAKEN_LITERALLY, "'{id}', which stands for itself"),
        ("Prefix", "/users/:id", Reason.PATH_TAKEN_LITERALLY, "; Prefix /users is the nearest"),
        ("Prefix", "/users/<id>", Reason.PATH_TAKEN_LITERALLY, "; Prefix /users is the nearest"),
        ("Prefix", "/shop ", Reason.PATH_TAKEN_LITERALLY, "; Prefix /shop takes"),
    ],
)
def test_a_notation_of_others_is_told_with_the_path_that_means_the_same(
    kind: str, path: str, reason: Reason, says: str
) -> None:
    (told,) = _told(_one_path(kind, path))

    assert (told.reason, told.severity) == (reason, Severity.WARNING)
    assert told.field == "spec.rules[0].http.paths[0].path"
    assert says in told.message


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("https://a.test/shop", "does not begin with /; it is not served; it is a URL"),
        ("https://[/shop", "it is a URL"),
        ("= /shop", "nginx's notation"),
        ("~ ^/shop", "nginx's notation"),
        ("^/shop", "looks like a regular expression"),
        ("shop/cart", "; write /shop/cart"),
    ],
)
def test_a_path_that_is_refused_is_told_with_what_to_write(path: str, says: str) -> None:
    (told,) = _told(_one_path("Prefix", path))

    assert (told.reason, told.severity) == (Reason.INVALID_PATH, Severity.ERROR)
    assert says in told.message


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("*", "for all hosts, leave the field out"),
        ("https://a.test/", "write the name alone: a.test"),
        ("a.test/shop", "write the name alone: a.test"),
        ("a.test:8080", "write it without port: a.test"),
        ("a.test.", "write it without the dot at its end: a.test"),
        ("a.test, b.test", "write a rule for each host"),
        ("www.*.test", "a wildcard stands for the whole first label"),
        ("*a.test", "a wildcard stands for the whole first label"),
        ("~^a", "hosts are no regular expressions"),
        ("münchen.test", "write it in ASCII: xn--mnchen-3ya.test"),
        ("." * 300, "is not a DNS name"),
        ("\ud800.test", "is not a DNS name"),
    ],
)
def test_a_host_that_is_refused_is_told_with_what_to_write(host: str, says: str) -> None:
    (told,) = _read(ingress("web", {host: {"/": "one"}})).diagnostics

    assert (told.reason, told.severity) == (Reason.INVALID_HOST, Severity.ERROR)
    assert says in told.message


def test_a_rule_without_host_beside_rules_with_hosts_is_told() -> None:
    (told,) = _read(ingress("web", {"a.test": {"/": "one"}, "": {"/api": "two"}})).diagnostics

    assert (told.reason, told.severity) == (Reason.RULE_WITHOUT_HOST, Severity.WARNING)
    assert told.field == "spec.rules[1]"


@pytest.mark.parametrize(
    "rules", [{"": {"/": "one"}}, {"a.test": {"/": "one"}}, {"a.test": {"/": "one"}, "*.b.test": {"/": "one"}}]
)
def test_rules_that_are_alike_in_having_a_host_are_not_told(rules: dict[str, dict[str, str]]) -> None:
    assert not _read(ingress("web", rules)).diagnostics


@pytest.mark.parametrize("default", [None, "one"])
def test_a_rule_without_paths_is_told_unless_there_is_a_default_backend(default: str | None) -> None:
    told = _read(ingress("web", {"a.test": None}, default=default)).diagnostics

    assert [item.reason for item in told] == ([] if default else [Reason.RULE_WITHOUT_PATHS])


def test_a_path_is_kept_as_it_is_written() -> None:
    (claim,) = _one_path("ImplementationSpecific", "/a|b\u200b/").claims

    assert claim.shown == "ImplementationSpecific /a|b\\u200b/"
    assert _one_path("Prefix", "/a").claims[0].shown == "Prefix /a"


def test_the_fields_of_v1beta1_in_a_v1_object_are_named() -> None:
    found = decode(
        Ingress,
        {
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "backend": {"serviceName": "one", "servicePort": 80},
                "rules": [
                    {
                        "host": "a.test",
                        "http": {
                            "paths": [
                                {
                                    "path": "/",
                                    "pathType": "Prefix",
                                    "backend": {"serviceName": "one", "servicePort": "http"},
                                }
                            ]
                        },
                    }
                ],
            },
        },
    )
    default, path = _read(found).diagnostics

    assert (default.reason, default.field) == (Reason.INVALID_BACKEND, "spec.backend")
    assert "v1 calls it spec.defaultBackend" in default.message
    assert (path.reason, path.field) == (Reason.INVALID_BACKEND, "spec.rules[0].http.paths[0].backend")
    assert "serviceName and servicePort" in path.message
    assert "service.name" in path.message


def test_the_port_of_another_controller_s_action_is_named() -> None:
    to = IngressBackend(
        service=IngressServiceBackend(name="one", port=ServiceBackendPort(name="use-annotation"))
    )
    (told,) = _one_path("Prefix", "/", to).diagnostics

    assert told.field == "spec.rules[0].http.paths[0].backend.service.port.name"
    assert "AWS Load Balancer Controller" in told.message


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
    claimant = _one_path("Prefix", "/", to)

    (claim,) = claimant.claims
    assert isinstance(claim.backend, BackendFault)
    assert claim.backend.reason is reason
    (told,) = claimant.diagnostics
    assert told.field == f"spec.rules[0].http.paths[0].{field}"
    assert told.message.endswith("the route responds 503")


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
    claimant = _read(ingress("web", default="two"))

    assert claimant.catch_all is claimant.claims[0]
    assert claimant.claims[0].host == "*"
    assert not claimant.hosts


def test_a_default_backend_beside_an_invalid_host_is_none() -> None:
    claimant = _read(ingress("web", {"a_b": {"/": "one"}}, default="two"))

    assert claimant.catch_all is None
    assert not claimant.claims


def test_a_certificate_is_for_valid_hosts_only() -> None:
    claimant = _read(ingress("web", {"a.test": {"/": "one"}}, tls={"tls": ["A.test", "a_b", "a.test"]}))

    (claim,) = claimant.tls
    assert claim.hosts == ("a.test",)
    assert claim.secret == ObjectKey("default", "tls")
    assert [item.field for item in claimant.diagnostics] == ["spec.tls[0].hosts[1]"]


def test_a_certificate_of_which_no_host_is_valid_is_for_none() -> None:
    """Not for all hosts of the rules, as it would be without hosts."""
    assert not _read(ingress("web", {"a.test": {"/": "one"}}, tls={"tls": ["a_b"]})).tls


def test_what_is_not_ours_leaves_a_note_for_each_host() -> None:
    claimant = not_ours(ingress("web", {"a.test": {"/": "one"}, "": None}), "it names no class", ())

    assert [(item.host, item.origin.field) for item in claimant.unserved] == [
        ("a.test", "spec.rules[0].host"),
        ("*", "spec.rules[1].host"),
    ]
    assert not claimant.claims


@pytest.mark.parametrize("text", ["a\nb.test", "a" * 5000, "\u202etest.a", '"; }'])
def test_hostile_text_is_shown_on_one_short_line(text: str) -> None:
    told: list[Diagnostic] = [*_read(ingress("web", {text: {"/": "one"}})).diagnostics]
    told += _one_path(text, "/").diagnostics
    told += _told(_one_path("Prefix", f"\x00{text}"))

    assert len(told) == 3
    for diagnostic in told:
        assert str(diagnostic).isprintable()
        assert len(diagnostic.message) < 200


@pytest.mark.parametrize(("split", "told"), [("one=1, two=1", False), ("two=1", True)])
def test_a_split_that_shares_nothing_is_told(split: str, told: bool) -> None:
    found = _read(ingress("web", {"a.test": {"/": "one"}}, annotations={"traffic-split": split})).diagnostics

    assert [(item.reason, item.severity) for item in found] == (
        [(Reason.ANNOTATION_IGNORED, Severity.WARNING)] if told else []
    )


def test_a_host_that_is_written_and_empty_is_told() -> None:
    item = ingress("web", {"": {"/": "one"}})
    (rule,) = item.spec.rules
    (told,) = _read(replace(item, spec=replace(item.spec, rules=(replace(rule, host=""),)))).diagnostics

    assert (told.reason, told.severity, told.field) == (
        Reason.RULE_WITHOUT_HOST,
        Severity.WARNING,
        "spec.rules[0].host",
    )


def test_a_host_of_any_length_is_refused_at_once() -> None:
    told = _read(ingress("web", {"ü" * 100_000: {"/": "one"}, "*" * 100_000: {"/": "one"}})).diagnostics

    assert [item.reason for item in told] == [Reason.INVALID_HOST] * 2


@pytest.mark.parametrize(
    ("path", "options", "match"),
    [
        ("/a//b", PathOptions(merge_slashes=False), PathMatch.prefix("/a//b")),
        ("/a//b", PathOptions(), PathMatch.prefix("/a/b")),
        # Without its slashes this would be the prefix of everything.
        ("//", PathOptions(merge_slashes=False), None),
        ("/a//", PathOptions(merge_slashes=False), None),
        ("/a;b", PathOptions(strict=True), None),
    ],
)
def test_rule_paths_are_read_as_those_of_requests(
    path: str, options: PathOptions, match: PathMatch | None
) -> None:
    written = HTTPIngressPath(path=path, path_type="ImplementationSpecific", backend=backend("one"))
    rule = IngressRule(host="a.test", http=HTTPIngressRuleValue(paths=(written,)))
    item = Ingress(metadata=ObjectMeta(name="web", namespace="shop"), spec=IngressSpec(rules=(rule,)))

    claimant = read_ingress(item, _POLICIES, paths=options)

    assert [claim.match for claim in claimant.claims] == ([] if match is None else [match])
    assert (Reason.INVALID_PATH in [found.reason for found in claimant.diagnostics]) == (match is None)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/a/%2e%2E/admin", "is served as '/admin': dot elements are resolved"),
        ("/a/%2e", "is served as '/a/': dot elements are resolved"),
        ("/a/../b", "is served as '/b': dot elements are resolved"),
        ("/my shop", "is served as '/my%20shop': ' ' may not stand in a path"),
        ('/q"x', "is served as '/q%22x'"),
        ("/%61/b", ""),
        ("/\u00fc", ""),
        ("/a%20b", ""),
        ("/a.b/..c", ""),
    ],
)
def test_the_path_that_is_served_is_named_where_it_is_another(path: str, said: str) -> None:
    found = _told(_one_path("ImplementationSpecific", path))

    assert [item.reason for item in found] == ([Reason.PATH_SERVED_OTHERWISE] if said else [])
    assert all(said in item.message for item in found)
