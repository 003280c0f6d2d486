"""Create, update and patch.

One write goes through the same steps whatever the verb: find the object, work out the new one, put
back what the writer may not change, fill in, validate, note who owns what, store. Nothing is stored
when a step refuses, or when nothing changed: a write that changes nothing makes no new version.
"""

from __future__ import annotations

import secrets
import uuid

from ingresskit.testing.apiserver.apply import Writer, apply, record_update
from ingresskit.testing.apiserver.defaults import chosen, fill_in
from ingresskit.testing.apiserver.deletes import Deletes, Options, spec_finalized, tidied
from ingresskit.testing.apiserver.fields import fields_of
from ingresskit.testing.apiserver.manifests import Manifest, copied, encode, mapping_of, timestamp
from ingresskit.testing.apiserver.names import quoted
from ingresskit.testing.apiserver.patch import json_patch, merge_patch, strategic_merge_patch
from ingresskit.testing.apiserver.registry import Registry, Resource
from ingresskit.testing.apiserver.schema import Schema, schema_of
from ingresskit.testing.apiserver.statuses import (
    Cause,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    unsupported_media_type,
)
from ingresskit.testing.apiserver.store import Store, Stored
from ingresskit.testing.apiserver.strict import check_applied, is_odd, typed, typed_patch
from ingresskit.testing.apiserver.typed import read, settle
from ingresskit.testing.apiserver.validation import validate
from ingresskit.testing.apiserver.warned import warnings_of

__all__ = ["PATCH_TYPES", "Writes"]

_APPLY = "application/apply-patch+yaml"
_STRATEGIC = "application/strategic-merge-patch+json"
PATCH_TYPES = ("application/json-patch+json", "application/merge-patch+json", _STRATEGIC, _APPLY)
"""The media types of patches."""

