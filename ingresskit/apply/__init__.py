"""From an artifact to a running proxy that serves it."""

from ingresskit.apply.inprocess import InProcessApplier, TableHolder
from ingresskit.apply.plan import Applier, Dynamic, NoOp, Plan, Reload

__all__ = ["Applier", "Dynamic", "InProcessApplier", "NoOp", "Plan", "Reload", "TableHolder"]
