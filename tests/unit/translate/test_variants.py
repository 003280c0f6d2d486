"""Canaries: an Ingress that takes a part of the requests of a path that another Ingress holds."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.graph import Forward, Request
from ingresskit.models import Ingress, KubeObject, Snapshot
from ingresskit.policies import AllowedSources, IngressNginxDialect, NativeDialect, PolicyRegistry, Timeouts
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import HostOwnership, TranslateOptions, Translation, translate

_NGINX = "nginx.ingress.kubernetes.io/"
_OPTIONS = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(), NativeDialect()]))
_SHARED = TranslateOptions(policies=_OPTIONS.policies, host_ownership=HostOwnership.SHARED)


def _translate(*ingresses: Ingress, options: TranslateOptions = _OPTIONS) -> Translation:
    objects: list[KubeObject] = [ingress_class(), *ingresses]
    for namespace in ("default", "other"):
        for name in ("one", "two", "three"):
            objects += [
                service(name, namespace=namespace),
                endpoint_slice(name, "10.0.0.1", namespace=namespace),
            ]
    return translate(Snapshot.of(objects), options)


def _canary(name: str = "canary", service: str = "two", **annotations: str) -> Ingress:
    wanted = {f"{_NGINX}{key.replace('_', '-')}": value for key, value in annotations.items()}
    return ingress(
        name, {"a.test": {"/": service}}, created=1, annotations={f"{_NGINX}canary": "true", **wanted}
    )


def _main(**annotations: str) -> Ingress:
    wanted = {f"{_NGINX}{key.replace('_', '-')}": value for key, value in annotations.items()}
    return ingress("main", {"a.test": {"/": "one"}}, created=2, annotations=wanted)


def _parts(translation: Translation, **headers: str) -> dict[str, Fraction]:
    """Which part of the requests goes to which Service."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    found: dict[str, Fraction] = {}
    for outcome in translation.graph.outcomes(Request(host="a.test", headers=named)):
        action = outcome.route.action if outcome.route else None
        name = action.backends[0].key.service if isinstance(action, Forward) else ""
        found[name] = found.get(name, Fraction(0)) + outcome.probability
    return found


def test_a_canary_takes_its_part_of_the_path_of_its_main_ingress() -> None:
    translation = _translate(_canary(canary_weight="10", canary_by_header="X-Canary"), _main())

    assert not translation.diagnostics
    assert _parts(translation) == {"one": Fraction(9, 10), "two": Fraction(1, 10)}
    assert _parts(translation, x_canary="always") == {"two": Fraction(1)}
    assert _parts(translation, x_canary="never") == {"one": Fraction(1)}
    assert {key.service for key in translation.graph.backends} == {"one", "two"}


def test_of_two_canaries_each_takes_its_part() -> None:
    translation = _translate(
        _canary(canary_weight="10"), _canary("second", "three", canary_weight="30"), _main()
    )

    assert _parts(translation) == {"one": Fraction(6, 10), "two": Fraction(1, 10), "three": Fraction(3, 10)}


def test_requests_of_a_canary_meet_the_policies_of_its_main_ingress() -> None:
    translation = _translate(
        _canary(canary_by_header="X-Canary", proxy_read_timeout="7", whitelist_source_range="127.0.0.0/8"),
        _main(whitelist_source_range="10.0.0.0/8", proxy_read_timeout="9"),
    )
    canary, main = translation.graph.virtual_hosts[0].routes

    assert canary.policies == main.policies
    assert main.policies.get(AllowedSources) is not None
    assert main.policies.get(Timeouts) is not None
    ignored = [item for item in translation.diagnostics if item.reason is Reason.ANNOTATION_IGNORED]
    assert {item.field for item in ignored} == {
        f"metadata.annotations[{_NGINX}proxy-read-timeout]",
        f"metadata.annotations[{_NGINX}whitelist-source-range]",
    }


def test_a_canary_without_a_main_ingress_is_not_served() -> None:
    translation = _translate(_canary(canary_weight="10"))

    (told,) = (item for item in translation.diagnostics if item.reason is Reason.ROUTE_CONFLICT)
    assert "no other Ingress has Prefix / of a.test" in told.message
    assert translation.graph.resolve("a.test", "/") is None
    assert translation.graph.unserved[0].origin.subject.key.name == "canary"


@pytest.mark.parametrize(
    ("main", "why"),
    [
        (_main(permanent_redirect="https://b.test/"), "is not forwarded"),
        (_main(configuration_snippet="deny all;"), "is not forwarded"),
        (ingress("main", {"a.test": {"/": "gone"}}, created=2), "is not forwarded"),
    ],
    ids=["redirects", "is closed", "has no Service"],
)
def test_of_a_path_that_is_not_forwarded_a_canary_takes_nothing(main: Ingress, why: str) -> None:
    translation = _translate(_canary(canary_by_header="X-Canary"), main)

    (told,) = (item for item in translation.diagnostics if item.reason is Reason.ROUTE_CONFLICT)
    assert why in told.message
    assert len(translation.graph.virtual_hosts[0].routes) == 1


@pytest.mark.parametrize(
    "canary",
    [
        _canary(service="gone", canary_weight="10"),
        _canary(canary_weight="10", auth_url="auth.test"),
    ],
    ids=["whose Service is missing", "whose protection cannot be read"],
)
def test_all_requests_stay_with_the_main_ingress_of_a_canary(canary: Ingress) -> None:
    translation = _translate(canary, _main())

    assert _parts(translation) == {"one": Fraction(1)}
    assert any(item.subject.key.name == "canary" for item in translation.diagnostics)


def test_a_canary_takes_nothing_from_another_namespace() -> None:
    main = ingress("main", {"a.test": {"/": "one"}}, namespace="other", created=2)
    translation = _translate(_canary(canary_by_header="X-Canary"), main, options=_SHARED)

    assert _parts(translation, x_canary="always") == {"one": Fraction(1)}
    (told,) = (item for item in translation.diagnostics if item.reason is Reason.ROUTE_CONFLICT)
    assert "belongs to another namespace" in told.message
