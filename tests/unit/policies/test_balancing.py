"""How affinity and hashes are asked for, natively and as in ingress-nginx."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import (
    Affinity,
    AffinityCanary,
    AffinityMode,
    Algorithm,
    HashBy,
    HashPart,
    HashSource,
    IngressNginxDialect,
    LoadBalancing,
    NativeDialect,
    PolicyRegistry,
    Reading,
    SameSite,
    SecureCookie,
)
from ingresskit.policies.kinds import BUILTIN_POLICIES

WEB = ObjectRef("Ingress", ObjectKey("default", "web"))


def native(**annotations: str) -> Reading:
    registry = PolicyRegistry([NativeDialect(BUILTIN_POLICIES)])
    return registry.read(
        {f"ingresskit.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}, WEB
    )


def nginx(**annotations: str) -> Reading:
    registry = PolicyRegistry([IngressNginxDialect()])
    prefix = "nginx.ingress.kubernetes.io"
    return registry.read(
        {f"{prefix}/{name.replace('_', '-')}": value for name, value in annotations.items()}, WEB
    )


def test_native_affinity() -> None:
    found = native(
        affinity_cookie="seat",
        affinity_mode="persistent",
        affinity_cookie_domain=".Shop.test",
        affinity_cookie_max_age="2h",
        affinity_cookie_samesite="Lax",
    )

    assert not found.diagnostics
    assert found.policies.get(Affinity) == Affinity(
        cookie="seat",
        mode=AffinityMode.PERSISTENT,
        domain="shop.test",
        max_age=timedelta(hours=2),
        samesite=SameSite.LAX,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("affinity_cookie", "a b"),
        ("affinity_cookie", "a;b"),
        ("affinity_cookie", "x" * 65),
        ("affinity_cookie_path", "/a;Domain=x"),
        ("affinity_cookie_path", "x"),
        ("affinity_cookie_domain", "shop.test; Secure"),
        ("affinity_cookie_samesite", "lax"),
        ("affinity_cookie_secure", "maybe"),
        ("affinity_mode", "sticky"),
        ("hash_by", "client;"),
        ("hash_by", "header"),
        ("hash_by", "client:x"),
        ("hash_by", "text:x"),
        ("hash_by", "$request_uri"),
        ("hash_by", "client " * 9),
        ("hash_by_subset", "0"),
    ],
)
def test_other_values_are_refused(name: str, value: str) -> None:
    other = {"hash_by": "client"} if name == "hash_by_subset" else {"affinity_cookie": "s"}
    found = native(**{**other, name: value})

    assert [item.reason for item in found.diagnostics] == [Reason.ANNOTATION_INVALID]
    assert found.protection_fault is None


@pytest.mark.parametrize("name", ["affinity_mode", "hash_by_subset"])
def test_details_need_what_they_are_details_of(name: str) -> None:
    found = native(**{name: "balanced" if name == "affinity_mode" else "2"})

    assert [item.reason for item in found.diagnostics] == [Reason.ANNOTATION_INVALID]
    assert not found.policies


def test_native_hash() -> None:
    found = native(hash_by="host header:X-Tenant cookie:id query:q query", hash_by_subset="3")

    assert not found.diagnostics
    assert found.policies.get(HashBy) == HashBy(
        parts=(
            HashPart(HashSource.HOST),
            HashPart(HashSource.HEADER, "x-tenant"),
            HashPart(HashSource.COOKIE, "id"),
            HashPart(HashSource.QUERY, "q"),
            HashPart(HashSource.QUERY),
        ),
        subset=3,
    )


def test_affinity_of_ingress_nginx_has_its_defaults() -> None:
    assert nginx(affinity="cookie").policies.get(Affinity) == Affinity(cookie="INGRESSCOOKIE")
    assert nginx(session_cookie_name="x").policies.get(Affinity) is None


def test_affinity_of_ingress_nginx() -> None:
    found = nginx(
        affinity="cookie",
        affinity_mode="persistent",
        affinity_canary_behavior="legacy",
        session_cookie_name="route",
        session_cookie_path="/x",
        session_cookie_domain="a.test",
        session_cookie_max_age="172800",
        session_cookie_expires="60",
        session_cookie_secure="false",
        session_cookie_samesite="none",
        session_cookie_conditional_samesite_none="t",
        session_cookie_change_on_failure="1",
    )

    assert not found.diagnostics
    assert found.policies.get(Affinity) == Affinity(
        cookie="route",
        mode=AffinityMode.PERSISTENT,
        canary=AffinityCanary.LEGACY,
        path="/x",
        domain="a.test",
        max_age=timedelta(days=2),
        expires=timedelta(minutes=1),
        secure=SecureCookie.FALSE,
        samesite=SameSite.NONE,
        conditional_samesite_none=True,
        change_on_failure=True,
    )


def test_what_is_wrong_in_a_detail_of_affinity_costs_that_detail() -> None:
    found = nginx(
        affinity="cookie", session_cookie_max_age="1h", session_cookie_samesite="x", affinity_mode="y"
    )

    assert found.policies.get(Affinity) == Affinity(cookie="INGRESSCOOKIE")
    assert [item.reason for item in found.diagnostics] == [Reason.ANNOTATION_INVALID] * 3


def test_another_affinity_than_by_cookie_is_refused() -> None:
    found = nginx(affinity="ip")

    assert found.policies.get(Affinity) is None
    assert [item.reason for item in found.diagnostics] == [Reason.ANNOTATION_INVALID]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("$request_uri", [HashPart(HashSource.URI)]),
        ("${host}-x", [HashPart(HashSource.HOST), HashPart(HashSource.TEXT, "-x")]),
        ("$http_x_tenant", [HashPart(HashSource.HEADER, "x-tenant")]),
        (
            "$cookie_id$arg_Q",
            [HashPart(HashSource.COOKIE, "id"), HashPart(HashSource.QUERY, "Q")],
        ),
        ("$remote_addr$scheme", [HashPart(HashSource.CLIENT), HashPart(HashSource.SCHEME)]),
    ],
)
def test_variables_of_nginx_are_hashed(text: str, parts: list[HashPart]) -> None:
    found = nginx(upstream_hash_by=text)

    assert not found.diagnostics
    assert found.policies.get(HashBy) == HashBy(parts=tuple(parts))


@pytest.mark.parametrize("text", ["$upstream_addr", "$", "a$$b", "${host", "$http_", "x\ny"])
def test_other_variables_are_reported_and_nothing_is_hashed(text: str) -> None:
    found = nginx(upstream_hash_by=text)

    assert found.policies.get(HashBy) is None
    assert [item.reason for item in found.diagnostics] == [Reason.ANNOTATION_UNSUPPORTED]


def test_the_address_alone_is_an_algorithm_unless_there_are_groups() -> None:
    alone = nginx(upstream_hash_by="$binary_remote_addr").policies
    grouped = nginx(upstream_hash_by="$remote_addr", upstream_hash_by_subset="true").policies
    sized = nginx(upstream_hash_by="$uri", upstream_hash_by_subset="true", upstream_hash_by_subset_size="5")

    assert alone.get(LoadBalancing) == LoadBalancing(algorithm=Algorithm.CLIENT_HASH)
    assert alone.get(HashBy) is None
    assert grouped.get(HashBy) == HashBy(parts=(HashPart(HashSource.CLIENT),), subset=3)
    assert sized.policies.get(HashBy) == HashBy(parts=(HashPart(HashSource.PATH),), subset=5)


def test_ewma_is_an_algorithm() -> None:
    assert nginx(load_balance="ewma").policies.get(LoadBalancing) == LoadBalancing(algorithm=Algorithm.EWMA)
    assert native(load_balancing="ewma").policies.get(LoadBalancing) == LoadBalancing(algorithm=Algorithm.EWMA)
