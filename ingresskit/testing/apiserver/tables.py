"""The table forms of objects: what kubectl asks for when it prints.

A client that accepts ``application/json;as=Table;v=v1;g=meta.k8s.io`` gets rows of cells instead of
objects, and one that accepts ``as=PartialObjectMetadata`` gets their metadata alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ingresskit.testing.apiserver.manifests import Manifest
from ingresskit.testing.apiserver.printers import ANY, PRINTERS
from ingresskit.testing.apiserver.registry import Resource
from ingresskit.testing.apiserver.statuses import bad_request

__all__ = ["Form", "form_of"]

_META = "meta.k8s.io/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """In what form objects are wanted.

    Attributes:
        kind: ``"Table"`` or ``"PartialObjectMetadata"``.
        include: What of its object each row of a table carries.
    """

    kind: Literal["Table", "PartialObjectMetadata"]
    include: str = "Metadata"

    def one(self, resource: Resource, manifest: Manifest) -> Manifest:
        """One object, without kind and version, in this form."""
        if self.kind == "PartialObjectMetadata":
            return _partial(manifest)
        version = {"resourceVersion": manifest["metadata"].get("resourceVersion", "")}
        return self._table(resource, [manifest], version, columns=True)

    def many(self, resource: Resource, manifests: Iterable[Manifest], metadata: Manifest) -> Manifest:
        """A list in this form."""
        if self.kind == "PartialObjectMetadata":
            items = [_partial(manifest) for manifest in manifests]
            return {"kind": f"{self.kind}List", "apiVersion": _META, "metadata": metadata, "items": items}
        return self._table(resource, manifests, metadata, columns=True)

    def event(self, resource: Resource, manifest: Manifest, *, first: bool) -> Manifest:
        """One object of a watch in this form; only the first table names its columns."""
        if self.kind == "PartialObjectMetadata":
            return _partial(manifest)
        version = {"resourceVersion": manifest["metadata"].get("resourceVersion", "")}
        return self._table(resource, [manifest], version, columns=first)

    def _table(
        self, resource: Resource, manifests: Iterable[Manifest], metadata: Manifest, *, columns: bool
    ) -> Manifest:
        printer = PRINTERS.get((resource.group, resource.kind), ANY)
        said = [
            {
                "name": name,
                "type": "date" if name == "Created At" else "string",
                "format": "name" if name == "Name" else "",
                "description": f"{name} of the {resource.kind}",
                "priority": priority,
            }
            for name, priority in printer.columns
        ]
        return {
            "kind": "Table",
            "apiVersion": _META,
            "metadata": metadata,
            "columnDefinitions": said if columns else None,
            "rows": [
                {"cells": list(printer.cells(manifest)), "object": self._included(resource, manifest)}
                for manifest in manifests
            ],
        }

    def _included(self, resource: Resource, manifest: Manifest) -> Manifest | None:
        if self.include == "None":
            return None
        if self.include == "Object":
            return {"kind": resource.kind, "apiVersion": resource.api_version, **manifest}
        return _partial(manifest)


def form_of(accept: str, include: str) -> Form | None:
    """The form that a client asks for first among those there are; ``None`` for objects as they are.

    Args:
        accept: The header of that name.
        include: The parameter ``includeObject``.

    Raises:
        StatusError: 400, *include* is nothing that rows can carry.
    """
    for part in accept.split(","):
        kind, *parameters = [text.strip() for text in part.split(";")]
        named = dict(text.split("=", 1) for text in parameters if "=" in text)
        if kind != "application/json" or (named.get("as") and named.get("v", "v1") != "v1"):
            continue
        match named.get("as"):
            case None:
                return None
            case "Table":
                if include not in ("", "None", "Metadata", "Object"):
                    raise bad_request(f"rows can carry None, Metadata or Object, not {include[:40]!r}")
                return Form(kind="Table", include=include or "Metadata")
            case "PartialObjectMetadata" | "PartialObjectMetadataList":
                return Form(kind="PartialObjectMetadata")
            case _:
                continue
    return None


def _partial(manifest: Manifest) -> Manifest:
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": manifest["metadata"]}
