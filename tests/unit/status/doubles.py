"""The embedded API server without its network: a transport on any event loop, under any clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import anyio

from ingresskit.errors import ApiError, TransportError
from ingresskit.kube import ByteStream, ListOptions, ResourceKind, Response, status_error
from ingresskit.models import Ingress, ObjectKey, Snapshot, decode
from ingresskit.status import Fence, Ownership
from ingresskit.testing.apiserver import ApiServer, StatusError
from ingresskit.testing.apiserver.requests import Request, parse_target
from ingresskit.testing.apiserver.requests import Response as Answer

INGRESS = ("networking.k8s.io/v1", "Ingress")
Tree = dict[str, Any]
Trees = list[Tree]


class Cluster:
    """A `Transport` to an API server that is only objects; `error` is what it answers instead."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.requests: list[tuple[float, str, str]] = []
        self.error: Callable[[str, str], Exception | None] = lambda method, path: None
        self.hangs = False
        self.bodies: list[bytes] = []
        self.queries: list[Mapping[str, str]] = []
        self._user = self.server.users.identify(f"Bearer {self.server.token}", "")

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        self.requests.append((anyio.current_time(), method, path))
        await anyio.sleep(0.001)
        if self.hangs:
            await anyio.sleep_forever()
        if (error := self.error(method, path)) is not None:
            raise error
        self.bodies.append(body)
        self.queries.append(dict(query))
        target = path + "?" + "&".join(f"{name}={value}" for name, value in query)
        sent = {"content-type": "application/json"}
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        request = Request(method=method, target=target, headers=sent, body=body)
        try:
            answer = self.server._exchanges.api.handle(request, parse_target(method, target), self._user)
        except StatusError as exc:
            raise status_error(exc.manifest()) from exc
        assert isinstance(answer, Answer)
        return Response(status=answer.status, body=answer.body)

    async def list(self, kind: ResourceKind, namespace: str, options: ListOptions) -> Response:
        raise NotImplementedError

    def watch(
        self, kind: ResourceKind, namespace: str, options: ListOptions
    ) -> AbstractAsyncContextManager[ByteStream]:
        raise NotImplementedError

    # What tests do and look at.

    def add(self, name: str, *, ingress_class: str = "ours", namespace: str = "default") -> None:
        self.server.put(
            {
                "apiVersion": INGRESS[0],
                "kind": "Ingress",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "ingressClassName": ingress_class,
                    "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
                },
            }
        )

    def overwrite(self, name: str, ip: str, manager: str, *, force: bool = True) -> None:
        self.server.apply(
            {
                "apiVersion": INGRESS[0],
                "kind": "Ingress",
                "metadata": {"name": name, "namespace": "default"},
                "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
            },
            manager=manager,
            force=force,
            subresource="status",
        )

    def status(self, name: str, *, namespace: str = "default") -> Trees:
        status: Tree = self.server.get(*INGRESS, name, namespace).get("status") or {}
        return cast("Trees", status.get("loadBalancer", {}).get("ingress", []))

    def managers(self, name: str) -> Sequence[str]:
        managed: Trees = self.server.get(*INGRESS, name)["metadata"].get("managedFields", [])
        return [str(item["manager"]) for item in managed if item.get("subresource") == "status"]

    def ingresses(self) -> dict[ObjectKey, Ingress]:
        found = [decode(Ingress, tree) for tree in self.server.list(*INGRESS)]
        return {item.key: item for item in found}

    def ownership(self) -> Ownership:
        ours = {key for key, it in self.ingresses().items() if it.spec.ingress_class_name == "ours"}
        return Ownership(ours=frozenset(ours), foreign=frozenset(self.ingresses().keys() - ours))

    def snapshot(self) -> Snapshot:
        return Snapshot.of(self.ingresses().values())

    @property
    def patches(self) -> int:
        return sum(method == "PATCH" for _, method, _ in self.requests)


class Gate(Fence):
    """A fence that a test opens and closes."""

    def __init__(self) -> None:
        self.open = True

    def is_valid(self) -> bool:
        return self.open

    def remaining(self) -> float:
        return 60.0 if self.open else 0.0


def always(error: ApiError | TransportError | None) -> Callable[[str, str], Exception | None]:
    return lambda method, path: error
