"""What a controller and the worker processes of the in-process proxy say to each other."""

from ingresskit.render.workers.counts import read_statistics, write_statistics
from ingresskit.render.workers.orders import (
    SEATS,
    Accept,
    Begin,
    Change,
    Count,
    Drain,
    Free,
    Release,
    WorkerOrder,
    read_worker_order,
)

__all__ = [
    "SEATS",
    "Accept",
    "Begin",
    "Change",
    "Count",
    "Drain",
    "Free",
    "Release",
    "WorkerOrder",
    "read_statistics",
    "read_worker_order",
    "write_statistics",
]
