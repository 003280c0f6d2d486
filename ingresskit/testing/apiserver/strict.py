"""What a write that is checked makes of what was sent; writes of the test itself are not.

Sources: the ``fieldValidation`` parameter of the Kubernetes API, and the answers of Kubernetes 1.36.
"""

from __future__ import annotations

from ingresskit.testing.apiserver.deletes import Options
from ingresskit.testing.apiserver.manifests import Manifest, mapping_of
from ingresskit.testing.apiserver.registry import Resource
from ingresskit.testing.apiserver.statuses import Cause, StatusError, bad_request
from ingresskit.testing.apiserver.typed import Mistyped, read

__all__ = ["check_applied", "is_odd", "typed", "typed_patch"]


def typed(resource: Resource, manifest: Manifest, options: Options) -> Manifest:
    """What was sent, as its kind has it; as it was sent, where nothing is to be checked."""
    if not options.validation:
        return manifest
    kind = resource.kind
    try:
        reading = read(manifest, resource.api_version, kind)
    except Mistyped as exc:
        raise bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {exc}'
        ) from exc
    told = [f'unknown field "{path}"' for path in reading.unknown]
    if told and options.validation == "Strict":
        raise bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {kind}: '
            f"strict decoding error: {', '.join(told)}"
        )
    if options.validation == "Warn":
        options.warnings.extend(told)
    return reading.manifest


def typed_patch(resource: Resource, before: Manifest, after: Manifest, options: Options) -> Manifest:
    """What a patch made of an object, as its kind has it.

    An object that was put here past all checks may be patched like any other, and stays as odd as it is.
    """
    if not options.validation or is_odd(resource, before):
        return after
    if (after.get("apiVersion"), after.get("kind")) != (resource.api_version, resource.kind):
        raise _bad_patch("it makes another kind of the object")
    try:
        return typed(resource, after, options)
    except StatusError as exc:
        raise _bad_patch(exc.message) from exc


def is_odd(resource: Resource, manifest: Manifest) -> bool:
    """Whether *manifest*, in the form of *resource*, is none that a strict server could have stored."""
    try:
        return bool(read(manifest, resource.api_version, resource.kind).unknown)
    except Mistyped:
        return True


def _bad_patch(why: str) -> StatusError:
    cause = Cause(reason="FieldValueInvalid", message=f"Invalid value: {why}", field="patch")
    return StatusError(
        422, "Invalid", f' "" is invalid: patch: Invalid value: {why}', details={}, causes=[cause]
    )


def check_applied(resource: Resource, applied: Manifest, options: Options) -> None:
    """Let what is applied pass: every field is its kind's, of the right type."""
    if not options.validation:
        return
    try:
        unknown = read(applied, resource.api_version, resource.kind).unknown
    except Mistyped as exc:
        raise _untypable(applied, str(exc)) from exc
    if unknown:
        raise _untypable(applied, ", ".join(f"field {path} is not declared" for path in unknown))


def _untypable(applied: Manifest, why: str) -> StatusError:
    name = mapping_of(applied.get("metadata")).get("name")
    return StatusError(500, "", f"failed to create typed patch object ({name}): {why}")
