"""Users of ingress-nginx: what its annotations ask for, and what closes the routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, ObjectRef, Secret
from ingresskit.policies import (
    BasicAuth,
    DigestAuth,
    IngressNginxDialect,
    PolicyRegistry,
    Reading,
    Satisfaction,
    Satisfy,
)

PREFIX = "nginx.ingress.kubernetes.io"
SETTINGS = ObjectKey("ops", "settings")
SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
BASIC = {"auth-type": "basic", "auth-secret": "users"}
ALICE = {"auth": f"alice:{SHA}"}

K = TypeVar("K", bound=KubeObject)


def read(
    annotations: Mapping[str, str],
    data: Mapping[str, str] | None = None,
    *,
    namespace: str = "shop",
    across: str = "false",
) -> Reading:
    """What the dialect makes of *annotations* where a Secret called users holds *data*."""
    settings = ConfigMap(
        metadata=ObjectMeta(namespace="ops", name="settings"), data={"allow-cross-namespace-resources": across}
    )
    items: dict[ObjectKey, KubeObject] = {SETTINGS: settings}
    if data is not None:
        octets = {key: value.encode() for key, value in data.items()}
        users = Secret(metadata=ObjectMeta(namespace=namespace, name="users"), data=octets)
        items[users.key] = users

    def objects(kind: type[K], key: ObjectKey, /) -> K | None:
        found = items.get(key)
        return found if isinstance(found, kind) else None

    registry = PolicyRegistry([IngressNginxDialect(settings=SETTINGS)])
    named = {f"{PREFIX}/{name}": text for name, text in annotations.items()}
    return registry.read(named, ObjectRef("Ingress", ObjectKey("shop", "web")), objects)


@pytest.mark.parametrize(
    ("annotations", "data", "namespace", "across"),
    [
        pytest.param(BASIC, ALICE, "shop", "false", id="a file"),
        pytest.param({**BASIC, "auth-secret": "shop/users"}, ALICE, "shop", "false", id="with its namespace"),
        pytest.param({**BASIC, "auth-secret-type": "auth-map"}, {"alice": SHA}, "shop", "false", id="a map"),
        pytest.param({**BASIC, "auth-secret": "bank/users"}, ALICE, "bank", "true", id="of another namespace"),
    ],
)
def test_users_are_asked_for(
    annotations: Mapping[str, str], data: Mapping[str, str], namespace: str, across: str
) -> None:
    reading = read(annotations, data, namespace=namespace, across=across)
    policy = reading.policies.get(BasicAuth)

    assert reading.diagnostics == ()
    assert policy is not None
    assert [(user.name, user.hash) for user in policy.users] == [("alice", SHA)]
    assert (policy.realm, policy.forward) == ("", False)


def test_users_of_a_digest_are_those_of_the_realm() -> None:
    data = {"auth": f"alice:shop:{'0' * 32}\nbob:bank:{'1' * 32}"}

    reading = read({**BASIC, "auth-type": "digest", "auth-realm": "bank"}, data)
    policy = reading.policies.get(DigestAuth)

    assert policy is not None
    assert ([user.name for user in policy.users], policy.realm) == (["bob"], "bank")


@pytest.mark.parametrize(
    ("annotations", "data", "annotation"),
    [
        pytest.param(BASIC, None, "auth-secret", id="no Secret"),
        pytest.param({"auth-type": "basic"}, ALICE, "auth-type", id="none named"),
        pytest.param({**BASIC, "auth-type": "Basic"}, ALICE, "auth-type", id="another type"),
        pytest.param({**BASIC, "auth-secret": "../users"}, ALICE, "auth-secret", id="no name"),
        pytest.param({**BASIC, "auth-secret": "bank/users"}, ALICE, "auth-secret", id="another namespace"),
        pytest.param({**BASIC, "auth-secret-type": "file"}, ALICE, "auth-secret-type", id="another form"),
        pytest.param({**BASIC, "auth-realm": "schön"}, ALICE, "auth-realm", id="another alphabet"),
        pytest.param(BASIC, {}, "auth-secret", id="an empty Secret"),
        pytest.param(BASIC, {"users": f"alice:{SHA}"}, "auth-secret", id="another key"),
        pytest.param(BASIC, {"auth": "alice"}, "auth-secret", id="a malformed line"),
        pytest.param(BASIC, {"auth": "alice:secret"}, "auth-secret", id="nobody who can log in"),
        pytest.param({**BASIC, "auth-type": "digest"}, ALICE, "auth-secret", id="a file of the other type"),
        pytest.param(
            {**BASIC, "auth-type": "digest", "auth-realm": "bank"},
            {"auth": f"alice:shop:{'0' * 32}"},
            "auth-secret",
            id="nobody of the realm",
        ),
    ],
)
def test_what_cannot_be_asked_for_closes_the_routes(
    annotations: Mapping[str, str], data: Mapping[str, str] | None, annotation: str
) -> None:
    reading = read(annotations, data)

    assert reading.protection_fault is not None
    assert reading.protection_fault.field == f"metadata.annotations[{PREFIX}/{annotation}]"
    assert "alice" not in reading.protection_fault.message
    assert BasicAuth not in reading.policies
    assert DigestAuth not in reading.policies


def test_a_hash_that_cannot_be_verified_costs_its_user_only() -> None:
    reading = read(BASIC, {"auth": f"bob:rqXexS6ZhobKA\nalice:{SHA}"})
    policy = reading.policies.get(BasicAuth)
    (diagnostic,) = reading.diagnostics

    assert policy is not None
    assert [user.name for user in policy.users] == ["alice"]
    assert diagnostic.reason is Reason.ANNOTATION_UNSUPPORTED
    assert "the user of line 1 of the Secret shop/users cannot log in" in diagnostic.message


def test_without_a_type_nobody_is_asked() -> None:
    reading = read({"auth-secret": "users"}, ALICE)
    (diagnostic,) = reading.diagnostics

    assert (reading.protection_fault, BasicAuth in reading.policies) == (None, False)
    assert diagnostic.reason is Reason.ANNOTATION_IGNORED


def test_the_realm_that_switches_nginx_off_is_a_realm() -> None:
    reading = read({**BASIC, "auth-realm": "off"}, ALICE)
    policy = reading.policies.get(BasicAuth)
    (diagnostic,) = reading.diagnostics

    assert policy is not None
    assert policy.realm == "off"
    assert "switches authentication off in ingress-nginx" in diagnostic.message


@pytest.mark.parametrize(
    ("text", "mode"), [("any", Satisfaction.ANY), ("all", Satisfaction.ALL), ("Any", None)]
)
def test_any_or_all_are_satisfied(text: str, mode: Satisfaction | None) -> None:
    reading = read({"satisfy": text})
    policy = reading.policies.get(Satisfy)

    assert (None if policy is None else policy.mode) == mode
    assert bool(reading.diagnostics) == (mode is None)


def test_denied_clients_stay_out_whatever_they_know() -> None:
    reading = read({"satisfy": "any", "denylist-source-range": "192.0.2.0/24"})
    (diagnostic,) = reading.diagnostics

    assert "here they stay out" in diagnostic.message
