"""Where objects come from."""

from ingresskit.sources.base import SnapshotStore, Source
from ingresskit.sources.cluster import ClusterSource
from ingresskit.sources.cluster_settings import CacheStatistics, ClusterSettings, ClusterStatistics
from ingresskit.sources.fetched_keys import FetchedKeysSource
from ingresskit.sources.files import FileSource
from ingresskit.sources.memory import MemorySource

__all__ = [
    "CacheStatistics",
    "ClusterSettings",
    "ClusterSource",
    "ClusterStatistics",
    "FetchedKeysSource",
    "FileSource",
    "MemorySource",
    "SnapshotStore",
    "Source",
]
