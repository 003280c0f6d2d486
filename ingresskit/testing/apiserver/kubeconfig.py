"""Kubeconfig files for one server."""

from __future__ import annotations

import base64
import json
from pathlib import Path

__all__ = ["write_kubeconfig"]


def write_kubeconfig(path: Path, *, url: str, ca: bytes, token: str, namespace: str = "default") -> Path:
    """Write a kubeconfig with one context, readable by its owner only, and return its path.

    JSON is YAML, so any client reads it.
    """
    cluster: dict[str, object] = {"server": url}
    if ca:
        cluster["certificate-authority-data"] = base64.b64encode(ca).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return path
