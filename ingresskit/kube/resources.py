"""Which kind of object a request is about, and what of it is asked for: values that become URLs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from urllib.parse import quote

from ingresskit.errors import ConfigurationError
from ingresskit.models import KubeObject

__all__ = ["ListOptions", "ResourceKind"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceKind:
    """One kind as the API server serves it: group, version and plural name.

    Attributes:
        api_version: ``"networking.k8s.io/v1"``; ``"v1"`` for the core group.
        resource: The plural name in paths, ``"ingresses"``.
        kind: As objects of it spell it, ``"Ingress"``.
        namespaced: Whether its objects live in namespaces.
    """

    api_version: str
    resource: str
    kind: str
    namespaced: bool = True

    @classmethod
    def of(cls, model: type[KubeObject]) -> ResourceKind:
        """The kind that objects of this model are read from."""
        return cls(
            api_version=model.api_version,
            resource=model.resource,
            kind=model.kind,
            namespaced=model.namespaced,
        )

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def __str__(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of a collection, an object or a subresource, percent-encoded.

        Args:
            namespace: Empty for all namespaces, and for kinds that do not live in namespaces.
            name: Empty for the collection.
            subresource: ``"status"``; needs *name*.

        Raises:
            ConfigurationError: A namespace for a kind without namespaces, an object of a namespaced
                kind without its namespace, or a segment that a URL would swallow (``"."``, ``".."``).

        Source: Kubernetes API concepts, "Resource URIs".
        """
        if namespace and not self.namespaced:
            raise ConfigurationError(f"{self} do not live in namespaces, yet {namespace!r} was given")
        if name and self.namespaced and not namespace:
            raise ConfigurationError(f"which namespace is {self.kind} {name!r} in?")
        if subresource and not name:
            raise ConfigurationError(f"the subresource {subresource!r} needs the name of an object")
        parts = ["apis" if self.group else "api", *self.api_version.split("/")]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [self.resource, *filter(None, (name, subresource))]
        if any(part in ("", ".", "..") for part in parts):
            raise ConfigurationError(f"{'/'.join(parts)!r} cannot be the path of a request")
        return "/" + "/".join(quote(part, safe="") for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """What of a collection is asked for. The fields are those of the API; empty means not sent.

    Attributes:
        limit: Objects per page; 0 asks for all at once.
        continue_token: Where the page before ended. The server refuses a resource version beside it.
        resource_version: ``None`` is not sent (a list: the most recent state).
        timeout: How long the server shall keep a watch open; whole seconds are sent.
        allow_bookmarks: Ask for bookmarks in a watch.
        send_initial_events: Ask a watch to begin with the present state.

    Source: Kubernetes API reference, "Common Parameters"; API concepts, "Streaming lists".
    """

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str | None = None
    resource_version_match: Literal["", "Exact", "NotOlderThan"] = ""
    timeout: timedelta | None = None
    allow_bookmarks: bool = False
    send_initial_events: bool = False

    def query(self, *, watch: bool = False) -> Sequence[tuple[str, str]]:
        """The query parameters, not yet percent-encoded, in a fixed order."""
        pairs = [
            ("watch", "true" if watch else ""),
            ("labelSelector", self.label_selector),
            ("fieldSelector", self.field_selector),
            ("limit", str(self.limit) if self.limit else ""),
            ("continue", self.continue_token),
            ("resourceVersion", self.resource_version or ""),
            ("resourceVersionMatch", self.resource_version_match),
            ("allowWatchBookmarks", "true" if self.allow_bookmarks else ""),
            ("sendInitialEvents", "true" if self.send_initial_events else ""),
            ("timeoutSeconds", str(int(self.timeout.total_seconds())) if self.timeout else ""),
        ]
        return [(name, value) for name, value in pairs if value]
