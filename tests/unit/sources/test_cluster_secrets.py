"""Secrets that are followed by name: which, and how many at the most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.models import ObjectKey, ObjectMeta, Secret
from ingresskit.sources.cluster_secrets import (
    MOST_NAMED,
    MOST_NAMED_OF_ONE_NAMESPACE,
    choose,
    only_certificate,
)


def keys(namespace: str, count: int) -> list[ObjectKey]:
    return [ObjectKey(namespace, f"s-{number:04}") for number in range(count)]


def test_one_namespace_has_its_share_and_no_more() -> None:
    chosen = choose([*keys("greedy", 1000), *keys("modest", 3)], ())

    assert sum(key.namespace == "greedy" for key in chosen) == MOST_NAMED_OF_ONE_NAMESPACE
    assert sum(key.namespace == "modest" for key in chosen) == 3


def test_many_namespaces_share_what_there_is() -> None:
    chosen = choose([key for number in range(50) for key in keys(f"ns-{number}", 20)], ())

    assert {sum(key.namespace == f"ns-{number}" for key in chosen) for number in range(50)} == {4}


def test_one_that_exists_is_not_given_up_for_one_that_may_not() -> None:
    existing = ObjectKey("greedy", "zz-the-last")

    assert existing in choose([*keys("greedy", 100), existing], [existing])


@given(st.lists(st.tuples(st.sampled_from([f"ns-{n}" for n in range(300)]), st.sampled_from("abcdef"))))
def test_there_are_never_too_many_whatever_is_named(pairs: list[tuple[str, str]]) -> None:
    named = {ObjectKey(namespace, name) for namespace, name in pairs}

    chosen = choose(named, ())

    assert chosen <= named
    assert len(chosen) <= MOST_NAMED
    assert len(chosen) == len(named) or len(named) > MOST_NAMED_OF_ONE_NAMESPACE
    assert choose(sorted(named, reverse=True), ()) == chosen


def test_of_such_a_secret_only_the_certificate_is_held() -> None:
    secret = Secret(
        metadata=ObjectMeta(name="mixed", namespace="shop"),
        data={"tls.crt": b"c", "tls.key": b"k", "password": b"s3cret"},
    )

    assert only_certificate(secret).data == {"tls.crt": b"c", "tls.key": b"k"}
    assert only_certificate(secret).metadata == secret.metadata
