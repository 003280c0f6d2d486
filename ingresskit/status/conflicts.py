"""What a server reports of the managers that own a field which could not be written."""

from __future__ import annotations

import re

from ingresskit.errors import ApiError

__all__ = ["conflicting_managers", "conflicts_shown"]

# Source: Kubernetes, apimachinery/pkg/util/managedfields: the message of each cause.
_MANAGER = re.compile(r'conflict with "([^"]+)"')


def conflicts_shown(error: ApiError) -> str:
    """The managers that own the field, as the server reports them; empty for another conflict."""
    return "; ".join(sorted(set(_messages(error))))


def conflicting_managers(error: ApiError) -> frozenset[str]:
    """The names of the managers that own the field; empty where the name of one is not known."""
    found = [_MANAGER.match(message) for message in _messages(error)]
    return frozenset(name[1] for name in found if name is not None) if all(found) else frozenset()


def _messages(error: ApiError) -> list[str]:
    return [cause.message for cause in error.causes if cause.reason == "FieldManagerConflict"]