_KEPT_METADATA = ("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "uid")


class Writes:
    """The writing half of the API, over one store.

    Args:
        store: Where objects are.
        registry: Which resources there are.
        deletes: Who removes what the last finalizer has left.
    """

    def __init__(self, store: Store, registry: Registry, deletes: Deletes) -> None:
        self._store = store
        self._registry = registry
        self._deletes = deletes

    def create(self, resource: Resource, namespace: str, manifest: Manifest, options: Options) -> Stored:
        """Store a new object, and return it.

        Raises:
            StatusError: 400, 403, 404 (the namespace), 409 or 422.
        """
        with self._store.lock:
            new = self._kept(resource, namespace, typed(resource, manifest, options))
            metadata: Manifest = new["metadata"]
            if not metadata.get("name") and metadata.get("generateName"):
                metadata["name"] = f"{str(metadata['generateName'])[:58]}{secrets.token_hex(3)[:5]}"
            if metadata.get("resourceVersion"):
                raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
            self._check_namespace(resource, namespace, str(metadata.get("name") or ""))
            if resource.has_status:
                new.pop("status", None)
            writer = self._writer(resource, options)
            return self._insert(resource, namespace, new, options, writer)

    def _insert(
        self, resource: Resource, namespace: str, new: Manifest, options: Options, writer: Writer | None
    ) -> Stored:
        keeper = self._registry.keeper(resource)
        metadata: Manifest = new["metadata"]
        for name in (*_KEPT_METADATA, "resourceVersion", "selfLink"):
            metadata.pop(name, None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}
        if keeper.has_generation:
            metadata["generation"] = 1
        kind = (keeper.group, keeper.kind)
        _drop_empty(metadata)
        sent = fields_of(new, schema_of(*kind))
        fill_in(kind, new, None, self._store)
        validate(keeper, new, None, strict=bool(options.validation))
        options.warnings.extend(warnings_of(keeper, new, None))
        key = (namespace, str(metadata["name"]))
        if self._store.get(keeper.stored_as, key) is not None:
            raise already_exists(resource.group, resource.plural, key[1])
        if writer is not None:
            schema = schema_of(*kind)
            record_update(None, new, schema, writer, unowned=chosen(kind, new, schema) - sent)
        new = tidied(new)
        if options.validation:
            settle(new)
        return Stored(key, 0, new) if options.dry else self._store.put(keeper.stored_as, key, new)

    def update(
        self, resource: Resource, namespace: str, name: str, manifest: Manifest, options: Options
    ) -> tuple[Stored, bool]:
        """Replace an object; return the new one, and whether it was created.

        Raises:
            StatusError: 400, 404, 409 or 422.
        """
        with self._store.lock:
            new = self._kept(resource, namespace, typed(resource, manifest, options))
            metadata: Manifest = new["metadata"]
            named = metadata.setdefault("name", name)
            if named != name:
                raise bad_request(
                    f"the name of the object ({named}) does not match the name on the URL ({name})"
                )
            old = self._store.get(resource.stored_as, (namespace, name))
            if old is None:
                if (
                    resource.creates_on_update
                    and not options.subresource
                    and not metadata.get("resourceVersion")
                ):
                    return self.create(resource, namespace, manifest, options), True
                raise not_found(resource.group, resource.plural, name)
            version = metadata.get("resourceVersion") or ""
            if not (isinstance(version, str) and version.isascii() and (version.isdigit() or not version)):
                raise StatusError(500, "", f"the resourceVersion {quoted(version)} is no number")
            if version in ("", "0") and resource.needs_version:
                why = "Invalid value: 0: must be specified for an update"
                cause = Cause(reason="FieldValueInvalid", message=why, field="metadata.resourceVersion")
                raise invalid(resource.group, resource.plural, name, [cause])
            self._check_version(resource, old, new)
            return self._replace(resource, old, new, options, self._writer(resource, options)), False

    def patch(
        self, resource: Resource, namespace: str, name: str, kind: str, patch: object, options: Options
    ) -> tuple[Stored, bool]:
        """Change an object by a patch of the media type *kind*; return it, and whether it was created.

        Raises:
            StatusError: 400, 404, 409, 415 or 422.
        """
        with self._store.lock:
            old = self._store.get(resource.stored_as, (namespace, name))
            if kind == _APPLY:
                return self._apply(resource, namespace, name, old, patch, options)
            if old is None:
                raise not_found(resource.group, resource.plural, name)
            before = resource.view.show(copied(old.manifest)) if resource.view else old.manifest
            before = {"kind": resource.kind, "apiVersion": resource.api_version, **before}
            schema = schema_of(resource.group, resource.kind)
            after = _patched(before, kind, patch, schema)
            after = typed_patch(resource, before, after, options)
            metadata = mapping_of(after.get("metadata"))
            if metadata.get("name") != name or metadata.get("namespace", "") != namespace:
                raise _misnamed(metadata.get("name"), name)
            new = self._kept(resource, namespace, after)
            if options.validation and new["metadata"].get("uid") != old.manifest["metadata"]["uid"]:
                raise self._other_uid(resource, old, new["metadata"].get("uid"))
            self._check_version(resource, old, new)
            return self._replace(resource, old, new, options, self._writer(resource, options)), False

    def _apply(
        self, resource: Resource, namespace: str, name: str, old: Stored | None, patch: object, options: Options
    ) -> tuple[Stored, bool]:
        if not options.manager_given:
            cause = Cause(
                reason="FieldValueRequired",
                message="Required value: is required for apply patch",
                field="fieldManager",
            )
            raise invalid("meta.k8s.io", "PatchOptions", "", [cause])
        sent = mapping_of(patch)
        for field in ("apiVersion", "kind"):
            if not sent.get(field):
                raise bad_request(
                    f"error decoding YAML: Object '{field.capitalize()}' is missing in the applied object"
                )
        check_applied(resource, sent, options)
        wanted = self._kept(
            resource, namespace, {**sent, "metadata": {"name": name, **mapping_of(sent.get("metadata"))}}
        )
        if options.validation and not mapping_of(sent.get("metadata")).get("name"):
            raise bad_request(f"the name of the object ({name} by the URL) is not in it")
        if wanted["metadata"].get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        if wanted["metadata"]["name"] != name:
            raise _misnamed(wanted["metadata"]["name"], name)
        version = wanted["metadata"].pop("resourceVersion", None)
        if old is None and options.subresource:
            raise not_found(resource.group, resource.plural, name)
        uid = wanted["metadata"].pop("uid", None)
        if old is None and uid:
            raise conflict(resource.group, resource.plural, name, "it has a uid, and there is no such object")
        if old is not None and uid not in (None, "", old.manifest["metadata"]["uid"]):
            raise self._other_uid(resource, old, uid)
        keeper = self._registry.keeper(resource)
        schema = schema_of(keeper.group, keeper.kind)
        writer = self._writer(resource, options)
        if keeper.has_status:
            # Who writes one half says nothing about the other.
            if options.subresource:
                wanted.pop("spec", None)
            else:
                wanted.pop("status", None)
        if old is None:
            self._check_namespace(resource, namespace, name)
            live: Manifest = {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}}
            new = apply(live, wanted, schema, writer, force=options.force)
            if resource.view is None and options.validation:
                new = read(new, resource.api_version, resource.kind).manifest
            return self._insert(resource, namespace, new, options, None), True
        if version and version != str(old.revision):
            raise conflict(resource.group, resource.plural, name)
        new = apply(old.manifest, wanted, schema, writer, force=options.force)
        if resource.view is None and options.validation and not is_odd(resource, old.manifest):
            new = read(new, resource.api_version, resource.kind).manifest
        return self._replace(resource, old, new, options, None), False

    def _replace(
        self, resource: Resource, old: Stored, new: Manifest, options: Options, writer: Writer | None
    ) -> Stored:
        keeper = self._registry.keeper(resource)
        kind = (keeper.group, keeper.kind)
        was, metadata = old.manifest, new["metadata"]
        for name in _KEPT_METADATA:
            metadata.pop(name, None)
            if name in was["metadata"]:
                metadata[name] = was["metadata"][name]
        metadata["resourceVersion"] = was["metadata"]["resourceVersion"]
        metadata.pop("selfLink", None)
        status = options.subresource == "status"
        if keeper.has_status:
            self._keep_other_half(was, new, status=status)
        if options.subresource != "finalize" and kind == ("", "Namespace"):
            new["spec"] = copied(was["spec"])
        schema = schema_of(*kind)
        _drop_empty(metadata)
        sent = fields_of(new, schema)
        fill_in(kind, new, was, self._store)
        if keeper.has_generation and _spec_part(new) != _spec_part(was):
            metadata["generation"] = int(was["metadata"].get("generation", 0)) + 1
        validate(keeper, new, was, status=status, strict=bool(options.validation))
        options.warnings.extend(warnings_of(keeper, new, was))
        if writer is not None:
            record_update(was, new, schema, writer, unowned=chosen(kind, new, schema) - sent)
        new = tidied(new)
        if options.validation:
            settle(new)
        if encode(_compared(new)) == encode(_compared(was)):
            return old
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and spec_finalized(new):
            return self._finish(keeper, old, new, options)
        return Stored(old.key, 0, new) if options.dry else self._store.put(keeper.stored_as, old.key, new)

    @staticmethod
    def _keep_other_half(was: Manifest, new: Manifest, *, status: bool) -> None:
        kept = {key for key in {*was, *new} if key not in ("metadata", "status")} if status else {"status"}
        for key in kept:
            new.pop(key, None)
            if key in was:
                new[key] = copied(was[key])

    def _finish(self, keeper: Resource, old: Stored, new: Manifest, options: Options) -> Stored:
        """The last finalizer is gone, and the object with it; the writer gets its last state."""
        if options.dry:
            return Stored(old.key, 0, new)
        self._store.remove(keeper.stored_as, old.key, new)
        self._deletes.empty_if_terminating(old.key[0])
        return Stored(old.key, old.revision, new)

    def _kept(self, resource: Resource, namespace: str, manifest: Manifest) -> Manifest:
        """The object in the form in which it is kept: a copy, without kind and version."""
        version, kind = manifest.get("apiVersion"), manifest.get("kind")
        if version not in (None, "", resource.api_version) or kind not in (None, "", resource.kind):
            raise bad_request(_misfit(resource, str(version or ""), str(kind or ""), known=self._registry))
        new = {
            key: copied(value)
            for key, value in manifest.items()
            if key not in ("kind", "apiVersion", "metadata")
        }
        metadata: Manifest = copied(mapping_of(manifest.get("metadata")))
        if resource.namespaced:
            if metadata.setdefault("namespace", namespace) not in (namespace, ""):
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)
        new = {"metadata": metadata, **new}
        return resource.view.keep(new) if resource.view else new

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        stored = self._store.get(("", "namespaces"), ("", namespace))
        if stored is None:
            raise not_found("", "namespaces", namespace)
        if stored.manifest["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause(
                reason="NamespaceTerminating",
                message=f"namespace {namespace} is being terminated",
                field="metadata.namespace",
            )
            raise forbidden(resource.group, resource.plural, name, why, [cause])

    @staticmethod
    def _other_uid(resource: Resource, old: Stored, uid: object) -> StatusError:
        why = f"Invalid value: {quoted(uid)}: field is immutable"
        # The real server checks it twice, and says so twice.
        causes = [Cause(reason="FieldValueInvalid", message=why, field="metadata.uid")] * 2
        return invalid(resource.group, resource.kind, old.key[1], causes)

    @staticmethod
    def _check_version(resource: Resource, old: Stored, new: Manifest) -> None:
        metadata = new["metadata"]
        if metadata.get("uid") not in (None, "", old.manifest["metadata"]["uid"]):
            why = (
                f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{'/'.join(old.key)}, "
                "ResourceVersion: 0, AdditionalErrorMsg: "
                f"Precondition failed: UID in precondition: {metadata['uid']}, "
                f"UID in object meta: {old.manifest['metadata']['uid']}"
            )
            raise conflict(resource.group, resource.plural, old.key[1], why)
        if metadata.get("resourceVersion") not in (None, "", "0", str(old.revision)):
            raise conflict(resource.group, resource.plural, old.key[1])

    def _writer(self, resource: Resource, options: Options) -> Writer:
        return Writer(
            manager=options.manager,
            api_version=resource.api_version,
            subresource=options.subresource,
            time=timestamp(),
        )


