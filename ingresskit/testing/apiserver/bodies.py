"""What is read from a request before it is known whether it may be done: how, and with what.

Objects come as JSON, as YAML, or as protobuf; options as parameters, and for deleting in the body as well.
"""

from __future__ import annotations

from typing import cast

from ingresskit.testing.apiserver.deletes import Options
from ingresskit.testing.apiserver.manifests import Manifest, decode, duplicates, mapping_of
from ingresskit.testing.apiserver.names import unsupported
from ingresskit.testing.apiserver.protobuf import from_protobuf
from ingresskit.testing.apiserver.registry import Resource
from ingresskit.testing.apiserver.requests import Asked, Request
from ingresskit.testing.apiserver.statuses import (
    Cause,
    bad_request,
    invalid,
    not_acceptable,
    unsupported_media_type,
)

__all__ = ["body_of", "check_accept", "delete_options", "options_of", "parse", "review_of"]

_PROTOBUF = "application/vnd.kubernetes.protobuf"
_BODY_TYPES = ("application/json", "application/yaml", _PROTOBUF)
_VALIDATIONS = ("Ignore", "Strict", "Warn")
_POLICIES = ("Background", "Foreground", "Orphan")


def delete_options(request: Request, asked: Asked) -> Manifest:
    """How something is to be deleted, as the body says; empty when there is none.

    Raises:
        StatusError: 400, it cannot be read; 422, it asks for what there is not.
    """
    wanted: Manifest = {}
    if request.headers.get("content-type", "").startswith(_PROTOBUF):
        wanted = _unpacked(request.body, "DeleteOptions")
    elif request.body.strip():
        wanted = mapping_of(parse(request.body, yaml=False, kind="DeleteOptions"))
    policy = wanted.get("propagationPolicy") or asked.query.get("propagationPolicy")
    if policy not in (None, *_POLICIES):
        fault = unsupported("propagationPolicy", policy, _POLICIES)
        raise invalid("meta.k8s.io", "DeleteOptions", "", [fault])
    return wanted


def review_of(request: Request) -> Manifest:
    """What a user asks about themselves.

    Raises:
        StatusError: 400 or 415, it cannot be read.
    """
    form = request.headers.get("content-type", "").partition(";")[0].strip()
    if form == _PROTOBUF:
        return _unpacked(request.body, "SelfSubjectAccessReview")
    if form != "application/json":
        raise unsupported_media_type(_BODY_TYPES)
    return mapping_of(parse(request.body, yaml=False, kind="SelfSubjectAccessReview"))


def options_of(request: Request, asked: Asked, *, dry: bool = False) -> Options:
    """How something is to be written, by the parameters of the request.

    Raises:
        StatusError: 422, one of them makes no sense.
    """
    named = asked.query.get("fieldManager", "")
    faults: list[Cause] = []
    if len(named) > 128:
        why = "Too long: may not be more than 128 bytes"
        faults.append(Cause(reason="FieldValueTooLong", message=why, field="fieldManager"))
    if asked.query.get("dryRun", "") not in ("", "All"):
        faults.append(unsupported("dryRun", [asked.query["dryRun"]], ("All",)))
    validation = asked.query.get("fieldValidation") or "Warn"
    if validation not in _VALIDATIONS:
        faults.append(unsupported("fieldValidation", validation, ("", *_VALIDATIONS)))
    if faults:
        raise invalid("meta.k8s.io", f"{asked.verb.capitalize()}Options", "", faults)
    agent = request.headers.get("user-agent", "").partition("/")[0][:128]
    return Options(
        manager=named or agent or "unknown",
        manager_given=bool(named),
        force=asked.query.get("force", "") in ("1", "t", "true", "True"),
        dry=dry or asked.query.get("dryRun", "") == "All",
        subresource=asked.subresource,
        validation=validation,
    )


def body_of(request: Request, resource: Resource, options: Options) -> Manifest:
    """The object that was sent.

    Raises:
        StatusError: 400, it cannot be read; 415, it is in a form that is not known.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind not in _BODY_TYPES:
        raise unsupported_media_type(_BODY_TYPES)
    if kind == _PROTOBUF:
        return _unpacked(request.body, resource.kind)
    parsed = parse(request.body, yaml=kind.endswith("yaml"), kind=resource.kind)
    if options.validation == "Strict" and (twice := duplicates(request.body)):
        told = ", ".join(f'duplicate field "{name}"' for name in twice)
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"strict decoding error: {told}"
        )
    if parsed is not None and not isinstance(parsed, dict):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {resource.kind}): it is no object"
        )
    manifest: Manifest = {} if parsed is None else dict(cast(Manifest, parsed))
    if kind.endswith("yaml") and not manifest.get("kind"):
        raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind}): no kind")
    return manifest


def _unpacked(body: bytes, kind: str) -> Manifest:
    try:
        return from_protobuf(body)
    except ValueError as exc:
        raise bad_request(f"the object provided is unrecognized (must be of type {kind}): {exc}") from exc


def parse(body: bytes, *, yaml: bool, kind: str) -> object:
    """What the JSON says that was sent as a *kind*; what YAML says, if it may be that.

    Raises:
        StatusError: 400, it is neither.
    """
    try:
        return decode(body)
    except ValueError as exc:
        if not yaml:
            shown_part = body[:200].decode(errors="replace")
            raise bad_request(
                f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
                f"json parse error: {exc} ({shown_part})"
            ) from exc
    # Only who sends YAML needs PyYAML; kubectl sends JSON under the name of YAML.
    from yaml import YAMLError, safe_load

    try:
        return cast(object, safe_load(body))
    except YAMLError as exc:
        raise bad_request(f"error decoding YAML: {exc}") from exc


def check_accept(accept: str) -> None:
    """Let pass who takes a form that there is.

    Raises:
        StatusError: 406.
    """
    kinds = [part.partition(";")[0].strip() for part in accept.split(",")]
    if accept and not {"application/json", "*/*"} & set(kinds):
        raise not_acceptable()
