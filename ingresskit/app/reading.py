"""Manifests from several folders and files and the standard input, read once, with what is assumed of them."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from ingresskit.errors import DecodeError, SourceError
from ingresskit.models import (
    Endpoints,
    EndpointSlice,
    Ingress,
    IngressClass,
    KubeObject,
    ObjectKey,
    ObjectRef,
    Service,
    Snapshot,
)
from ingresskit.models.ingress import IngressClassSpec
from ingresskit.models.meta import ObjectMeta
from ingresskit.models.service import EndpointPort, SliceEndpoint
from ingresskit.sources import FileSource
from ingresskit.translate import TranslateOptions

__all__ = ["Assumptions", "Manifests", "read_manifests"]

_STDIN = "-"
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_SERVICE_NAME_LABEL = "kubernetes.io/service-name"
# Of a range that nothing is reached in: RFC 5737 has addresses for documentation, which a destination policy
# may refuse; the pods of a cluster usually have such ones.
_ASSUMED_ADDRESS = "10.255.255.254"
_ASSUMED_PORT = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What a cluster would have that is not among the manifests.

    Attributes:
        classes: Names of classes that are taken to be ours.
        endpoints: Whether every Service without endpoints is taken to have one.
    """

    classes: tuple[str, ...] = ()
    endpoints: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What was read.

    Attributes:
        snapshot: The objects, those that are assumed included.
        notes: What was assumed, and which objects stand in two places, a sentence each.
        files: For each object, the path of its file; ``stdin`` for the standard input.
        places: For each object, where it was read: ``"web.yaml, document 2"``.
    """

    snapshot: Snapshot
    notes: tuple[str, ...]
    files: Mapping[ObjectRef, str]
    places: Mapping[ObjectRef, str]


class _Read:
    """Gathers objects; of two of the same name the first counts."""

    def __init__(self) -> None:
        self.objects: dict[type[KubeObject], dict[ObjectKey, KubeObject]] = {}
        self.problems: list[DecodeError] = []
        self.notes: list[str] = []
        self.files: dict[ObjectRef, str] = {}
        self.places: dict[ObjectRef, str] = {}
        self.documents = 0

    def add(self, shown: str, path: Path) -> None:
        source = FileSource(path)
        snapshot = anyio.run(first_snapshot, source)
        self.documents += source.statistics()["documents"]
        # The standard input is read from a file for the moment, which means nothing to anybody.
        hidden = str(path) if shown == _STDIN else ""
        for problem in snapshot.problems:
            place = _named(problem.location, hidden)
            self.problems.append(_moved(problem, place, hidden))
            ref = ObjectRef(problem.kind, ObjectKey(problem.namespace, _named(problem.name, hidden)))
            self.files.setdefault(ref, _file(place))
        for kind, held in snapshot.objects.items():
            mine = self.objects.setdefault(kind, {})
            for key, item in held.items():
                ref = ObjectRef(kind.kind, key)
                if key in mine:
                    self.notes.append(f"{ref} of {shown} is left out: {self.files.get(ref)} has it too")
                    continue
                mine[key] = item
                self.places[ref] = _named(source.location(ref) or shown, hidden)
                self.files[ref] = _file(self.places[ref])


def _named(text: str, hidden: str) -> str:
    return text.replace(hidden, "stdin") if hidden else text


def _moved(problem: DecodeError, place: str, hidden: str) -> DecodeError:
    if not hidden:
        return problem
    return DecodeError(
        kind=problem.kind,
        namespace=problem.namespace,
        name=_named(problem.name, hidden),
        field=problem.field,
        reason=problem.reason,
        location=place,
        cause=problem.cause,
    )


def _file(place: str) -> str:
    return place.rpartition(", document")[0] or place


def read_manifests(paths: Sequence[str], options: TranslateOptions, assume: Assumptions) -> Manifests:
    """Read *paths*, and add what is assumed.

    Args:
        paths: Folders and files; ``-`` is the standard input, which is YAML or JSON.
        options: Whose names of controller and class the assumed classes get.
        assume: What is assumed.

    Raises:
        SourceError: A path cannot be read, or there is not a single document in any of them.
    """
    read = _Read()
    for shown in paths:
        if shown == _STDIN:
            with tempfile.TemporaryDirectory(prefix="ingresskit-") as folder:
                text = sys.stdin.buffer.read()
                path = Path(folder) / ("stdin.json" if _is_json(text) else "stdin.yaml")
                path.write_bytes(text)
                read.add(shown, path)
        else:
            read.add(shown, Path(shown))
    if not read.documents and not read.problems:
        where = " and ".join("the standard input" if path == _STDIN else path for path in paths)
        raise SourceError(f"there are no manifests in {where}: files called .yaml, .yml or .json are read")
    if assume.classes:
        _assume_classes(read, options, assume.classes)
    if assume.endpoints:
        _assume_endpoints(read)
    snapshot = Snapshot(objects=read.objects, revision=1, problems=tuple(sorted(read.problems, key=str)))
    return Manifests(snapshot=snapshot, notes=tuple(read.notes), files=read.files, places=read.places)


def _is_json(text: bytes) -> bool:
    """Whether it is JSON, which is not always YAML: tabs may stand in it."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _assume_classes(read: _Read, options: TranslateOptions, names: Sequence[str]) -> None:
    classes = read.objects.setdefault(IngressClass, {})
    for name in names:
        spec = IngressClassSpec(controller=options.controller_name)
        classes[ObjectKey("", name)] = IngressClass(metadata=ObjectMeta(name=name), spec=spec)
    ingresses = read.objects.get(Ingress, {})
    for key, item in ingresses.items():
        annotations = item.metadata.annotations
        if annotations.get(_CLASS_ANNOTATION) in names:
            ours = {**annotations, _CLASS_ANNOTATION: options.ingress_class}
            ingresses[key] = replace(item, metadata=replace(item.metadata, annotations=ours))
    read.notes.append(f"taken to be ours: the class {', '.join(names)}")


def _assume_endpoints(read: _Read) -> None:
    slices = read.objects.setdefault(EndpointSlice, {})
    held = {item.service for item in slices.values() if isinstance(item, EndpointSlice)}
    held |= set(read.objects.get(Endpoints, {}))
    count = 0
    for key, service in read.objects.get(Service, {}).items():
        if not isinstance(service, Service) or key in held or service.spec.type == "ExternalName":
            continue
        ports = tuple(EndpointPort(name=port.name, port=_ASSUMED_PORT) for port in service.spec.ports)
        slices[ObjectKey(key.namespace, key.name)] = EndpointSlice(
            metadata=ObjectMeta(name=key.name, namespace=key.namespace, labels={_SERVICE_NAME_LABEL: key.name}),
            endpoints=(SliceEndpoint(addresses=(_ASSUMED_ADDRESS,)),),
            ports=ports,
        )
        count += 1
    read.notes.append(f"taken to have an endpoint: {count} Services without one")


async def first_snapshot(source: FileSource) -> Snapshot:
    """What *source* reads first.

    Raises:
        SourceError: Its folder cannot be read.
    """
    failures: list[SourceError] = []
    async with anyio.create_task_group() as tasks:

        async def follow() -> None:
            try:
                await source.run()
            except SourceError as exc:  # kept out of the group, which would wrap it
                failures.append(exc)
                tasks.cancel_scope.cancel()

        tasks.start_soon(follow)
        await source.wait_changed(0)
        tasks.cancel_scope.cancel()
    if (snapshot := source.snapshot()) is None:
        raise failures[0] if failures else SourceError("the folder was not read")
    return snapshot
