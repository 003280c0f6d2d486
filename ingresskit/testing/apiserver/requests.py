"""Requests as the API understands them: what is asked of which resource."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote

from ingresskit.testing.apiserver.auth import Attributes

__all__ = ["Asked", "Request", "Response", "parse_target"]

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTIVE = ("list", "watch", "deletecollection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request.

    Attributes:
        method: ``"GET"``.
        target: The path with the query, as sent.
        headers: By lower-case name; of a repeated header the last.
        body: The whole body.
        certificate_user: Whom a client certificate names; empty without one.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    certificate_user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP response with a whole body."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks for.

    Attributes:
        verb: As RBAC has it: ``get``, ``list``, ``watch``, ``create``, ``update``, ``patch``, ``delete``,
            ``deletecollection``; in lower case the HTTP method, for paths that are no resource.
        path: The path without the query, escapes resolved.
        query: The parameters; of a repeated one the first.
        group: The API group.
        version: The version of the group.
        resource: ``"ingresses"``; empty for a path that is no resource.
        subresource: ``"status"``, or empty.
        namespace: Empty for cluster-wide objects and across namespaces.
        name: Empty for collections.
    """

    verb: str
    path: str
    query: Mapping[str, str]
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    def attributes(self, user: str) -> Attributes:
        """What is asked, as authorisation sees it."""
        return Attributes(
            user=user,
            verb=self.verb,
            group=self.group,
            resource=self.resource,
            subresource=self.subresource,
            namespace=self.namespace,
            name=self.name or (_selected_name(self.query) if self.verb in _COLLECTIVE else ""),
            path=self.path,
        )


def parse_target(method: str, target: str) -> Asked:
    """What a request line asks for."""
    raw_path, _, raw_query = target.partition("?")
    query: dict[str, str] = {}
    for key, value in parse_qsl(raw_query, keep_blank_values=True):
        query.setdefault(key, value)
    path = unquote(raw_path)
    steps = [unquote(step) for step in raw_path.split("/") if step]
    plain = Asked(verb=method.lower(), path=path, query=query)
    if len(steps) >= 3 and steps[0] == "api":
        asked = replace(plain, version=steps[1])
        rest = steps[2:]
    elif len(steps) >= 4 and steps[0] == "apis":
        asked = replace(plain, group=steps[1], version=steps[2])
        rest = steps[3:]
    else:
        return plain
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        asked = replace(asked, namespace=rest[1])
        rest = rest[2:]
    elif rest[0] == "namespaces" and len(rest) > 1:
        # A namespace is inside itself, for rules that are limited to it.
        asked = replace(asked, namespace=rest[1])
    if len(rest) > 3:
        return plain
    rest += [""] * (3 - len(rest))
    asked = replace(
        asked, resource=rest[0], name=rest[1], subresource=rest[2], verb=_VERBS.get(method, method.lower())
    )
    return _collection_verb(asked)


def _collection_verb(asked: Asked) -> Asked:
    watching = asked.query.get("watch", "") in ("1", "t", "T", "true", "True", "TRUE")
    if asked.verb == "get" and watching and not asked.name:
        return replace(asked, verb="watch")
    if asked.verb == "get" and not asked.name:
        asked = replace(asked, verb="list")
    elif asked.verb == "delete" and not asked.name:
        asked = replace(asked, verb="deletecollection")
    return asked


def _selected_name(query: Mapping[str, str]) -> str:
    """The name a field selector asks for: the real authoriser judges such a list as a request for it."""
    for term in query.get("fieldSelector", "").split(","):
        key, equals, value = term.partition("=")
        if key == "metadata.name" and equals:
            return value.removeprefix("=")
    return ""
