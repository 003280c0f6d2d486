"""Events in their two forms: ``events.k8s.io/v1`` as kept, and ``v1`` as kubectl asks for them.

Source: ``pkg/apis/core/v1/conversion.go`` and ``pkg/apis/events/v1/conversion.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

from ingresskit.testing.apiserver.manifests import Manifest

__all__ = ["core_event", "kept_event"]

# The name in events.k8s.io/v1, and in v1.
_NAMES = (
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
)
_OMITTED = ("reportingController", "reportingInstance")
_TO_CORE = dict(_NAMES)
_FROM_CORE = {core: name for name, core in _NAMES}


def core_event(event: Manifest) -> Manifest:
    """The ``v1`` form of an event kept as ``events.k8s.io/v1``."""
    shown = {_TO_CORE.get(key, key): value for key, value in event.items()}
    return {"reportingComponent": "", "reportingInstance": "", **shown}


def kept_event(event: Manifest) -> Manifest:
    """The ``events.k8s.io/v1`` form of an event written as ``v1``."""
    kept = {_FROM_CORE.get(key, key): value for key, value in event.items()}
    return {key: value for key, value in kept.items() if value or key not in _OMITTED}
