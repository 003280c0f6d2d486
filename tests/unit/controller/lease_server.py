"""An API server that knows Leases only, as one plain function, and a transport to it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from ingresskit.errors import ApiError, Conflict, NotFound, TransportError
from ingresskit.kube import ByteStream, ListOptions, ResourceKind, Response


class LeaseServer:
    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 1
        self.log: list[str] = []

    @property
    def holder(self) -> str:
        return "" if self.lease is None else str(self.lease["spec"]["holderIdentity"])

    def handle(self, method: str, body: bytes) -> bytes:
        self.log.append(method)
        if method == "GET":
            if self.lease is None:
                raise NotFound(status=404)
            return json.dumps(self.lease).encode()
        sent = json.loads(body)
        if method == "POST":
            if self.lease is not None:
                raise Conflict(status=409, reason="AlreadyExists")
        elif self.lease is None:
            raise NotFound(status=404)
        elif sent["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict(status=409, reason="Conflict")
        elif sent == self.lease:
            return json.dumps(self.lease).encode()  # a write that changes nothing is none
        self.put(sent)
        return json.dumps(self.lease).encode()

    def put(self, lease: Mapping[str, Any]) -> None:
        self.version += 1
        self.lease = copy.deepcopy(dict(lease))
        self.lease["metadata"]["resourceVersion"] = str(self.version)

    def hold(
        self, holder: str, *, seconds: int | None = 15, renewed: str = "2026-01-01T00:00:00.000000Z"
    ) -> None:
        spec: dict[str, Any] = {"holderIdentity": holder, "renewTime": renewed, "leaseTransitions": 4}
        if seconds is not None:
            spec["leaseDurationSeconds"] = seconds
        self.put({"metadata": {"name": "ingresskit", "namespace": "infra", "labels": {"a": "b"}}, "spec": spec})


class NoWatches:
    """The part of a transport that an election has no use for."""

    async def list(self, kind: ResourceKind, namespace: str, options: ListOptions) -> Response:
        raise NotImplementedError

    def watch(
        self, kind: ResourceKind, namespace: str, options: ListOptions
    ) -> AbstractAsyncContextManager[ByteStream]:
        raise NotImplementedError


class LeaseTransport(NoWatches):
    def __init__(self, server: LeaseServer) -> None:
        self.server = server
        self.delay = 0.01
        self.answer_delay = 0.0
        self.hangs = False
        self.error: ApiError | TransportError | Exception | None = None
        self.errors: dict[str, ApiError] = {}
        """By method, for as long as they stand here."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        assert path.startswith("/apis/coordination.k8s.io/v1/namespaces/infra/leases")
        if self.hangs:
            await anyio.sleep_forever()
        await anyio.sleep(self.delay)
        if (error := self.error or self.errors.get(method)) is not None:
            self.server.log.append(method)
            raise error
        answer = self.server.handle(method, body)
        await anyio.sleep(self.answer_delay)
        return Response(status=200, body=answer)
