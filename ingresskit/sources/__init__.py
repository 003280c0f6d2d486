"""Where objects come from."""

from ingresskit.sources.base import SnapshotStore, Source
from ingresskit.sources.files import FileSource
from ingresskit.sources.memory import MemorySource

__all__ = ["FileSource", "MemorySource", "SnapshotStore", "Source"]
