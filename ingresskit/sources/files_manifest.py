"""One manifest over time: what it holds, and what is kept of it while it cannot be read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ingresskit.errors import DecodeError
from ingresskit.models import KubeObject, ObjectKey
from ingresskit.sources.files_documents import (
    NAMESPACED,
    Document,
    Piece,
    read_json,
    read_yaml,
    split_documents,
)
from ingresskit.sources.files_scan import Signature

__all__ = ["Manifest", "Placed"]

_MOST_DOCUMENTS = 100_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Placed:
    """An object and where it was read: ``"shop/web.yaml, document 2"``."""

    location: str
    item: KubeObject


class Manifest:
    """A file and the objects in it. Documents whose text did not change are not parsed again.

    Attributes:
        path: The file.
        order: Sorts manifests as the folder lists them.
        read: The signature of what was read; ``None`` when nothing could be yet.
        seen: The signature of a change that waits for the next look to confirm it.
        again: Whether to read it once more whatever its signature says.
        missing: Whether the last look did not find it.
        entries: The objects in force, in the order written; those kept from earlier come last.
        ignored: How many objects more it holds, of kinds that are not read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.order: tuple[str, ...] = Path(path).parts
        self.read: Signature | None = None
        self.seen: Signature | None = None
        self.again = False
        self.missing = False
        self.entries: tuple[Placed, ...] = ()
        self.documents: int = 0
        self.ignored: int = 0
        self._shown = shown_path(path)
        self._fault = ""
        self._problems: tuple[DecodeError, ...] = ()
        self._cache: dict[bytes, Document] = {}

    @property
    def problems(self) -> tuple[DecodeError, ...]:
        """What is wrong with the file as a whole, else with its documents; empty when all is well."""
        return (file_problem(self.path, self._fault),) if self._fault else self._problems

    def refuse(self, fault: str) -> bool:
        """Keep what is held because the file has that fault.

        Returns:
            Whether that is news.
        """
        news = fault != self._fault
        self._fault = fault
        return news

    def take(self, data: bytes) -> bool:
        """Hold what is written in the file, and of what cannot be read, its last good form.

        Returns:
            Whether anything changed.
        """
        if not data.strip() and self.entries:
            # Programs that write a file in place empty it first, and may take their time.
            return self.refuse("is empty; delete it to drop the objects that it held")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            line = data.count(b"\n", 0, exc.start) + 1
            return self.refuse(f"is not UTF-8 text: line {line} holds other bytes")
        documents: list[tuple[str, int, Document]] = []
        cache: dict[bytes, Document] = {}
        if self.path.endswith(".json"):
            if text.strip():
                documents.append((self._shown, 1, read_json(text)))
        else:
            for chunk in split_documents(data.removeprefix(_BYTE_ORDER_MARK)):
                if chunk.number > _MOST_DOCUMENTS:
                    return self.refuse(f"holds more than {_MOST_DOCUMENTS} documents")
                # A digest, not the text: it may hold a Secret, and is not needed again.
                digest = hashlib.blake2b(chunk.text, digest_size=16).digest()
                document = cache.get(digest) or self._cache.get(digest) or read_yaml(chunk.text)
                cache[digest] = document
                documents.append((f"{self._shown}, document {chunk.number}", chunk.line, document))
        self._cache = cache
        return self._hold(documents)

    def _hold(self, documents: list[tuple[str, int, Document]]) -> bool:
        entries: list[Placed] = []
        problems: list[DecodeError] = []
        broken: set[tuple[str, ObjectKey]] = set()
        unclear = False
        for location, line, document in documents:
            for piece in document.pieces:
                where = f"{location}, {piece.item}" if piece.item else location
                fault = piece.found
                if not isinstance(fault, DecodeError):
                    entries.append(Placed(where, fault))
                    continue
                problems.append(self._located(piece, fault, where, line))
                if fault.name and (fault.namespace or NAMESPACED.get(fault.kind) is False):
                    broken.add((fault.kind, ObjectKey(fault.namespace, fault.name)))
                else:
                    unclear = True
        if problems:
            good = {entry.item.ref for entry in entries}
            entries += (
                old for old in self.entries if old.item.ref not in good and (unclear or old.item.ref in broken)
            )
        ignored = sum(document.ignored for _, _, document in documents)
        before = (self._fault, self.entries, self._problems, self.documents, self.ignored)
        after = ("", tuple(entries), tuple(problems), len(documents), ignored)
        self._fault, self.entries, self._problems, self.documents, self.ignored = after
        return before != after

    def _located(self, piece: Piece, fault: DecodeError, where: str, line: int) -> DecodeError:
        if piece.line is not None:
            where += f", line {line + piece.line}"
        return DecodeError(
            kind=fault.kind,
            namespace=fault.namespace,
            name=self._shown if fault.kind == "File" else fault.name,
            field=fault.field,
            reason=fault.reason,
            location=where,
        )


def file_problem(path: str, reason: str) -> DecodeError:
    """The problem of a file or folder as a whole."""
    shown = shown_path(path)
    return DecodeError(kind="File", namespace="", name=shown, field="", reason=reason, location=shown)


def shown_path(path: str) -> str:
    """A path as part of a message: a file's name may hold line breaks and bytes that are no text."""
    path = path.removeprefix("./")
    if path.isprintable():
        return path
    return "".join(part if part.isprintable() else ascii(part)[1:-1] for part in path)