def _misnamed(named: object, name: str) -> StatusError:
    return bad_request(f"the name of the object ({named}) does not match the name on the URL ({name})")


def _misfit(resource: Resource, version: str, kind: str, *, known: Registry) -> str:
    short = version.rpartition("/")[2]
    if not version:
        return f"Object 'apiVersion' is missing in '{kind}'"
    if not kind:
        return "Object 'Kind' is missing"
    if known.of_kind(version, kind) is None:
        why = f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:110"'
    else:
        why = (
            f"converting ({short}.{kind}) to ({resource.group.partition('.')[0] or 'core'}.{resource.kind}): "
            "unknown conversion"
        )
    return f'{kind} in version "{short}" cannot be handled as a {resource.kind}: {why}'


def _patched(before: Manifest, kind: str, patch: object, schema: Schema) -> Manifest:
    if kind == "application/json-patch+json":
        return json_patch(before, patch)
    wanted = mapping_of(patch)
    if wanted != patch:
        raise bad_request("error decoding patch: the patch is no object")
    if kind == "application/merge-patch+json":
        return mapping_of(merge_patch(before, wanted))
    if kind == _STRATEGIC:
        return strategic_merge_patch(before, wanted, schema)
    raise unsupported_media_type(PATCH_TYPES)


def _drop_empty(metadata: Manifest) -> None:
    """Leave out of metadata what is empty: for the server there is no difference, and nobody owns it."""
    for name in ("labels", "annotations", "finalizers", "ownerReferences", "generateName"):
        if name in metadata and not metadata[name]:
            del metadata[name]


def _spec_part(manifest: Manifest) -> Manifest:
    return {key: value for key, value in manifest.items() if key not in ("metadata", "status")}


def _compared(manifest: Manifest) -> Manifest:
    """The object without what changes by itself."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "resourceVersion"}
    return {**manifest, "metadata": metadata}
