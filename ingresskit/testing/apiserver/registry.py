"""Which resources the API server has, and what is special about each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ingresskit.testing.apiserver.manifests import Manifest, encode

__all__ = ["Registry", "Resource", "View"]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How one version of an API shows objects that are kept in the form of another.

    Attributes:
        of: Group and plural of the resource that keeps them.
        show: From the kept form to the shown one. It gets a copy, without kind and version.
        keep: From the shown form to the kept one, likewise.
    """

    of: tuple[str, str]
    show: Callable[[Manifest], Manifest]
    keep: Callable[[Manifest], Manifest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource of one API version.

    Give your own to ``ApiServer(resources=[…])``: they are stored as they are written, as custom
    resources without a schema are.

    Attributes:
        group: ``"networking.k8s.io"``; empty for the core group.
        version: ``"v1"``.
        plural: ``"ingresses"``, the word in paths and rules.
        kind: ``"Ingress"``.
        namespaced: Whether objects live in namespaces.
        short_names: What kubectl also takes, ``("ing",)``.
        categories: Groups of resources kubectl knows, ``("all",)``.
        has_status: Whether ``/status`` is written apart from the rest.
        has_generation: Whether ``metadata.generation`` counts the changes of everything but metadata and
            status.
        fields: What field selectors may name besides ``metadata.name`` and ``metadata.namespace``:
            the path of the field, and what an absent one counts as.
        creates_on_update: Whether PUT makes an object that is not there.
        needs_version: Whether PUT without ``metadata.resourceVersion`` is refused.
        returns_deleted: Whether DELETE answers with the object instead of a ``Status``.
        singular: ``"ingress"``; the kind in lower case if not given.
        deprecated: What clients are warned of whenever they use it; empty for nothing.
        view: Set when the objects are kept by another resource.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    has_generation: bool = False
    fields: tuple[tuple[tuple[str, ...], str], ...] = field(default=())
    creates_on_update: bool = False
    needs_version: bool = False
    returns_deleted: bool = False
    singular: str = ""
    deprecated: str = ""
    view: View | None = None

    @property
    def api_version(self) -> str:
        """``"networking.k8s.io/v1"``, or ``"v1"`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``"ingresses.networking.k8s.io"``, as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def stored_as(self) -> tuple[str, str]:
        """Group and plural of the resource that keeps the objects: mostly its own."""
        return self.view.of if self.view else (self.group, self.plural)

    @property
    def verbs(self) -> tuple[str, ...]:
        """What can be done with it."""
        verbs = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
        # Namespaces go one by one: with each goes all that is in it.
        return tuple(verb for verb in verbs if (verb, self.kind) != ("deletecollection", "Namespace"))

    def full(self, body: bytes) -> bytes:
        """The JSON of an object with its kind and version, from *body* without."""
        head = encode({"kind": self.kind, "apiVersion": self.api_version})
        return head[:-1] + b"," + body[1:] if body != b"{}" else head

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of one object; without *name* of the collection."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{within}/{self.plural}" + (f"/{name}" if name else "")


class Registry:
    """The resources of one server."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_path = {(item.group, item.version, item.plural): item for item in resources}
        self._by_kind = {(item.api_version, item.kind): item for item in self._by_path.values()}
        self._kept = {(item.group, item.plural): item for item in self._by_path.values() if item.view is None}

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_path.values())

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at ``/apis/<group>/<version>/<plural>``, or ``None``."""
        return self._by_path.get((group, version, plural))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource a manifest with this version and kind belongs to, or ``None``."""
        return self._by_kind.get((api_version, kind))

    def keeper(self, resource: Resource) -> Resource:
        """The resource that keeps the objects of *resource*: itself, unless that is a view."""
        return self._kept[resource.stored_as]

    def versions(self) -> dict[str, list[str]]:
        """The versions of each group, preferred first; the core group is ``""``."""
        found: dict[str, list[str]] = {}
        for item in self._by_path.values():
            versions = found.setdefault(item.group, [])
            if item.version not in versions:
                versions.append(item.version)
        return {
            group: sorted(versions, key=lambda text: ("beta" in text, text))
            for group, versions in found.items()
        }

    def within(self, group: str, version: str) -> list[Resource]:
        """The resources of one group and version, by name."""
        found = [item for item in self._by_path.values() if (item.group, item.version) == (group, version)]
        return sorted(found, key=lambda item: item.plural)
