"""Get and list, with the meanings of ``resourceVersion``, ``resourceVersionMatch``, ``limit`` and ``continue``.

Source: kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions, checked against 1.36.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from ingresskit.testing.apiserver.manifests import Manifest, copied, encode
from ingresskit.testing.apiserver.names import forbidden, unsupported
from ingresskit.testing.apiserver.registry import Resource
from ingresskit.testing.apiserver.requests import Asked, Response
from ingresskit.testing.apiserver.selectors import Selection, parse_fields, parse_labels
from ingresskit.testing.apiserver.statuses import (
    Cause,
    StatusError,
    bad_request,
    expired,
    invalid,
    not_found,
    too_large_version,
)
from ingresskit.testing.apiserver.store import Compacted, Store, Stored
from ingresskit.testing.apiserver.tables import Form

__all__ = [
    "check_options",
    "get",
    "list_objects",
    "number",
    "selection_of",
    "shown",
    "shown_body",
    "version_of",
]

_TOO_OLD = "The resourceVersion for the provided list is too old."
_CONTINUE_TOO_OLD = (
    "The continue parameter is too old for a consistent list. List again from the start; or go on with the"
    " token in this answer, and find objects in the rest as they are now, not as they were at the start."
)


def shown(resource: Resource, stored: Stored) -> Manifest:
    """The object as *resource* shows it, without kind and version. Not to be changed."""
    return resource.view.show(copied(stored.manifest)) if resource.view else stored.manifest


def shown_body(resource: Resource, stored: Stored) -> bytes:
    """The JSON of the object as *resource* shows it, without kind and version."""
    return encode(shown(resource, stored)) if resource.view else stored.body


def number(query: Mapping[str, str], name: str) -> int:
    """A whole number of the query; 0 when it is missing or empty.

    Raises:
        StatusError: 400, it is no number.
    """
    text = query.get(name, "")
    try:
        return int(text) if text else 0
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def version_of(query: Mapping[str, str]) -> int | None:
    """The ``resourceVersion`` of a query; ``None`` when it is missing or empty.

    Raises:
        StatusError: 400, it is none.
    """
    text = query.get("resourceVersion", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise bad_request(
            f'invalid resource version: resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing '
            f'"{text}": invalid syntax'
        )
    return int(text)


def selection_of(resource: Resource, asked: Asked) -> Selection:
    """Which objects a list or a watch is about.

    Raises:
        StatusError: 400, a selector cannot be read.
    """
    return Selection(
        resource=resource,
        namespace=asked.namespace or None if resource.namespaced else None,
        name=asked.name or None,
        labels=parse_labels(asked.query.get("labelSelector", "")),
        fields=parse_fields(asked.query.get("fieldSelector", ""), resource),
    )


def check_options(query: Mapping[str, str], *, watch: bool, watch_list: bool) -> None:
    """Let the options of a list or a watch pass.

    Raises:
        StatusError: 422, they do not fit together.
    """
    faults: list[Cause] = []
    match, initial = query.get("resourceVersionMatch", ""), query.get("sendInitialEvents")
    version = query.get("resourceVersion", "")

    def refuse(field: str, why: str) -> None:
        faults.append(forbidden(field, why))

    if watch:
        if initial is not None and match != "NotOlderThan":
            refuse(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )
        if initial is not None and not watch_list:
            refuse(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
            )
        if match and initial is None:
            refuse(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        if initial is not None and match not in ("", "NotOlderThan"):
            faults.append(unsupported("resourceVersionMatch", match, ("NotOlderThan",)))
        if query.get("continue"):
            refuse("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
    else:
        if match and query.get("continue"):
            refuse("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        if match and not version:
            refuse(
                "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
            )
        if match and match not in ("Exact", "NotOlderThan"):
            faults.append(unsupported("resourceVersionMatch", match, ("Exact", "NotOlderThan", "")))
        elif match == "Exact" and version == "0":
            refuse("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
        if initial is not None:
            refuse("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if faults:
        raise invalid("meta.k8s.io", "ListOptions", "", faults)


def get(store: Store, resource: Resource, asked: Asked, form: Form | None = None) -> Response:
    """One object, in the form that is wanted.

    Raises:
        StatusError: 404; 504 when it should be newer than the store is; 500 when it is no version.
    """
    try:
        version = version_of(asked.query)
    except StatusError as exc:
        # The real server lets this one through to the storage, which answers in its own way.
        raise StatusError(500, "", exc.message.removeprefix("invalid resource version: ")) from None
    if version is not None and version > store.revision:
        raise too_large_version(version, store.revision)
    stored = store.get(resource.stored_as, (asked.namespace if resource.namespaced else "", asked.name))
    if stored is None:
        raise not_found(resource.group, resource.plural, asked.name)
    if form is not None:
        return Response(status=200, body=encode(form.one(resource, shown(resource, stored))) + b"\n")
    return Response(status=200, body=resource.full(shown_body(resource, stored)) + b"\n")


def list_objects(store: Store, resource: Resource, asked: Asked, form: Form | None = None) -> Response:
    """A list, or a page of one, in the form that is wanted.

    Raises:
        StatusError: 400 or 422, the options are wrong; 410, the version is gone; 504, it is not there yet.
    """
    query = asked.query
    check_options(query, watch=False, watch_list=True)
    selection = selection_of(resource, asked)
    limit = max(0, number(query, "limit"))
    number(query, "timeoutSeconds")
    with store.lock:
        items, revision = _state(store, resource, query, limit, selection)
    page, token, remaining = items, "", None
    if (
        limit
        and (limit < len(items))
        and not (query.get("resourceVersion") == "0" and not query.get("continue"))
    ):
        page = items[:limit]
        token = _token(revision, page[-1])
        # With selectors the real server does not know how many of the rest would match.
        remaining = None if selection.labels or selection.fields else len(items) - limit
    metadata: Manifest = {"resourceVersion": str(revision)}
    if token:
        metadata["continue"] = token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    if form is not None:
        table = form.many(resource, (shown(resource, item) for item in page), metadata)
        return Response(status=200, body=encode(table) + b"\n")
    head = encode({"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata})
    bodies = b",".join(shown_body(resource, item) for item in page)
    return Response(status=200, body=head[:-1] + b',"items":[' + bodies + b"]}\n")


def _state(
    store: Store, resource: Resource, query: Mapping[str, str], limit: int, selection: Selection
) -> tuple[list[Stored], int]:
    """The objects a list is about, and the revision it is of."""
    start = ""
    version, current = version_of(query), store.revision
    if query.get("continue"):
        if version:
            raise bad_request("specifying resource version is not allowed when using continue")
        version, start = _read_token(query["continue"])
        exact = version >= 0
    else:
        # Without a match, a limit makes any version but "0" exact: the oldest paging clients rely on it.
        match = query.get("resourceVersionMatch", "")
        exact = bool(version) and (match == "Exact" or (not match and limit > 0))
    if version is not None and version > current:
        raise too_large_version(version, current)
    revision = version if exact and version is not None else current
    try:
        items = store.items_at(resource.stored_as, selection.namespace, revision)
    except Compacted:
        if start:
            raise expired(_CONTINUE_TOO_OLD, resume=_write_token(-1, start)) from None
        raise expired(_TOO_OLD) from None
    if start:
        items = [item for item in items if f"{item.key[0]}/{item.key[1]}\0" > start]
    return [
        item for item in items if not selection.selects or selection.matches(shown(resource, item))
    ], revision


def _token(revision: int, last: Stored) -> str:
    return _write_token(revision, f"{last.key[0]}/{last.key[1]}\0")


def _write_token(revision: int, start: str) -> str:
    said = encode({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(said).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    """Revision and start of a continue token; revision -1 means "what there is now"."""
    try:
        said = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        version, revision, start = said["v"], said["rv"], said["start"]
    except (binascii.Error, ValueError, TypeError, LookupError) as exc:
        raise bad_request(f"invalid continue token: continue key is not valid: {exc}") from exc
    if version != "meta.k8s.io/v1" or not isinstance(revision, int) or not isinstance(start, str):
        raise _unknown_token()
    return revision, start


def _unknown_token() -> StatusError:
    return bad_request(
        "invalid continue token: continue key is not valid: server does not recognize this encoded version"
    )
