"""What one change costs is counted: Ingresses read, hosts decided, rows looked at, whatever the cluster has."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

import ingresskit
from ingresskit.graph import RouteGraph, diff
from ingresskit.models import NO_CLAIMS, KubeObject, Secret, Snapshot
from ingresskit.render import Renderer
from ingresskit.render.delegate import DelegatingRenderer
from ingresskit.render.haproxy import HaproxyRenderer
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.render.nginx import Capabilities, Mode, NginxRenderer, NginxSettings
from ingresskit.sources import MemorySource
from ingresskit.testing import EPOCH, endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.translate import Translation, Translator

if TYPE_CHECKING:
    from _typeshed import TraceFunction

_SMALL, _LARGE = 60, 600
_ROOT = str(Path(ingresskit.__file__).parent)
# One certificate does for all: parsing ten thousand would be all that is measured.
_CERTIFICATES = {salt: tls_secret("*.test", name="shared", namespace="n1", salt=salt) for salt in "ab"}


class _Cluster:
    """So many Ingresses, each with a host, a Service, a slice and TLS, and a translator that knows them."""

    def __init__(self, size: int, renderer: Renderer[Any]) -> None:
        self.source = MemorySource([ingress_class(), *self._objects(size)])
        self._translator = Translator()
        self._record = NO_CLAIMS
        self._renderer = renderer
        for _ in range(2):
            self.render(self.translate().graph)

    def translate(self) -> Translation:
        snapshot = replace(self.source.snapshot() or Snapshot(), claims=self._record)
        found = self._translator.translate(snapshot, now=EPOCH)
        self._record = found.claims
        return found

    def render(self, graph: RouteGraph) -> object:
        return self._renderer.render(self._renderer.restrict(graph).graph)

    def _objects(self, size: int) -> Iterable[KubeObject]:
        for number in range(size):
            namespace, name = f"n{number % 20}", f"app-{number}"
            yield service(name, namespace=namespace)
            yield endpoint_slice(name, f"10.1.{number // 250}.{number % 250 + 1}", namespace=namespace)
            tls = {f"cert-{number}": [f"{name}.test"]}
            # The second is the delegate's where there is one.
            notes = ({"read-timeout": "5s"}, {"body-limit": "1m"}, {"unknown": "yes"})[number % 3]
            yield ingress(name, {f"{name}.test": {"/": name}}, namespace=namespace, tls=tls, annotations=notes)
            meta = replace(_CERTIFICATES["a"].metadata, name=f"cert-{number}", namespace=namespace)
            yield Secret(metadata=meta, data=_CERTIFICATES["a"].data)
        wide = {"*.test": {"/": "app-1"}, "test": {"/": "gone"}}
        yield ingress("wide", wide, namespace="n1", created=9)


def _endpoint(source: MemorySource) -> None:
    source.apply(endpoint_slice("app-7", "10.9.9.9", namespace="n7"))


def _ingress(source: MemorySource) -> None:
    rules = {"app-7.test": {"/": "app-7", "/more": "app-7"}}
    source.apply(ingress("app-7", rules, namespace="n7", tls={"cert-7": ["app-7.test"]}))


def _new_host(source: MemorySource) -> None:
    source.apply(ingress("new", {"new.example": {"/": "app-7"}}, namespace="n7"))


def _deleted(source: MemorySource) -> None:
    source.delete(type(ingress()), "n7", "app-7")


def _certificate(source: MemorySource) -> None:
    found = _CERTIFICATES["b"]
    source.apply(Secret(metadata=replace(found.metadata, name="cert-7", namespace="n7"), data=found.data))


def _service(source: MemorySource) -> None:
    source.apply(service("app-7", 81, namespace="n7"))


class _Lines:
    """Counts the lines of the package that run: whatever visits a thing runs at least one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> _Lines:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, _: object) -> TraceFunction | None:
        name = frame.f_code.co_filename
        return self._line if name.startswith(_ROOT) else None

    def _line(self, frame: FrameType, event: str, _: object) -> TraceFunction:
        if event == "line":
            self.counts[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1
        return self._line


def _lines_of(change: Callable[[MemorySource], None], size: int, renderer: Renderer[Any]) -> Counter[str]:
    cluster = _Cluster(size, renderer)
    before: RouteGraph = cluster.translate().graph
    change(cluster.source)
    with _Lines() as lines:
        after = cluster.translate().graph
        found = diff(before, after)
        cluster.render(after)
    assert found
    assert len(after.virtual_hosts) > size
    return lines.counts


def _nginx(mode: Mode) -> Renderer[Any]:
    settings = NginxSettings(state="/run/ik", https=("0.0.0.0:8443",))
    return NginxRenderer(settings, Capabilities(lua=True), mode=mode)


_RENDERERS: Mapping[str, Callable[[], Renderer[Any]]] = {
    "haproxy": HaproxyRenderer,
    "haproxy-delegate": lambda: DelegatingRenderer(HaproxyRenderer(), "/run/ik.sock"),
    "inprocess": InProcessRenderer,
    "nginx-dynamic": lambda: _nginx(Mode.DYNAMIC),
    "nginx-static": lambda: _nginx(Mode.STATIC),
}


@pytest.mark.parametrize("renderer", _RENDERERS)
@pytest.mark.parametrize("change", [_endpoint, _ingress, _new_host, _deleted, _certificate, _service])
def test_one_change_runs_as_many_lines_in_a_small_cluster_as_in_one_ten_times_as_large(
    change: Callable[[MemorySource], None], renderer: str
) -> None:
    small, large = (_lines_of(change, size, _RENDERERS[renderer]()) for size in (_SMALL, _LARGE))

    more = {place: (small[place], count) for place, count in large.items() if count > small[place] + 2}
    assert not more
    assert sum(small.values()) > 50
