"""What `explain` says about requests that a policy of another package, or a condition, decides."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest

from ingresskit.app import main
from ingresskit.filters import BUILTIN_EFFECTS, Effect, Memory, Reply, RequestView
from ingresskit.policies import Policy, Stage, annotated, default_policies
from ingresskit.policies.values import parse_boolean
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import TranslateOptions
from tests.unit.controller.client import admin_over


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Policy):
    """Whether requests need a key."""

    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    closed: bool = annotated(
        "gate", parse_boolean, default=False, grammar="`true` or `false`", summary="Ask for a key."
    )


@dataclass(frozen=True, slots=True)
class GateFilter:
    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        return None if request.field(b"x-key") == b"open" else Reply(status=401)


def _gate(policy: Gate) -> Effect:
    return Effect(guards=(GateFilter(),)) if policy.closed else Effect()


class GateRenderer(InProcessRenderer):
    """The renderer of a package that brings the policy."""

    def __init__(self) -> None:
        super().__init__(effects=BUILTIN_EFFECTS.with_policy(Gate, _gate))


OBJECTS = (
    ingress_class(),
    service("web"),
    endpoint_slice("web", "10.0.0.1"),
    ingress("web", {"a.test": {"/": "web"}}, annotations={"gate": "true"}),
)
OPTIONS = TranslateOptions(policies=default_policies(Gate))


@pytest.mark.anyio
@pytest.mark.parametrize(("header", "status"), [("", 401), ("&header=X-Key:%20open", None)])
async def test_the_admin_api_explains_with_the_policies_of_the_renderer(
    header: str, status: int | None
) -> None:
    async with admin_over(*OBJECTS, options=OPTIONS, renderer=GateRenderer()) as admin:
        explained = (await admin.get(f"/api/explain?url=http://a.test/x{header}")).json

    assert explained["status"] == status
    assert "authentication" in explained["order"]


FOLDER = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ingresskit}
spec: {controller: ingresskit.dev/ingress-controller}
---
apiVersion: v1
kind: Service
metadata: {name: %(name)s, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %(name)s, namespace: shop, labels: {kubernetes.io/service-name: %(name)s}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{port: 80}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %(name)s, namespace: shop, annotations: {%(annotations)s}}
spec:
  ingressClassName: ingresskit
  rules:
    - host: a.test
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %(name)s, port: {number: 80}}}}]}
"""


def test_the_command_explains_with_the_policies_of_the_renderer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(*, group: str) -> list[EntryPoint]:
        return [EntryPoint("gate", f"{__name__}:{found[group]}", group)] if group in found else []

    found = {"ingresskit.renderers": "GateRenderer", "ingresskit.policies": "Gate"}
    monkeypatch.setattr("ingresskit.app.renderers.entry_points", installed)
    monkeypatch.setattr("ingresskit.app.extensions.entry_points", installed)
    text = FOLDER % {"name": "web", "annotations": "ingresskit.dev/gate: 'true'"}
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    asked = ["explain", str(tmp_path), "--json", "--renderer", "gate", "http://a.test/"]

    statuses: list[int | None] = []
    for more in ([], ["--header", "X-Key: open"]):
        assert main([*asked, *more]) == 0
        statuses.append(json.loads(capsys.readouterr().out)["status"])

    assert statuses == [401, None]


def test_the_command_explains_which_header_field_a_canary_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = "nginx.ingress.kubernetes.io/canary"
    canary = f"{prefix}: 'true', {prefix}-by-header: X-Canary"
    for name, written in (("main", ""), ("canary", canary)):
        text = FOLDER % {"name": name, "annotations": written}
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    asked = ["explain", str(tmp_path), "--dialect", "ingress-nginx", "http://a.test/"]

    said: list[str] = []
    for more in ([], ["--header", "X-Canary: always"]):
        assert main([*asked, *more]) == 0
        said.append(capsys.readouterr().out)

    assert "forwards it to shop/main:80" in said[0]
    assert "x-canary is 'always'" in said[0]
    assert "forwards it to shop/canary:80" in said[1]
