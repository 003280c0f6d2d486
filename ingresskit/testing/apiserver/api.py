"""The API without a network: a request in, a response or a watch out.

Everything here is plain function calls under the lock of the store, so that tests and the server's own
Python face can use it from any thread, and one request is never half done when another is looked at.
"""

from __future__ import annotations

from dataclasses import replace

from ingresskit.testing.apiserver.auth import Attributes, Users
from ingresskit.testing.apiserver.bodies import (
    body_of,
    check_accept,
    delete_options,
    options_of,
    parse,
    review_of,
)
from ingresskit.testing.apiserver.deletes import Deletes, Options
from ingresskit.testing.apiserver.discovery import Discovery
from ingresskit.testing.apiserver.manifests import Manifest, encode, mapping_of
from ingresskit.testing.apiserver.names import forbidden, quoted
from ingresskit.testing.apiserver.reads import get, list_objects, selection_of, shown, shown_body
from ingresskit.testing.apiserver.registry import Registry, Resource
from ingresskit.testing.apiserver.requests import Asked, Request, Response
from ingresskit.testing.apiserver.statuses import (
    StatusError,
    invalid,
    method_not_allowed,
    page_not_found,
)
from ingresskit.testing.apiserver.store import Store, Stored
from ingresskit.testing.apiserver.tables import form_of
from ingresskit.testing.apiserver.watch import WatchSession
from ingresskit.testing.apiserver.writes import PATCH_TYPES, Writes

__all__ = ["Api", "refusal"]

_SELF_REVIEWS = {
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
}


def refusal(error: StatusError) -> Response:
    """The response that says *error*."""
    headers = (("Retry-After", str(error.retry_after)),) if error.retry_after is not None else ()
    return Response(status=error.code, body=encode(error.manifest()) + b"\n", headers=headers)


