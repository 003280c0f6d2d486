"""The flags that ingress-nginx is run with, found in its Deployment or DaemonSet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from ingresskit.errors import SourceError
from ingresskit.migrate import ControllerFlags, read_flags

__all__ = ["controller_flags", "workload_flags"]

_KINDS = ("Deployment", "DaemonSet", "StatefulSet")
_SUFFIXES = (".yaml", ".yml", ".json")
_PROGRAM = "nginx-ingress-controller"


def controller_flags(folder: Path) -> ControllerFlags:
    """Those of the first workload under *folder* that runs ingress-nginx; defaults where there is none.

    Raises:
        SourceError: The folder cannot be read.
    """
    try:
        files = sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
        for path in files:
            for workload in _workloads(path):
                found = workload_flags(workload)
                if found is not None:
                    return found
    except OSError as exc:
        raise SourceError(f"{exc.filename}: {exc.strerror}") from None
    return ControllerFlags()


def _workloads(path: Path) -> Iterator[dict[str, object]]:
    """Workloads of a file. What is not a manifest is reported by the source of the objects."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if not any(kind in text for kind in _KINDS):
        return
    for document in _documents(path, text):
        items = document.get("items")
        for item in cast("list[object]", items) if isinstance(items, list) else [document]:
            if isinstance(item, dict) and cast("dict[str, object]", item).get("kind") in _KINDS:
                yield cast("dict[str, object]", item)


def _documents(path: Path, text: str) -> Iterator[dict[str, object]]:
    if path.suffix == ".json":
        try:
            trees: list[object] = [json.loads(text)]
        except (ValueError, RecursionError):
            return
    else:
        import yaml

        try:
            trees = list(yaml.safe_load_all(text))
        except (yaml.YAMLError, RecursionError, ValueError):
            return
    for tree in trees:
        if isinstance(tree, dict):
            yield cast("dict[str, object]", tree)


def workload_flags(workload: dict[str, object]) -> ControllerFlags | None:
    """The flags of the container that runs ingress-nginx; ``None`` without one."""
    namespace = _text(_at(workload, "metadata", "namespace")) or "default"
    containers = _at(workload, "spec", "template", "spec", "containers")
    for container in cast("list[object]", containers) if isinstance(containers, list) else []:
        words = [*_words(_at(container, "command")), *_words(_at(container, "args"))]
        image = _text(_at(container, "image"))
        if any(_PROGRAM in word for word in words) or "ingress-nginx/controller" in image:
            return read_flags(words, namespace)
    return None


def _at(tree: object, *names: str) -> object:
    for name in names:
        tree = cast("dict[str, object]", tree).get(name) if isinstance(tree, dict) else None
    return tree


def _words(tree: object) -> list[str]:
    return [str(word) for word in cast("list[object]", tree)] if isinstance(tree, list) else []


def _text(tree: object) -> str:
    return tree if isinstance(tree, str) else ""
