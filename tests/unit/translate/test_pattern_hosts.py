"""Hosts all of whose paths are regular expressions, as ingress-nginx has them."""

from __future__ import annotations

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.filters import decide
from ingresskit.graph import PathKind, Request
from ingresskit.models import Ingress, KubeObject, Snapshot
from ingresskit.policies import IngressNginxDialect, NativeDialect, PolicyRegistry
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import HostOwnership, TranslateOptions, Translation, translate

_OPTIONS = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(), NativeDialect()]))
_SHARED = TranslateOptions(policies=_OPTIONS.policies, host_ownership=HostOwnership.SHARED)
_REGEX = {"nginx.ingress.kubernetes.io/use-regex": "true"}


def _translate(*items: Ingress, options: TranslateOptions = _OPTIONS) -> Translation:
    objects: list[KubeObject] = [ingress_class()]
    for namespace in ("default", "other"):
        objects += [service("one", namespace=namespace), endpoint_slice("one", "10.0.0.1", namespace=namespace)]
    return translate(Snapshot.of([*objects, *items]), options)


def _taken(translation: Translation, path: str) -> str:
    route = translation.graph.resolve("a.test", path)
    return f"{route.origin.subject.key.name} {route.shown}" if route else ""


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/v1/users", "web ImplementationSpecific /v[0-9]+/(users|orders)"),
        ("/V22/ORDERS/7", "web ImplementationSpecific /v[0-9]+/(users|orders)"),
        ("/v1/x", "plain Prefix /v1"),
        ("/v1x", "plain Prefix /v1"),
        ("/exactly", "plain Exact /exact"),
        ("/", ""),
    ],
)
def test_all_paths_of_the_host_are_patterns_and_the_longest_wins(path: str, taken: str) -> None:
    translation = _translate(
        ingress("web", {"a.test": {"~/v[0-9]+/(users|orders)": "one"}}, annotations=_REGEX),
        ingress("plain", {"a.test": {"/v1": "one", "=/exact": "one"}}),
    )

    assert not translation.diagnostics
    assert _taken(translation, path) == taken


def test_other_hosts_are_not_concerned() -> None:
    translation = _translate(
        ingress("web", {"a.test": {"~/x.*": "one"}}, annotations=_REGEX),
        ingress("plain", {"b.test": {"/v1": "one"}}),
    )

    assert translation.graph.resolve("b.test", "/V1") is None


def test_a_pattern_outside_the_grammar_is_not_served_and_says_which_rule_it_breaks() -> None:
    translation = _translate(
        ingress("web", {"a.test": {"~/a(?P<x>b)": "one", "~/ok": "one"}}, annotations=_REGEX),
    )

    (told,) = translation.diagnostics
    assert (told.reason, told.field) == (Reason.INVALID_PATH, "spec.rules[0].http.paths[0].path")
    assert "is a regular expression that has a group of the kind" in told.message
    assert _taken(translation, "/ok") == "web ImplementationSpecific /ok"


def test_a_path_that_another_object_makes_a_pattern_is_not_reported_as_taken_literally() -> None:
    plain = ingress("plain", {"a.test": {"/v[0-9]+/x": "one"}, "b.test": {"/v[0-9]+": "one"}})
    translation = _translate(ingress("web", {"a.test": {"~/y": "one"}}, annotations=_REGEX), plain)

    assert _taken(translation, "/v1/x") == "plain Prefix /v[0-9]+/x"
    (told,) = translation.diagnostics
    assert (told.reason, told.field) == (
        Reason.PATH_LOOKS_LIKE_REGEX,
        "spec.rules[1].http.paths[0].path",
    )


def test_a_path_that_cannot_be_a_pattern_is_taken_letter_by_letter() -> None:
    translation = _translate(
        ingress("web", {"a.test": {"~/x": "one"}}, annotations=_REGEX),
        ingress("plain", {"a.test": {"/a+(b": "one"}}),
    )

    assert not translation.diagnostics
    assert _taken(translation, "/a+(b/c") == "plain Prefix /a+(b"
    assert _taken(translation, "/aa") == ""


def test_what_no_pattern_takes_goes_to_the_default_backend() -> None:
    translation = _translate(ingress("web", {"a.test": {"~/x": "one"}}, default="one", annotations=_REGEX))

    route = translation.graph.resolve("a.test", "/else")
    assert route is not None
    assert route.fallback


