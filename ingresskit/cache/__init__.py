"""What we believe the cluster holds: reflectors, stores, informers and the work queue.

Everything runs on one event loop, of any kind that anyio knows. Times are those of its clock, which never
goes back; so a loop with a virtual clock makes a test of hours take milliseconds.
"""

from ingresskit.cache.backoff import Backoff
from ingresskit.cache.decoding import DecodeFailure, ObjectDecoder, Page
from ingresskit.cache.factory import SharedInformerFactory
from ingresskit.cache.handlers import EventHandler, Registration
from ingresskit.cache.informer import SharedInformer
from ingresskit.cache.list_watch import ListerWatcher
from ingresskit.cache.queue import QueueShutDown, WorkQueue
from ingresskit.cache.reflector import Reflector
from ingresskit.cache.settings import ReflectorSettings, ReflectorState
from ingresskit.cache.store import Change, DeletedFinalStateUnknown, Indexer, IndexFunction, Store

__all__ = [
    "Backoff",
    "Change",
    "DecodeFailure",
    "DeletedFinalStateUnknown",
    "EventHandler",
    "IndexFunction",
    "Indexer",
    "ListerWatcher",
    "ObjectDecoder",
    "Page",
    "QueueShutDown",
    "Reflector",
    "ReflectorSettings",
    "ReflectorState",
    "Registration",
    "SharedInformer",
    "SharedInformerFactory",
    "Store",
    "WorkQueue",
]
