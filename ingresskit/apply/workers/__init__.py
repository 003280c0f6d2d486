"""The in-process proxy in several worker processes."""

from ingresskit.apply.workers.applier import WorkersApplier
from ingresskit.apply.workers.merging import WorkersStatistics
from ingresskit.apply.workers.options import WorkerOptions
from ingresskit.apply.workers.pool import WorkerPool
from ingresskit.apply.workers.sockets import ListeningAddress, ListeningSockets
from ingresskit.apply.workers.takeover import Takeover, TakeoverPoint

__all__ = [
    "ListeningAddress",
    "ListeningSockets",
    "Takeover",
    "TakeoverPoint",
    "WorkerOptions",
    "WorkerPool",
    "WorkersApplier",
    "WorkersStatistics",
]