def test_patterns_of_a_namespace_take_no_path_that_an_older_one_holds() -> None:
    translation = _translate(
        ingress("old", {"a.test": {"/admin": "one"}}, created=1),
        ingress("new", {"a.test": {"~/admin/.*": "one"}}, namespace="other", created=2, annotations=_REGEX),
        options=_SHARED,
    )

    assert _taken(translation, "/admin/x") == "old Prefix /admin"
    (told,) = translation.diagnostics
    assert (told.subject.key.namespace, told.reason) == ("other", Reason.ROUTE_CONFLICT)
    assert "only the namespace of the oldest Ingress (Ingress default/old) may have them" in told.message


def test_paths_of_other_namespaces_stay_what_they_are_behind_the_patterns() -> None:
    translation = _translate(
        ingress("old", {"a.test": {"~/admin/.*": "one"}}, created=1, annotations=_REGEX),
        ingress("new", {"a.test": {"/admin": "one", "/x": "one"}}, namespace="other", created=2),
        options=_SHARED,
    )
    kinds = {
        route.origin.subject.key.name: route.match.kind for route in translation.graph.virtual_hosts[0].routes
    }

    assert kinds == {"old": PathKind.REGEX, "new": PathKind.PREFIX}
    assert _taken(translation, "/ADMIN/x") == "old ImplementationSpecific /admin/.*"
    assert _taken(translation, "/admin") == "new Prefix /admin"
    assert _taken(translation, "/X") == ""


def _forwarded(translation: Translation, path: str) -> str:
    return decide(translation.graph, Request.of(f"http://a.test{path}", client="192.0.2.1")).forwarded


@pytest.mark.parametrize("kind", ["", "="])
def test_a_prefix_is_rewritten_on_a_host_whose_paths_are_patterns(kind: str) -> None:
    rewriting = {"rewrite-prefix": "/v2"}
    translation = _translate(
        ingress("web", {"a.test": {"~/y": "one"}}, annotations=_REGEX),
        ingress("plain", {"a.test": {f"{kind}/shop/old": "one"}}, annotations=rewriting),
    )

    assert not translation.diagnostics
    assert _forwarded(translation, "/shop/old") == "/v2"
    assert _forwarded(translation, "/shop/old/cart") == "/v2/cart"
    assert _taken(translation, "/shop/older") == ""


def test_a_path_that_rewrites_its_prefix_is_still_held_by_the_older_object() -> None:
    translation = _translate(
        ingress("web", {"a.test": {"~/shop": "one"}}, created=1, annotations=_REGEX),
        ingress("plain", {"a.test": {"/shop": "one"}}, created=2, annotations={"rewrite-prefix": "/v2"}),
    )

    (told,) = translation.diagnostics
    assert (told.reason, told.subject.key.name) == (Reason.ROUTE_CONFLICT, "plain")
    assert _forwarded(translation, "/shop/x") == "/shop/x"


def test_a_pattern_of_whole_elements_beside_the_path_is_no_second_route() -> None:
    translation = _translate(
        ingress("web", {"a.test": {"~/shop(?:/|$)": "one"}}, created=1, annotations=_REGEX),
        ingress("plain", {"a.test": {"/shop": "one"}}, created=2, annotations={"rewrite-prefix": "/v2"}),
    )

    assert _taken(translation, "/shop/x") == "web ImplementationSpecific /shop(?:/|$)"
    assert _forwarded(translation, "/shopping") == "/shopping"


def test_a_path_too_long_for_whole_elements_is_reported_and_not_rewritten() -> None:
    path = "/" + "a" * 993
    translation = _translate(
        ingress("web", {"a.test": {"~/y": "one"}}, annotations=_REGEX),
        ingress("plain", {"a.test": {path: "one"}}, annotations={"rewrite-prefix": "/v2"}),
    )

    assert _forwarded(translation, path) == path
    (told,) = translation.diagnostics
    assert told.reason is Reason.ANNOTATION_IGNORED
    assert "paths are sent as clients ask for them" in told.message


_TARGET = "nginx.ingress.kubernetes.io/rewrite-target"


def test_a_target_without_captures_is_the_path_of_every_request_and_paths_are_patterns() -> None:
    translation = _translate(
        ingress("web", {"a.test": {"/old": "one", "/new/": "one"}}, annotations={_TARGET: "/new/"})
    )

    assert not translation.diagnostics
    assert _forwarded(translation, "/OLDER/x?a=b") == "/new/"
    assert _forwarded(translation, "/new/x") == "/new/x"
