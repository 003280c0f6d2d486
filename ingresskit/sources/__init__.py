"""Where objects come from."""

from ingresskit.sources.base import SnapshotStore, Source
from ingresskit.sources.memory import MemorySource

__all__ = ["MemorySource", "SnapshotStore", "Source"]
