from __future__ import annotations

from ingresskit.models import (
    Ingress,
    IngressClass,
    IngressClassSpec,
    KubeObject,
    ObjectKey,
    ObjectMeta,
    Snapshot,
    decode,
)
from ingresskit.translate import Scope, TranslateOptions, named_secrets

OURS = IngressClass(
    metadata=ObjectMeta(name="ingresskit"),
    spec=IngressClassSpec(controller="ingresskit.dev/ingress-controller"),
)


def ingress(name: str, *secrets: str, namespace: str = "shop", of: str = "ingresskit") -> Ingress:
    tls = [{"hosts": [f"{name}.test"], **({"secretName": item} if item else {})} for item in secrets]
    return decode(
        Ingress,
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"ingressClassName": of, "tls": tls, "rules": []},
        },
    )


def named(*objects: KubeObject, options: TranslateOptions | None = None) -> list[str]:
    return sorted(str(key) for key in named_secrets(Snapshot.of(objects), options))


def test_the_secrets_of_our_ingresses_are_named_each_once() -> None:
    found = named(OURS, ingress("a", "one", "two", "one"), ingress("b", "one", namespace="blog"), ingress("c"))

    assert found == ["blog/one", "shop/one", "shop/two"]


def test_those_of_other_controllers_are_not() -> None:
    assert named(OURS, ingress("a", "one", of="nginx")) == []


def test_those_of_namespaces_that_are_not_watched_are_not() -> None:
    options = TranslateOptions(scope=Scope(namespaces=frozenset({"blog"})))

    assert named(OURS, ingress("a", "one"), options=options) == []


def test_an_entry_without_a_secret_names_none() -> None:
    assert named(OURS, ingress("a", "")) == []


def test_the_default_certificate_is_named_too() -> None:
    options = TranslateOptions(default_certificate=ObjectKey("infra", "wildcard"))

    assert named(OURS, options=options) == ["infra/wildcard"]
