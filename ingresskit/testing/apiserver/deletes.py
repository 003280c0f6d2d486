"""Deleting: finalizers, preconditions, and namespaces with all that is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ingresskit.testing.apiserver.manifests import Manifest, copied, mapping_of, timestamp
from ingresskit.testing.apiserver.registry import Registry, Resource
from ingresskit.testing.apiserver.statuses import conflict, forbidden, not_found
from ingresskit.testing.apiserver.store import Key, Store, Stored

__all__ = ["Deletes", "Options", "spec_finalized", "tidied"]


_LASTING = ("default", "kube-public", "kube-system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How something is to be written.

    Attributes:
        manager: ``fieldManager``; mostly made from the user agent.
        manager_given: Whether the client named it.
        force: Take over fields in server-side apply.
        dry: Do everything but store it.
        subresource: ``"status"``, ``"finalize"`` or empty.
        validation: What is done about fields that the kind does not have: ``Ignore``, ``Warn`` or
            ``Strict``. Empty: they are kept, and no type of any field is checked.
        warnings: What the client is to be told besides; added to.
    """

    manager: str = "unknown"
    manager_given: bool = False
    force: bool = False
    dry: bool = False
    subresource: str = ""
    validation: str = ""
    warnings: list[str] = field(default_factory=list[str])


class Deletes:
    """The deleting half of writing, over one store.

    Args:
        store: Where objects are.
        registry: Which resources there are.
        finalize_namespaces: Empty and remove namespaces that are deleted, as the namespace controller
            of a cluster does; without it they stay Terminating, as on a lone API server.
    """

    def __init__(self, store: Store, registry: Registry, *, finalize_namespaces: bool) -> None:
        self._store = store
        self._registry = registry
        self._finalize_namespaces = finalize_namespaces

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        options: Options,
        preconditions: Mapping[str, Any] | None = None,
    ) -> tuple[Stored, bool]:
        """Delete an object; return its last state, and whether it is gone already.

        One with finalizers is only marked; the write that removes the last of them removes it.

        Raises:
            StatusError: 404; 409 when a precondition does not hold; 403 for the namespaces that last.
        """
        with self._store.lock:
            old = self._store.get(resource.stored_as, (namespace, name))
            if old is None:
                raise not_found(resource.group, resource.plural, name)
            self._check_preconditions(resource, old, preconditions or {})
            if resource.kind == "Namespace" and name in _LASTING:
                raise forbidden(resource.group, resource.plural, name, "this namespace may not be deleted")
            keeper = self._registry.keeper(resource)
            if not old.manifest["metadata"].get("finalizers") and spec_finalized(old.manifest):
                if not options.dry:
                    gone = self._store.remove(keeper.stored_as, old.key)
                    self.empty_if_terminating(namespace)
                    return gone, True
                return old, True
            if old.manifest["metadata"].get("deletionTimestamp"):
                return old, False
            new = copied(old.manifest)
            new["metadata"]["deletionTimestamp"] = timestamp()
            if keeper.kind == "Namespace":
                new["status"] = {**mapping_of(new.get("status")), "phase": "Terminating"}
            else:
                new["metadata"]["deletionGracePeriodSeconds"] = 0
            if keeper.has_generation:
                new["metadata"]["generation"] = int(new["metadata"].get("generation", 0)) + 1
            if options.dry:
                return Stored(old.key, 0, new), False
            marked = self._store.put(keeper.stored_as, old.key, tidied(new))
            if keeper.kind == "Namespace" and self._finalize_namespaces:
                self._empty(name)
            return marked, False

    def _check_preconditions(self, resource: Resource, old: Stored, preconditions: Mapping[str, Any]) -> None:
        metadata, kind = old.manifest["metadata"], resource.kind
        version = preconditions.get("resourceVersion")
        if preconditions.get("uid") not in (None, metadata["uid"]):
            why = (
                f"the UID in the precondition ({preconditions['uid']}) does not match the UID in record "
                f"({metadata['uid']}). The object might have been deleted and then recreated"
            )
            raise conflict(resource.group, kind, old.key[1], why)
        if version not in (None, metadata["resourceVersion"]):
            why = (
                f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in "
                f"record ({metadata['resourceVersion']}). The object might have been modified"
            )
            raise conflict(resource.group, kind, old.key[1], why)

    def _empty(self, namespace: str) -> None:
        """Delete all that is in a namespace, and then the namespace."""
        for resource in self._registry:
            if resource.namespaced and resource.view is None:
                for item in self._store.items(resource.stored_as, namespace):
                    self.delete(resource, namespace, item.key[1], Options())
        self.empty_if_terminating(namespace)

    def empty_if_terminating(self, namespace: str) -> None:
        """Remove a namespace that is going, if nothing is left in it."""
        key: Key = ("", namespace)
        stored = self._store.get(("", "namespaces"), key) if namespace and self._finalize_namespaces else None
        if stored is None or not stored.manifest["metadata"].get("deletionTimestamp"):
            return
        for resource in self._registry:
            if resource.namespaced and self._store.items(resource.stored_as, namespace):
                return
        if not stored.manifest["metadata"].get("finalizers"):
            last = copied(stored.manifest)
            last["spec"] = {}
            self._store.remove(("", "namespaces"), key, last)


def spec_finalized(manifest: Manifest) -> bool:
    """Whether nothing in the spec holds the object, as namespaces are held."""
    return not mapping_of(manifest.get("spec")).get("finalizers")


def tidied(manifest: Manifest) -> Manifest:
    """The object with the keys in the order of the real server's JSON."""
    metadata: Manifest = manifest["metadata"]
    order = ("name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp")
    first = {name: metadata[name] for name in order if name in metadata}
    rest = {name: metadata[name] for name in sorted(metadata) if name not in first}
    return {
        "metadata": {**first, **rest},
        **{key: manifest[key] for key in sorted(manifest) if key != "metadata"},
    }
