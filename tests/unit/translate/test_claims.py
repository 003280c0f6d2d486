"""What the loser is told, and what is kept so that `explain` can say it too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import BackendKey, Forward, Redirect, Respond, WeightedBackend
from ingresskit.models import Ingress, KubeObject, Snapshot
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import HostOwnership, TranslateOptions, Translation, translate

_SHARED = TranslateOptions(host_ownership=HostOwnership.SHARED)


def _translate(*ingresses: Ingress, options: TranslateOptions | None = None) -> Translation:
    objects: list[KubeObject] = [ingress_class(), *ingresses]
    for namespace in ("default", "other"):
        for name in ("one", "two"):
            objects += [
                service(name, namespace=namespace),
                endpoint_slice(name, "10.0.0.1", namespace=namespace),
            ]
    return translate(Snapshot.of(objects), options)


def _only(translation: Translation) -> Diagnostic:
    (told,) = translation.diagnostics
    return told


def test_the_loser_of_a_path_is_told_by_whom_it_is_held() -> None:
    translation = _translate(
        ingress("old", {"a.test": {"/foo": "one"}}), ingress("young", {"a.test": {"/foo/": "two"}}, created=1)
    )
    told = _only(translation)

    assert (told.reason, told.severity) == (Reason.ROUTE_CONFLICT, Severity.ERROR)
    assert told.message == (
        "Prefix /foo/ of a.test is held by the older Ingress default/old, spec.rules[0].http.paths[0] "
        "(the creation time decides); this path is not served"
    )
    assert [str(item) for item in told.related] == ["Ingress default/old"]
    (unserved,) = translation.graph.unserved
    assert (unserved.host, unserved.path, str(unserved.winner)) == (
        "a.test",
        "Prefix /foo/",
        "Ingress default/old",
    )


@pytest.mark.parametrize(("to", "severity"), [("one", Severity.WARNING), ("two", Severity.ERROR)])
def test_a_path_twice_in_one_ingress_is_an_error_only_if_it_makes_a_difference(
    to: str, severity: Severity
) -> None:
    told = _only(_translate(ingress("web", {"a.test": {"/foo": "one", "/foo/": to}})))

    assert told.severity is severity
    assert "held by spec.rules[0].http.paths[0]" in told.message
    assert not told.related


def test_the_loser_of_a_host_is_told_the_namespace_and_the_claim() -> None:
    told = _only(
        _translate(
            ingress("old", {"a.test": {"/": "one"}}),
            ingress("young", {"a.test": {"/x": "one"}}, namespace="other", created=1),
        )
    )

    assert told.message == "host a.test is owned by namespace default (oldest claim: Ingress default/old)"


def test_the_loser_of_all_hosts_is_told() -> None:
    told = _only(
        _translate(ingress("old", default="one"), ingress("young", default="one", namespace="other", created=1))
    )

    assert (told.reason, told.field) == (Reason.HOST_CONFLICT, "spec.defaultBackend")
    assert told.message.startswith("every other host is owned by namespace default")


def test_a_host_knows_its_owner_unless_it_is_shared() -> None:
    web = ingress("web", {"a.test": {"/": "one"}})

    strict, shared = (
        _translate(web).graph.virtual_hosts[0],
        _translate(web, options=_SHARED).graph.virtual_hosts[0],
    )
    assert (strict.owner, shared.owner) == ("default", None)


def test_a_default_backend_that_is_never_reached_is_told() -> None:
    beside_rules = _only(_translate(ingress("web", {"a.test": {"/": "one"}}, default="two")))
    alone = _only(_translate(ingress("old", default="one"), ingress("young", default="two", created=1)))

    assert (beside_rules.reason, beside_rules.severity) == (Reason.DEFAULT_BACKEND_UNUSED, Severity.WARNING)
    assert (alone.reason, alone.severity) == (Reason.DEFAULT_BACKEND_UNUSED, Severity.ERROR)


def test_routes_stand_in_the_order_in_which_they_are_tried() -> None:
    paths = {"/": "one", "/a/b/c": "one", "=/z": "one", "/b": "one", "/a/b": "one", "=/a": "one", "/a": "one"}
    host = _translate(ingress("web", {"a.test": paths})).graph.virtual_hosts[0]

    assert [str(route.match) for route in host.routes] == [
        "Exact /a",
        "Exact /z",
        "Prefix /a/b/c",
        "Prefix /a/b",
        "Prefix /a",
        "Prefix /b",
        "Prefix /",
    ]


def test_a_split_gives_each_service_its_weight() -> None:
    split = {"traffic-split": "two=3, one=1"}
    route = _translate(ingress("web", {"a.test": {"/": "one"}}, annotations=split)).graph.resolve("a.test", "/")

    assert route is not None
    assert route.action == Forward(
        backends=(
            WeightedBackend(BackendKey("default", "one", 80), 1),
            WeightedBackend(BackendKey("default", "two", 80), 3),
        )
    )
    assert not route.policies  # said by the action; no renderer need know of it


def test_a_split_of_nothing_that_exists_answers_503_with_the_reason() -> None:
    split = {"traffic-split": "one=0, gone=1"}
    translation = _translate(ingress("web", {"a.test": {"/": "one"}}, annotations=split))
    route = translation.graph.resolve("a.test", "/")

    assert route is not None
    assert isinstance(route.action, Respond)
    assert (route.action.status, route.action.reason) == (503, Reason.SERVICE_NOT_FOUND)


def test_a_redirect_needs_no_backend_but_says_that_it_is_missing() -> None:
    web = ingress("web", {"a.test": {"/": "gone"}}, annotations={"redirect": "/new"})
    translation = _translate(web)
    route = translation.graph.resolve("a.test", "/")

    assert route is not None
    assert route.action == Redirect(location="/new", status=308)
    assert _only(translation).reason is Reason.SERVICE_NOT_FOUND


def test_an_unreadable_protection_goes_before_a_redirect() -> None:
    web = ingress("web", {"a.test": {"/": "one"}}, annotations={"redirect": "/new", "allow-sources": "nobody"})
    route = _translate(web).graph.resolve("a.test", "/")

    assert route is not None
    assert isinstance(route.action, Respond)


def test_a_backend_is_in_the_graph_only_if_a_route_forwards_to_it() -> None:
    graph = _translate(
        ingress("old", {"a.test": {"/": "one"}}), ingress("young", {"a.test": {"/": "two"}}, created=1)
    ).graph

    assert list(graph.backends) == [BackendKey("default", "one", 80)]


_CANARY = {"nginx.ingress.kubernetes.io/canary": "true"}


@pytest.mark.parametrize(
    ("first", "second", "rule"),
    [
        (1, 2, "(the creation time decides)"),
        (1, 1, "created in the same second, so namespace and name decide)"),
    ],
    ids=["older", "as old"],
)
def test_a_conflict_names_the_rule_that_decided(first: int, second: int, rule: str) -> None:
    told = _only(
        _translate(
            ingress("one", {"a.test": {"/": "one"}}, created=first),
            ingress("two", {"a.test": {"/": "two"}}, created=second),
        )
    )

    assert str(told.subject) == "Ingress default/two"
    assert rule in told.message


def test_of_two_ingresses_without_creation_time_the_lower_name_wins_and_says_so() -> None:
    items = [ingress(name, {"a.test": {"/": "one"}}) for name in ("one", "two")]
    ageless = [replace(item, metadata=replace(item.metadata, creation_timestamp=None)) for item in items]
    told = _only(_translate(*ageless))

    assert str(told.subject) == "Ingress default/two"
    assert "(neither has a creation time, so namespace and name decide)" in told.message


@pytest.mark.parametrize(
    "main", [{"/": "two"}, {"/api": "two"}, {"/api/v1": "two"}, {"=/api/v1": "two"}], ids=str
)
def test_an_older_canary_takes_no_path_that_its_main_ingress_serves(main: dict[str, str]) -> None:
    path = "=/api/v1" if "=/api/v1" in main else "/api/v1"
    translation = _translate(
        ingress("canary", {"a.test": {path: "one"}}, created=1, annotations=_CANARY),
        ingress("main", {"a.test": main}, created=2),
    )
    route = translation.graph.resolve("a.test", "/api/v1")

    assert route is not None
    assert route.origin.subject.key.name == "main"
    (told,) = (item for item in translation.diagnostics if item.reason is Reason.ROUTE_CONFLICT)
    assert "marked as canary takes no path from its main Ingress" in told.message


def test_a_canary_takes_nothing_from_the_default_backend_of_its_main_ingress() -> None:
    translation = _translate(
        ingress("canary", {"a.test": {"/api": "one"}}, created=1, annotations=_CANARY),
        ingress("main", {"a.test": {"/shop": "two"}}, default="two", created=2),
    )
    route = translation.graph.resolve("a.test", "/api")

    assert route is not None
    assert route.origin.subject.key.name == "main"


def test_an_older_canary_takes_no_host_from_another_namespace() -> None:
    translation = _translate(
        ingress("canary", {"a.test": {"/": "one"}}, namespace="other", created=1, annotations=_CANARY),
        ingress("main", {"a.test": {"/": "two"}}, created=2),
    )
    host = translation.graph.virtual_host("a.test")

    assert host is not None
    assert host.owner == "default"


def test_a_canary_alone_is_served() -> None:
    translation = _translate(ingress("canary", {"a.test": {"/": "one"}}, annotations=_CANARY))

    assert translation.graph.resolve("a.test", "/") is not None


@pytest.mark.parametrize(
    ("annotation", "opened"),
    [("nginx.ingress.kubernetes.io/auth-url", True), ("allow-sources", False)],
    ids=["another controller's", "our own"],
)
def test_a_protection_that_cannot_be_had_leaves_the_solver_of_challenges_open_if_it_is_another_controller_s(
    annotation: str, opened: bool
) -> None:
    solver = "=/.well-known/acme-challenge/token"
    graph = _translate(
        ingress("web", {"a.test": {"/": "one", solver: "two"}}, annotations={annotation: "https://auth.test/"})
    ).graph
    site, challenge = (graph.resolve("a.test", path) for path in ("/.well-known/acme-challenge", solver[1:]))

    assert site is not None
    assert challenge is not None
    assert isinstance(site.action, Respond)
    assert isinstance(challenge.action, Forward) is opened
