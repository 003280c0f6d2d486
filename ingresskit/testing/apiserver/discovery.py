"""What clients ask before they ask for objects: versions, resources, health, and a little OpenAPI.

The OpenAPI documents name the paths and the query parameters of writes, no schemas: kubectl looks there
whether the server validates fields itself, and then does not try to.
"""

from __future__ import annotations

from ingresskit.testing.apiserver.manifests import Manifest, encode
from ingresskit.testing.apiserver.registry import Registry, Resource
from ingresskit.testing.apiserver.requests import Response
from ingresskit.testing.apiserver.statuses import method_not_allowed, page_not_found

__all__ = ["Discovery"]

_HEALTH = ("/healthz", "/livez", "/readyz")


class Discovery:
    """The answers to requests for paths that are no resource.

    Args:
        registry: Which resources there are.
        git_version: The version the server says it has, ``"v1.36.3"``.
    """

    def __init__(self, registry: Registry, git_version: str) -> None:
        self._registry = registry
        major, minor, _ = git_version.removeprefix("v").split(".", 2)
        self._version: Manifest = {
            "major": major,
            "minor": minor,
            "gitVersion": git_version,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "",
            "platform": "",
        }

    def answer(self, method: str, path: str) -> Response:
        """The answer to a request for *path*.

        Raises:
            StatusError: 405, it is not a GET for something that is there.
        """
        found = self._find(path.rstrip("/") or "/")
        if found is None:
            return Response(status=404, body=b"404 page not found\n", content_type="text/plain; charset=utf-8")
        if method not in ("GET", "HEAD"):
            raise method_not_allowed()
        if isinstance(found, str):
            return Response(status=200, body=found.encode(), content_type="text/plain; charset=utf-8")
        return Response(status=200, body=encode(found) + b"\n")

    def _find(self, path: str) -> Manifest | str | None:
        root, _, check = path[1:].partition("/")
        if f"/{root}" in _HEALTH and check in ("", "ping", "etcd", "log"):
            return "ok"
        match path.split("/")[1:]:
            case ["version"]:
                return self._version
            case [""]:
                return {"paths": ["/api", "/apis", *_HEALTH, "/openapi/v3", "/version"]}
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
            case ["apis"]:
                groups = [self._group(group) for group in self._registry.versions() if group]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["apis", group] if group in self._registry.versions():
                return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}
            case ["api", version]:
                return self._resources("", version)
            case ["apis", group, version] if group in self._registry.versions():
                return self._resources(group, version)
            case ["openapi", "v3"]:
                return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in self._roots()}}
            case ["openapi", "v3", *rest] if "/".join(rest) in self._roots():
                return self._openapi(*self._roots()["/".join(rest)])
            case _:
                return None

    def _roots(self) -> dict[str, tuple[str, str]]:
        return {
            f"apis/{group}/{version}" if group else f"api/{version}": (group, version)
            for group, versions in self._registry.versions().items()
            for version in versions
        }

    def _group(self, group: str) -> Manifest:
        versions = [
            {"groupVersion": f"{group}/{version}", "version": version}
            for version in self._registry.versions()[group]
        ]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _resources(self, group: str, version: str) -> Manifest:
        found = self._registry.within(group, version)
        if not found:
            raise page_not_found()
        entries: list[Manifest] = []
        for resource in found:
            entries.append(_entry(resource))
            if resource.has_status:
                verbs = ["get", "patch", "update"]
                entries.append(
                    {
                        "name": f"{resource.plural}/status",
                        "singularName": "",
                        "namespaced": resource.namespaced,
                        "kind": resource.kind,
                        "verbs": verbs,
                    }
                )
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": found[0].api_version,
            "resources": entries,
        }

    def _openapi(self, group: str, version: str) -> Manifest:
        parameters = [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in ("dryRun", "fieldManager", "fieldValidation")
        ]
        paths: Manifest = {}
        for resource in self._registry.within(group, version):
            kind = {"group": group, "version": version, "kind": resource.kind}
            operation = {"parameters": parameters, "responses": {}, "x-kubernetes-group-version-kind": kind}
            place = resource.path("{namespace}", "{name}")
            paths[place] = {"put": operation, "patch": operation}
            paths[resource.path("{namespace}")] = {"post": operation}
        return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "test"}, "paths": paths}


def _entry(resource: Resource) -> Manifest:
    entry: Manifest = {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return entry
