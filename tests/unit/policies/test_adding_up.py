"""What the operator keeps out, no annotation lets in: lists of what is denied add up over dialects."""

from __future__ import annotations

from typing import TypeVar

from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, ObjectRef
from ingresskit.policies import (
    DeniedAgents,
    DeniedSources,
    IngressNginxDialect,
    NativeDialect,
    PolicyRegistry,
    Reading,
)
from ingresskit.policies.values import parse_networks

K = TypeVar("K", bound=KubeObject)
SETTINGS = ObjectKey("edge", "conf")
CONFIG = ConfigMap(
    metadata=ObjectMeta(namespace="edge", name="conf"),
    data={"block-cidrs": "198.51.100.0/24", "block-user-agents": "~*robot", "block-referers": "~*spam"},
)


def find(kind: type[K], key: ObjectKey, /) -> K | None:
    return CONFIG if isinstance(CONFIG, kind) and key == SETTINGS else None


def read(**annotations: str) -> Reading:
    registry = PolicyRegistry((IngressNginxDialect(settings=SETTINGS), NativeDialect()))
    notes = {f"ingresskit.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return registry.read(notes, ObjectRef("Ingress", ObjectKey("shop", "web")), find)


def test_native_list_of_denied_clients_adds_to_that_of_the_operator() -> None:
    reading = read(deny_sources="192.0.2.1")

    denied = reading.policies.get(DeniedSources)
    assert denied is not None
    assert set(denied.networks) == set(parse_networks("198.51.100.0/24, 192.0.2.1"))
    assert reading.diagnostics == ()


def test_native_list_of_denied_agents_adds_to_that_of_the_operator() -> None:
    operators = read().policies.get(DeniedAgents)
    denied = read(deny_user_agents="curl", deny_referers="evil").policies.get(DeniedAgents)

    assert operators is not None
    assert denied is not None
    assert set(denied.agents) > set(operators.agents)
    assert set(denied.referers) > set(operators.referers)
