"""From the bytes of a manifest to objects, document by document."""

from __future__ import annotations

import collections
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, cast

from ingresskit.errors import DecodeError
from ingresskit.models import KINDS, KubeObject, decode_any

__all__ = ["NAMESPACED", "Chunk", "Document", "Piece", "read_json", "read_yaml", "split_documents"]

DEFAULT_NAMESPACE = "default"

NAMESPACED = {kind.kind: kind.namespaced for kind in KINDS}
"""For each kind that is read, whether its objects live in namespaces."""
# Only at the start of a line, and there even inside a block of text: YAML 1.1, section 9.1.
_MARKER = re.compile(rb"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
# Blank lines, comments, and directives such as %YAML 1.1.
_NOTHING = re.compile(rb"(?:[ \t\r]*+(?:#[^\n]*+)?(?:\n|\Z)|%[^\n]*+(?:\n|\Z))*+")
_MOST_LIST_LEVELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The text of one YAML document.

    Attributes:
        number: Which document of the file, from 1.
        line: The line of the file that it begins on, from 1.
        text: From its ``---`` on.
    """

    number: int
    line: int
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One object of a document, or what is wrong with it.

    Attributes:
        item: Where in the document, ``"items[3]"``; empty when it is the whole document.
        line: The line at fault, from 0 at the start of the document; ``None`` when unknown.
        found: The object; or the fault, without a location, whose kind is ``"File"`` when it is not
            known which object is meant.
    """

    item: str = ""
    line: int | None = None
    found: KubeObject | DecodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What one document holds.

    Attributes:
        pieces: In the order written.
        ignored: How many objects more it holds, of kinds that are not read.
    """

    pieces: tuple[Piece, ...] = ()
    ignored: int = 0


def split_documents(text: bytes) -> Iterator[Chunk]:
    """The YAML documents of a file, in order, less those that are only blank lines and comments."""
    number, start, line, counted = 0, 0, 1, 0
    markers = ((found.start(), found.end()) for found in _MARKER.finditer(text))
    for end, after in itertools.chain(markers, [(len(text), len(text))]):
        part = text[start:end]
        line += text.count(b"\n", counted, start)
        counted = start
        # Without a marker, comments and directives before the first document are no document.
        if part.startswith(b"---") or not _NOTHING.fullmatch(part):
            number += 1
            yield Chunk(number=number, line=line, text=part)
        start = after if text[end:after] == b"..." else end


def read_yaml(text: bytes) -> Document:
    """The objects in the text of one YAML document; what is wrong is part of the result, never raised."""
    try:
        from ingresskit.sources.files_yaml import YamlFault, load_yaml
    except ImportError:
        fault = _file_fault("is YAML, which needs PyYAML: pip install 'ingresskit[files]'")
        return Document(pieces=(Piece(found=fault),))
    try:
        trees = load_yaml(text)
    except YamlFault as exc:
        return Document(pieces=(Piece(line=exc.line, found=_file_fault(str(exc))),))
    return _document(trees)


def read_json(text: str) -> Document:
    """The objects in a JSON file; what is wrong is part of the result, never raised."""
    try:
        tree = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        fault = _file_fault(f"is not JSON: {exc.msg} at column {exc.colno}")
        return Document(pieces=(Piece(line=exc.lineno - 1, found=fault),))
    except RecursionError:
        return Document(pieces=(Piece(found=_file_fault("is nested too deep")),))
    except ValueError as exc:
        return Document(pieces=(Piece(found=_file_fault(f"is not JSON: {exc}")),))
    return _document([tree])


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = collections.Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"it has the key {twice[:60]!a} twice in one map")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _document(trees: list[object]) -> Document:
    pieces: list[Piece] = []
    ignored = 0
    for tree in trees:
        if tree is None:
            continue
        for item, entry in _entries(tree, "", 0):
            if isinstance(entry, DecodeError):
                pieces.append(Piece(item=item, found=entry))
                continue
            try:
                found = decode_any(_placed(entry))
            except DecodeError as exc:
                pieces.append(Piece(item=item, found=_copied(exc)))
                continue
            if found is None:
                ignored += 1
            else:
                pieces.append(Piece(item=item, found=found))
    return Document(pieces=tuple(pieces), ignored=ignored)


def _entries(tree: object, place: str, level: int) -> Iterator[tuple[str, Mapping[str, object] | DecodeError]]:
    """The objects in a document: itself, or the items of the ``List`` or ``IngressList`` that it is."""
    if not isinstance(tree, dict):
        yield place, _file_fault("must be a map with apiVersion, kind and metadata")
        return
    entry = cast("dict[str, object]", tree)
    kind = entry.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List") or "items" not in entry:
        yield place, entry
        return
    items = entry["items"]
    if items is None:
        return
    where = f"{place}.items" if place else "items"
    if not isinstance(items, list):
        yield where, _file_fault("must be a list")
        return
    if level == _MOST_LIST_LEVELS:
        yield where, _file_fault("has lists inside lists inside lists")
        return
    # The items of a typed list may leave out what the list says already.
    inherited = {} if kind == "List" else {"apiVersion": entry.get("apiVersion"), "kind": kind[:-4]}
    for number, item in enumerate(cast("list[object]", items)):
        if isinstance(item, dict):
            item = {**inherited, **cast("dict[str, object]", item)}
        yield from _entries(item, f"{where}[{number}]", level + 1)


def _placed(entry: Mapping[str, object]) -> Mapping[str, object]:
    """The object with the namespace that kubectl would put it into; of a kind not read, as it is."""
    kind, metadata = entry.get("kind"), entry.get("metadata")
    namespaced = NAMESPACED.get(kind) if isinstance(kind, str) else None
    if namespaced is None or not isinstance(metadata, dict):
        return entry
    meta = cast("dict[str, object]", metadata)
    stated = meta.get("namespace")
    if namespaced and stated in (None, ""):
        return {**entry, "metadata": {**meta, "namespace": DEFAULT_NAMESPACE}}
    if not namespaced and stated is not None:
        return {**entry, "metadata": {key: value for key, value in meta.items() if key != "namespace"}}
    return entry


def _file_fault(reason: str) -> DecodeError:
    return DecodeError(kind="File", namespace="", name="", field="", reason=reason)


def _copied(exc: DecodeError) -> DecodeError:
    """The same fault without the traceback, whose frames would keep the document alive."""
    return DecodeError(
        kind=exc.kind, namespace=exc.namespace, name=exc.name, field=exc.field, reason=exc.reason
    )
