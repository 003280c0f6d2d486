"""The manifests of ``examples/deploy`` as kubectl renders them: what is wrong with them, what they grant."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ingresskit.testing import pace
from ingresskit.testing.apiserver import ApiServer, Rule
from ingresskit.testing.apiserver.builtin import BUILTIN
from ingresskit.testing.apiserver.calls import call
from tests.features.reference_process import EXAMPLES

DEPLOY = EXAMPLES / "deploy"
OVERLAYS = sorted(path.name for path in (DEPLOY / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (DEPLOY / "components").iterdir())
ACCOUNT = "system:serviceaccount:ingresskit:ingresskit"

Manifest = Mapping[str, Any]

# The parts of an application's own schema that we use; its operator is not of Kubernetes.
_SERVICE_MONITOR: Mapping[str, frozenset[str]] = {
    "spec": frozenset({"selector", "endpoints"}),
    "endpoints": frozenset({"port", "path", "interval", "scheme"}),
}


def output(*command: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=pace.within(60), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(text: str) -> list[Manifest]:
    return [cast("Manifest", item) for item in yaml.safe_load_all(text) if item]


def kustomized(folder: Path) -> list[Manifest]:
    """What ``kubectl apply -k`` would apply."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl here, which renders these")
    return loaded(output("kubectl", "kustomize", folder))


def overlay(name: str, folder: Path, *components: str) -> list[Manifest]:
    """An overlay with components, which a kustomization in *folder* adds as a user's would."""
    if not components:
        return kustomized(DEPLOY / "overlays" / name)

    def relative(path: Path) -> str:
        return os.path.relpath(path, folder)

    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [relative(DEPLOY / "overlays" / name)],
        "components": [relative(DEPLOY / "components" / component) for component in components],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(content))
    return kustomized(folder)


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    return [item for item in manifests if item["kind"] in kinds]


def workload(manifests: Iterable[Manifest]) -> Manifest:
    (found,) = of_kind(manifests, "DaemonSet", "Deployment")
    return found


def pod_of(manifests: Iterable[Manifest]) -> Manifest:
    return cast("Manifest", workload(manifests)["spec"]["template"]["spec"])


def container_of(manifests: Iterable[Manifest]) -> Manifest:
    (found,) = pod_of(manifests)["containers"]
    return cast("Manifest", found)


def granted(manifests: Sequence[Manifest], *, account: str = "ingresskit") -> list[Rule]:
    """What the roles that are bound to the controller's account let it do, and where."""
    roles = {
        (role["kind"], role["metadata"].get("namespace"), role["metadata"]["name"]): role
        for role in of_kind(manifests, "Role", "ClusterRole")
    }
    found: list[Rule] = []
    for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding"):
        (subject,) = binding["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": account, "namespace": "ingresskit"}
        namespace = binding["metadata"].get("namespace")
        reference = binding["roleRef"]
        role = roles.pop(
            (reference["kind"], namespace if reference["kind"] == "Role" else None, reference["name"])
        )
        found += [
            Rule(
                verbs=rule["verbs"],
                groups=rule["apiGroups"],
                resources=rule["resources"],
                names=rule.get("resourceNames", ()),
                namespaces=[namespace] if namespace else [],
            )
            for rule in role["rules"]
        ]
    assert not roles, f"bound to nobody: {sorted(name for _, _, name in roles)}"
    return found


def refusal(server: ApiServer, manifest: Manifest) -> str:
    """Why a strict API server would not create this; empty: it did, or has no objection.

    What the embedded server does not know is compared with the models of the Kubernetes client, which are
    made from the API's own description.
    """
    metadata = manifest["metadata"]
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", metadata["name"]):
        return f"the name {metadata['name']}"
    resource = next(
        (it for it in BUILTIN if (it.api_version, it.kind) == (manifest["apiVersion"], manifest["kind"])),
        None,
    )
    if resource is None:
        return "; ".join(misfits(manifest))
    namespace = metadata.get("namespace", "")
    if bool(namespace) is not resource.namespaced:
        return f"{manifest['kind']} {metadata['name']} with namespace {namespace!r}"
    path = resource.path(namespace)
    answer = call(server, "POST", f"{path}?fieldValidation=Strict", dict(manifest))
    return "" if answer.status == 201 else str(answer.json["message"])


def misfits(manifest: Manifest) -> Iterator[str]:
    """Where an object does not have the form of its kind."""
    kind = manifest["kind"]
    if manifest["apiVersion"] == "monitoring.coreos.com/v1" and kind == "ServiceMonitor":
        yield from (f"spec.{key}" for key in manifest["spec"].keys() - _SERVICE_MONITOR["spec"])
        for endpoint in manifest["spec"]["endpoints"]:
            yield from (f"endpoints.{key}" for key in endpoint.keys() - _SERVICE_MONITOR["endpoints"])
        return
    group, _, version = manifest["apiVersion"].rpartition("/")
    expected = {"DaemonSet": "apps", "Deployment": "apps", "PodDisruptionBudget": "policy"}
    expected |= {"NetworkPolicy": "networking.k8s.io"}
    if (group, version) != (expected.get(kind), "v1"):
        yield f"{manifest['apiVersion']} has no {kind} that is known here"
        return
    yield from _misfits(manifest, f"V1{kind}", kind)


def _misfits(value: object, kind: str, path: str) -> Iterator[str]:
    if listed := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        if isinstance(value, list):
            for number, item in enumerate(cast("list[object]", value)):
                yield from _misfits(item, listed[1], f"{path}[{number}]")
        else:
            yield f"{path} is no list"
    elif mapped := re.fullmatch(r"[Dd]ict[\[(]str, (.+)[\])]", kind):
        if isinstance(value, dict):
            for key, item in cast("dict[str, object]", value).items():
                yield from _misfits(item, mapped[1], f"{path}.{key}")
        else:
            yield f"{path} is no mapping"
    elif kind in _PLAIN:
        if not isinstance(value, _PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{path} is no {kind}"
    else:
        model: Any = getattr(importlib.import_module("kubernetes.client"), kind)
        types = {model.attribute_map[name]: typed for name, typed in model.openapi_types.items()}
        if not isinstance(value, dict):
            yield f"{path} is no {kind}"
            return
        for key, item in cast("dict[str, object]", value).items():
            if key in types:
                yield from _misfits(item, types[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is unknown"


_PLAIN: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": (int, float),
    "object": (int, str, dict),
}
