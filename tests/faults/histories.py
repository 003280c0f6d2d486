"""What happens to a cluster by chance: objects come, change and go, the same each time for one seed."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Protocol

from ingresskit.models import (
    EndpointSlice,
    Ingress,
    IngressClass,
    KubeObject,
    ObjectKey,
    Secret,
    Service,
    Snapshot,
)
from tests.features.cluster_scene import certificate, ingress, ingress_class, service, slice_of

__all__ = ["KINDS", "NAMESPACES", "Cluster", "Manifest", "Versions", "change", "held", "populate", "seeded"]

Manifest = dict[str, object]
Versions = dict[ObjectKey, tuple[str, str]]
"""Of each object its uid and resource version."""

KINDS: tuple[type[KubeObject], ...] = (EndpointSlice, Ingress, IngressClass, Secret, Service)

NAMESPACES = ("one", "two")
_NAMES = tuple(f"n{number}" for number in range(5))
_SECRETS = [
    certificate("tls", host, salt=salt)["data"] for host in ("n0.example", "n1.example") for salt in ("", "new")
]


class Cluster(Protocol):
    """Where a history happens."""

    def put(self, manifest: Manifest) -> None:
        """Create or change an object."""
        ...

    def delete(self, model: type[KubeObject], key: ObjectKey) -> None:
        """Delete an object that there is."""
        ...

    def versions(self, model: type[KubeObject]) -> Versions:
        """What there is."""
        ...


def seeded(seed: int) -> Random:
    """Randomness that is the same each time."""
    return Random(seed)  # noqa: S311 - a test's dice


def populate(cluster: Cluster, rng: Random, changes: int = 20) -> None:
    """A class that is ours, and some objects."""
    cluster.put(ingress_class())
    for _ in range(changes):
        change(cluster, rng)


def change(cluster: Cluster, rng: Random) -> None:
    """One step of a history: an object is made, changed, deleted, or made anew under its name."""
    model = rng.choice(KINDS)
    existing = sorted(cluster.versions(model))
    match rng.randrange(10):
        case 0 | 1 if existing:
            cluster.delete(model, rng.choice(existing))
        case 2 if existing:
            key = rng.choice(existing)
            cluster.delete(model, key)
            cluster.put(_manifest(model, key.name, key.namespace, rng))
        case _:
            name = "ingresskit" if model is IngressClass else rng.choice(_NAMES)
            if model is EndpointSlice:
                name += "-1"
            cluster.put(_manifest(model, name, rng.choice(NAMESPACES), rng))


def held(snapshot: Snapshot | None) -> dict[type[KubeObject], Versions]:
    """What a snapshot holds, in the form of `Cluster.versions`."""
    found: dict[type[KubeObject], Versions] = {model: {} for model in KINDS}
    if snapshot is not None:
        for model, versions in found.items():
            for key, item in snapshot.by_key(model).items():
                versions[key] = item.metadata.uid, item.metadata.resource_version
    return found


def _manifest(model: type[KubeObject], name: str, namespace: str, rng: Random) -> Manifest:
    if model is IngressClass:
        labels: Mapping[str, object] = {"metadata": {"name": name, "labels": {"turn": str(rng.randrange(99))}}}
        return {**ingress_class(name), **labels}
    if model is Service:
        return {**service(name, namespace=namespace), "spec": {"ports": [{"port": rng.choice([80, 80, 81])}]}}
    if model is EndpointSlice:
        made = slice_of(name.removesuffix("-1"), port=rng.choice([8080, 8081]), namespace=namespace)
        addresses = [f"10.0.0.{rng.randrange(1, 250)}" for _ in range(rng.randrange(1, 4))]
        return {**made, "endpoints": [{"addresses": [address]} for address in sorted(set(addresses))]}
    if model is Secret:
        return {**certificate(name, "n0.example", namespace=namespace), "data": rng.choice(_SECRETS)}
    return ingress(
        name,
        host=f"{rng.choice(_NAMES)}.example",
        service=rng.choice(_NAMES),
        namespace=namespace,
        tls=rng.choice(["", "n0", "n1"]),
    )
