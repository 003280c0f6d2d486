"""What goes live while a reload waits."""

from __future__ import annotations

from ingresskit.apply.haproxy.partial import servable_without_reload
from ingresskit.apply.haproxy.slots import Slots
from ingresskit.apply.haproxy.worker_state import WorkerState
from ingresskit.models import KubeObject, Snapshot
from ingresskit.render.haproxy import HaproxyArtifact, HaproxyRenderer, SlotClass
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import translate


def artifact(hosts: dict[str, str]) -> HaproxyArtifact:
    """For hosts, each with a Service of its own in a namespace."""
    objects: list[KubeObject] = [ingress_class()]
    for host, namespace in hosts.items():
        name = host.partition(".")[0]
        objects += [
            ingress(name, {host: {"/": name}}, namespace=namespace),
            service(name, namespace=namespace),
            endpoint_slice(name, "10.0.0.1", namespace=namespace),
        ]
    return HaproxyRenderer().render(translate(Snapshot.of(objects)).graph)


def test_one_namespace_does_not_take_the_last_slots() -> None:
    empty = HaproxyArtifact()
    live = WorkerState.loaded(empty, needs=empty.needs, slots=Slots.filled({SlotClass(): 16}, ()), marker="x")
    greedy = {f"a{number:02}.test": "greedy" for number in range(40)}

    served = servable_without_reload(
        live, artifact(greedy | {"z1.test": "modest", "z2.test": "modest", "z3.test": "other"})
    )

    namespaces = [backend.key.namespace for backend in served.backends.values()]
    assert 9 <= namespaces.count("greedy") <= 12
    assert namespaces.count("modest") == 2
    assert namespaces.count("other") == 1
