"""A renderer for a proxy of your own: subclass `Renderer`, say what it honours, turn a graph into files.

The proxy "tollgate" is made up; it reads one JSON file. What a renderer has to know is all here: hosts
and routes come sorted by precedence, an action is one of three, and keys go into secret files.

    python examples/03_first_renderer.py
"""

import json
from pathlib import PurePosixPath
from typing import ClassVar, assert_never

from ingresskit import (
    Forward,
    ObjectKey,
    PathKind,
    Policy,
    Redirect,
    RenderedFile,
    Renderer,
    Rendering,
    Respond,
    Route,
    RouteGraph,
    Snapshot,
)
from ingresskit.controller import reconcile
from ingresskit.models import EndpointSlice, Ingress, Service, decode
from ingresskit.policies import Timeouts

INGRESS = """{
  "metadata": {
    "name": "docs", "namespace": "web",
    "annotations": {
      "kubernetes.io/ingress.class": "ingresskit",
      "ingresskit.dev/read-timeout": "5s", "ingresskit.dev/retries": "3"
    }
  },
  "spec": {"rules": [{"host": "docs.example", "http": {"paths": [
    {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "docs", "port": {"number": 80}}}}
  ]}}]}
}"""
SERVICE = """{"metadata": {"name": "docs", "namespace": "web"}, "spec": {"ports": [{"port": 80}]}}"""
ENDPOINTS = """{
  "metadata": {"name": "docs-1", "namespace": "web", "labels": {"kubernetes.io/service-name": "docs"}},
  "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": ["10.1.0.7"]}]
}"""


class TollgateRenderer(Renderer[Rendering]):
    """Writes ``tollgate.json``, and a PEM file for each certificate."""

    name: ClassVar[str] = "tollgate"
    supports: ClassVar[frozenset[type[Policy]]] = frozenset({Timeouts})

    def render(self, graph: RouteGraph) -> Rendering:
        """One gate for each host, one lane for each route. JSON quotes whatever people wrote."""
        gates = [
            {"host": host.host, "tls": host.tls, "lanes": [_lane(graph, route) for route in host.routes]}
            for host in graph.virtual_hosts
        ]
        names = {name: str(_pem(key)) for name, key in graph.server_names.items() if key is not None}
        config = json.dumps({"gates": gates, "certificates": names}, indent=2) + "\n"
        return Rendering(
            (
                RenderedFile.text("tollgate.json", config),
                *(
                    RenderedFile(_pem(key), certificate.chain + certificate.private_key, secret=True)
                    for key, certificate in graph.certificates.items()
                ),
            )
        )


def _lane(graph: RouteGraph, route: Route) -> dict[str, object]:
    timeouts = route.policies.get(Timeouts)
    lane: dict[str, object] = {"exact" if route.match.kind is PathKind.EXACT else "below": route.match.value}
    if timeouts is not None and timeouts.read is not None:
        lane["patience_ms"] = round(timeouts.read.total_seconds() * 1000)
    match route.action:
        case Forward():
            lane["to"] = [
                {
                    "weight": share.weight,
                    "hosts": [f"{item.address}:{item.port}" for item in graph.backends[share.key].endpoints],
                }
                for share in route.action.backends
            ]
        case Redirect():
            lane["redirect"] = [route.action.status, route.action.location]
        case Respond():
            lane["respond"] = route.action.status
        case _:
            assert_never(route.action)
    return lane


def _pem(key: ObjectKey) -> PurePosixPath:
    return PurePosixPath("certificates", key.namespace, f"{key.name}.pem")


def main() -> None:
    snapshot = Snapshot.of(
        [decode(Ingress, INGRESS), decode(Service, SERVICE), decode(EndpointSlice, ENDPOINTS)]
    )
    outcome = reconcile(snapshot, TollgateRenderer())
    for file in outcome.artifact.files:
        print(f"# {file.path}", "(secret)" if file.secret else file.content.decode(), sep="\n")
    for diagnostic in outcome.diagnostics:
        print(diagnostic)


if __name__ == "__main__":
    main()
