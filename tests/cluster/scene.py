"""Objects that conversations are about."""

from __future__ import annotations

from ingresskit.testing.apiserver import Manifest

__all__ = [
    "CONFIGS",
    "EMPTY",
    "INGRESSES",
    "SECRETS",
    "SERVICES",
    "SLICES",
    "backend",
    "config",
    "ingress",
    "one_path",
    "service",
]

CONFIGS = "/api/v1/namespaces/{ns}/configmaps"
SECRETS = "/api/v1/namespaces/{ns}/secrets"
SERVICES = "/api/v1/namespaces/{ns}/services"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices"


EMPTY: Manifest = {}


def config(name: str, data: object = None, **metadata: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {}}


def backend(name: str = "web", **port: object) -> Manifest:
    return {"service": {"name": name, "port": port or {"number": 80}}}


def one_path(path: object = "/", path_type: object = "Prefix", to: object = None) -> Manifest:
    return {"path": path, "pathType": path_type, "backend": backend() if to is None else to}


def ingress(name: str = "web", *, spec: object = None, **metadata: object) -> Manifest:
    rules = [{"host": "a.example", "http": {"paths": [one_path()]}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, **metadata},
        "spec": {"rules": rules} if spec is None else spec,
    }


def service(name: str = "web", *, spec: object = None, **metadata: object) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, **metadata},
        "spec": {"ports": [{"port": 80}]} if spec is None else spec,
    }
