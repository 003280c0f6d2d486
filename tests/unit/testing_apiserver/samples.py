"""Objects and helpers the tests of the server share."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

from ingresskit.testing.apiserver import AnyApiServer, Manifest
from ingresskit.testing.apiserver.calls import opened

INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
ALL_INGRESSES = "/apis/networking.k8s.io/v1/ingresses"


def ingress(name: str, *, host: str = "a.example", namespace: str = "default", **metadata: object) -> Manifest:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {
            "rules": [
                {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
            ]
        },
    }


def config(
    name: str, *, namespace: str = "default", data: dict[str, str] | None = None, **metadata: object
) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": data or {},
    }


class Watched:
    """The events of one watch, read one by one; silence for *timeout* seconds is a TimeoutError."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines

    def line(self) -> bytes:
        for line in self._lines:
            return line
        raise EOFError("the watch is over")

    def event(self) -> Manifest:
        return cast(Manifest, json.loads(self.line()))

    def change(self) -> tuple[str, str]:
        """Type and name of the next event that is no bookmark."""
        while (event := self.event())["type"] == "BOOKMARK":
            pass
        return event["type"], event["object"]["metadata"]["name"]

    def rest(self) -> list[Manifest]:
        return [json.loads(line) for line in self._lines]


@contextmanager
def watching(server: AnyApiServer, path: str, query: str = "", *, timeout: float = 10.0) -> Generator[Watched]:
    with opened(server, timeout=timeout) as connection:
        connection.request(
            "GET", f"{path}?watch=true&{query}", headers={"Authorization": f"Bearer {server.token}"}
        )
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        yield Watched(iter(cast(Any, answer)))
