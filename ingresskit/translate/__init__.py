"""From a snapshot to the route graph."""

from ingresskit.translate.destinations import DestinationPolicy
from ingresskit.translate.options import DefaultBackend, HostOwnership, Scope, TranslateOptions
from ingresskit.translate.selectors import LabelSelector

__all__ = ["DefaultBackend", "DestinationPolicy", "HostOwnership", "LabelSelector", "Scope", "TranslateOptions"]