class Api:
    """One API server's answers.

    Args:
        store: Where objects are.
        registry: Which resources there are.
        users: Who may do what.
        finalize_namespaces: Whether namespaces that are deleted are emptied and removed.
        git_version: The version it says it has.
        watch_list: Whether ``sendInitialEvents`` is understood. May be changed at any time.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        users: Users,
        *,
        finalize_namespaces: bool,
        git_version: str,
        watch_list: bool,
    ) -> None:
        self.watch_list = watch_list
        self.deletes: Deletes = Deletes(store, registry, finalize_namespaces=finalize_namespaces)
        self.writes: Writes = Writes(store, registry, self.deletes)
        self._store = store
        self._registry = registry
        self._users = users
        self._discovery = Discovery(registry, git_version)

    def handle(self, request: Request, asked: Asked, user: str) -> Response | WatchSession:
        """Do what *user* asks for.

        Raises:
            StatusError: It is refused.
        """
        self._users.check(asked.attributes(user))
        if not asked.resource:
            return self._discovery.answer(request.method, asked.path)
        if (asked.group, asked.resource) in _SELF_REVIEWS:
            return self._review(request, asked, user)
        resource = self._registry.find(asked.group, asked.version, asked.resource)
        if request.method == "HEAD":
            raise method_not_allowed()
        if resource is None:
            if asked.group not in self._registry.versions():
                return Response(
                    status=404, body=b"404 page not found\n", content_type="text/plain; charset=utf-8"
                )
            raise page_not_found()
        check_accept(request.headers.get("accept", ""))
        if not resource.namespaced and asked.namespace and asked.resource != "namespaces":
            raise page_not_found()
        answer = self._asked_of(resource, request, asked)
        if resource.deprecated and isinstance(answer, Response):
            told = ("Warning", f"299 - {quoted(resource.deprecated)}")
            return replace(answer, headers=(*answer.headers, told))
        return answer

    def _asked_of(self, resource: Resource, request: Request, asked: Asked) -> Response | WatchSession:
        form = form_of(request.headers.get("accept", ""), asked.query.get("includeObject", ""))
        if asked.subresource:
            return self._subresource(request, asked, resource)
        match asked.verb, bool(asked.name):
            case "get", True if asked.namespace or not resource.namespaced:
                return get(self._store, resource, asked, form)
            case "list", False:
                return list_objects(self._store, resource, asked, form)
            case "watch", _:
                return WatchSession(self._store, resource, asked, watch_list=self.watch_list, form=form)
            case "create", False if asked.namespace or not resource.namespaced:
                return self._create(request, asked, resource)
            case ("update" | "patch") as verb, True if asked.namespace or not resource.namespaced:
                return self._change(request, asked, resource, verb)
            case "delete", True:
                return self._delete(request, asked, resource)
            case "get", True:
                raise page_not_found()
            case "deletecollection", False if asked.namespace or not resource.namespaced:
                return self._delete_all(request, asked, resource)
            case _:
                raise method_not_allowed()

    def _subresource(self, request: Request, asked: Asked, resource: Resource) -> Response:
        known = asked.subresource == "status" and resource.has_status
        if not known and (resource.kind, asked.subresource) != ("Namespace", "finalize"):
            raise page_not_found()
        if asked.verb == "get" and known:
            return get(self._store, resource, asked)
        if asked.verb in ("update", "patch"):
            return self._change(request, asked, resource, asked.verb)
        raise method_not_allowed()

    def _create(self, request: Request, asked: Asked, resource: Resource) -> Response:
        options = options_of(request, asked)
        manifest = body_of(request, resource, options)
        stored = self.writes.create(resource, _namespace(asked, resource), manifest, options)
        return self._answer(resource, stored, options, created=True)

    def _change(self, request: Request, asked: Asked, resource: Resource, verb: str) -> Response:
        options = options_of(request, asked)
        namespace = _namespace(asked, resource)
        if verb == "update":
            manifest = body_of(request, resource, options)
            stored, created = self.writes.update(resource, namespace, asked.name, manifest, options)
        else:
            kind = request.headers.get("content-type", "").partition(";")[0].strip()
            if kind not in PATCH_TYPES:
                raise StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
            if options.force and not kind.startswith("application/apply-patch"):
                fault = forbidden("force", "may not be specified for non-apply patch")
                raise invalid("meta.k8s.io", "PatchOptions", "", [fault])
            patch = parse(request.body, yaml=kind.endswith("yaml"), kind=resource.kind)
            stored, created = self.writes.patch(resource, namespace, asked.name, kind, patch, options)
        return self._answer(resource, stored, options, created=created)

    def _delete(self, request: Request, asked: Asked, resource: Resource) -> Response:
        wanted = delete_options(request, asked)
        options = options_of(request, asked, dry=bool(wanted.get("dryRun")))
        preconditions = mapping_of(wanted.get("preconditions"))
        namespace = _namespace(asked, resource)
        stored, gone = self.deletes.delete(resource, namespace, asked.name, options, preconditions)
        if not gone or resource.returns_deleted:
            return self._answer(resource, stored, options, created=False)
        details: Manifest = {"name": asked.name, "group": resource.group, "kind": resource.plural}
        details["uid"] = stored.manifest["metadata"]["uid"]
        said: Manifest = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        body = {**said, "details": {key: value for key, value in details.items() if value}}
        return Response(status=200, body=encode(body) + b"\n")

    def _delete_all(self, request: Request, asked: Asked, resource: Resource) -> Response:
        if resource.kind == "Namespace":
            raise method_not_allowed()
        options = options_of(request, asked)
        selection = selection_of(resource, asked)
        with self._store.lock:
            found = [
                item
                for item in self._store.items(resource.stored_as, selection.namespace)
                if selection.matches(shown(resource, item))
            ]
            # Those that are gone are shown as they were found, those that are held as they are marked.
            ended = [(item, self.deletes.delete(resource, *item.key, options)) for item in found]
            gone = [item if over else marked for item, (marked, over) in ended]
            metadata = {"resourceVersion": str(self._store.revision)}
        head = encode(
            {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata}
        )
        items = b",".join(shown_body(resource, item) for item in gone)
        return Response(status=200, body=head[:-1] + b',"items":[' + items + b"]}\n")

    def _answer(self, resource: Resource, stored: Stored, options: Options, *, created: bool) -> Response:
        body = resource.full(shown_body(resource, stored)) + b"\n"
        told = tuple(("Warning", f"299 - {quoted(text)}") for text in options.warnings)
        return Response(status=201 if created else 200, body=body, headers=told)

    def _review(self, request: Request, asked: Asked, user: str) -> Response:
        """What users ask about themselves: ``kubectl auth can-i`` and ``kubectl auth whoami``."""
        if asked.verb != "create":
            raise method_not_allowed()
        review = review_of(request)
        spec = mapping_of(review.get("spec"))
        if asked.resource == "selfsubjectreviews":
            status: Manifest = {"userInfo": {"username": user, "groups": ["system:authenticated"]}}
        elif asked.resource == "selfsubjectaccessreviews":
            wanted, path = (
                mapping_of(spec.get("resourceAttributes")),
                mapping_of(spec.get("nonResourceAttributes")),
            )
            status = {
                "allowed": self._users.allows(
                    Attributes(
                        user=user,
                        verb=str((wanted or path).get("verb", "")),
                        group=str(wanted.get("group", "")),
                        resource=str(wanted.get("resource", "")),
                        subresource=str(wanted.get("subresource", "")),
                        namespace=str(wanted.get("namespace", "")),
                        name=str(wanted.get("name", "")),
                        path=str(path.get("path", "")),
                    )
                )
            }
        else:
            rules = [rule for rule in self._users.rules(user) if rule.resources]
            status = {
                "resourceRules": [
                    {
                        "verbs": list(rule.verbs),
                        "apiGroups": list(rule.groups),
                        "resources": list(rule.resources),
                    }
                    for rule in rules
                ],
                "nonResourceRules": [],
                "incomplete": False,
            }
        return Response(status=201, body=encode({**review, "metadata": {}, "status": status}) + b"\n")


def _namespace(asked: Asked, resource: Resource) -> str:
    return asked.namespace if resource.namespaced else ""
