"""The server's objects for the test that runs it: the same writes as over HTTP, by an administrator.

Everything goes through defaults, validation and versions as a request would, is seen by watches, and may
be called from any thread. Only what a test has to be able to do is let through besides: fields that the kind
does not have, values of other types, and endpoints on loopback. Nothing of it is in the log of requests,
and no fault hits it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from ingresskit.testing.apiserver.deletes import Deletes, Options
from ingresskit.testing.apiserver.manifests import Manifest, copied, look
from ingresskit.testing.apiserver.reads import shown
from ingresskit.testing.apiserver.registry import Registry, Resource
from ingresskit.testing.apiserver.statuses import bad_request, not_found
from ingresskit.testing.apiserver.store import Store, Stored
from ingresskit.testing.apiserver.writes import Writes

__all__ = ["ObjectAccess"]

_OPTIONS = Options(manager="test", manager_given=True)


class ObjectAccess:
    """Reading and writing objects by manifest."""

    def __init__(self, store: Store, registry: Registry, writes: Writes, deletes: Deletes) -> None:
        self._store = store
        self._registry = registry
        self._writes = writes
        self._deletes = deletes

    @property
    def revision(self) -> int:
        """The revision of the last write, the ``resourceVersion`` of a list made now."""
        return self._store.revision

    def create(self, manifest: Mapping[str, object]) -> Manifest:
        """Create an object, and return it as it is kept.

        Args:
            manifest: With ``apiVersion`` and ``kind``. A missing namespace means ``default``.

        Raises:
            StatusError: The server refuses it.
        """
        resource, namespace, sent = self._resolved(manifest)
        return self._full(resource, self._writes.create(resource, namespace, sent, _OPTIONS))

    def load(self, manifests: Iterable[Mapping[str, object]]) -> None:
        """Create many objects, and the namespaces they need.

        Raises:
            StatusError: The server refuses one; those before it are there.
        """
        for manifest in manifests:
            resource, namespace, _ = self._resolved(manifest)
            if resource.namespaced and self._store.get(("", "namespaces"), ("", namespace)) is None:
                self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            self.create(manifest)

    def update(self, manifest: Mapping[str, object], *, subresource: str = "") -> Manifest:
        """Replace an object; with a ``resourceVersion`` only if it is still that one.

        Raises:
            StatusError: The server refuses it.
        """
        resource, namespace, sent = self._resolved(manifest)
        options = Options(manager="test", manager_given=True, subresource=subresource)
        return self._full(
            resource,
            self._writes.update(resource, namespace, str(look(sent, "metadata", "name")), sent, options)[0],
        )

    def put(self, manifest: Mapping[str, object]) -> Manifest:
        """Make it so: create the object, or replace the one there is, whatever its version. Status included.

        Raises:
            StatusError: The server refuses it.
        """
        resource, namespace, sent = self._resolved(manifest)
        sent["metadata"].pop("resourceVersion", None)
        with self._store.lock:
            key = (namespace, str(sent["metadata"].get("name", "")))
            if self._store.get(resource.stored_as, key) is None:
                result = self.create(sent)
            else:
                result = self.update(sent)
            if resource.has_status and "status" in sent:
                result = self.update({**sent, "metadata": {**result["metadata"]}}, subresource="status")
            return result

    def apply(
        self, manifest: Mapping[str, object], *, manager: str, force: bool = False, subresource: str = ""
    ) -> Manifest:
        """Apply an object server-side as *manager*.

        Raises:
            StatusError: The server refuses it; 409 when others own what is applied.
        """
        resource, namespace, sent = self._resolved(manifest)
        options = Options(manager=manager, manager_given=True, force=force, subresource=subresource)
        name = str(look(sent, "metadata", "name"))
        kind = "application/apply-patch+yaml"
        return self._full(resource, self._writes.patch(resource, namespace, name, kind, sent, options)[0])

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "default") -> None:
        """Delete an object; one with finalizers is only marked.

        Raises:
            StatusError: 404, it is not there.
        """
        resource = self._resource(api_version, kind)
        self._deletes.delete(resource, namespace if resource.namespaced else "", name, _OPTIONS)

    def get(self, api_version: str, kind: str, name: str, namespace: str = "default") -> Manifest:
        """One object, a copy.

        Raises:
            StatusError: 404, it is not there.
        """
        resource = self._resource(api_version, kind)
        stored = self._store.get(resource.stored_as, (namespace if resource.namespaced else "", name))
        if stored is None:
            raise not_found(resource.group, resource.plural, name)
        return self._full(resource, stored)

    def list(self, api_version: str, kind: str, namespace: str | None = None) -> list[Manifest]:
        """All objects of a kind, copies, sorted by namespace and name; of one namespace if given."""
        resource = self._resource(api_version, kind)
        return [self._full(resource, item) for item in self._store.items(resource.stored_as, namespace)]

    def _resource(self, api_version: str, kind: str) -> Resource:
        resource = self._registry.of_kind(api_version, kind)
        if resource is None:
            raise bad_request(f'no kind "{kind}" is registered for version "{api_version}"')
        return resource

    def _resolved(self, manifest: Mapping[str, object]) -> tuple[Resource, str, Manifest]:
        sent = cast(Manifest, copied(dict(manifest)))
        resource = self._resource(str(sent.get("apiVersion")), str(sent.get("kind")))
        namespace = str(look(sent, "metadata", "namespace") or "default") if resource.namespaced else ""
        return resource, namespace, sent

    def _full(self, resource: Resource, stored: Stored) -> Manifest:
        said = copied(shown(resource, stored))
        return {"kind": resource.kind, "apiVersion": resource.api_version, **said}
