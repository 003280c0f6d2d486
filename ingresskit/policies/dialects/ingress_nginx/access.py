"""Which clients are let in, and which are not."""

from __future__ import annotations

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_networks_loosely
from ingresskit.policies.kinds.access import AllowedSources, DeniedSources
from ingresskit.policies.kinds.requests import DeniedAgents
from ingresskit.policies.values import Network

__all__ = ["read_access"]

_ALLOWED = "allowlist-source-range"
_DENIED = "denylist-source-range"


def read_access(annotations: Annotations) -> None:
    """Ask for `AllowedSources`, `DeniedSources` and, as the ConfigMap says, `DeniedAgents`."""
    settings = annotations.settings
    if settings.blocked_agents or settings.blocked_referers:
        annotations.add(DeniedAgents(agents=settings.blocked_agents, referers=settings.blocked_referers))
    denied = _networks(annotations, _DENIED)
    # nginx forgets block-cidrs in a location that has a list of its own; here they hold everywhere.
    if networks := tuple(dict.fromkeys((*(settings.denied if denied is None else denied), *settings.blocked))):
        annotations.add(DeniedSources(networks=networks), **({"networks": _DENIED} if denied else {}))
    allowed = _networks(annotations, _ALLOWED)
    if networks := settings.allowed if allowed is None else allowed:
        annotations.add(AllowedSources(networks=networks), **({"networks": _ALLOWED} if allowed else {}))


def _networks(annotations: Annotations, name: str) -> tuple[Network, ...] | None:
    """The Ingress' own list, which replaces the one of the ConfigMap; ``None`` where it has none."""
    text = annotations.text(name)
    if not text:
        return None
    try:
        return parse_networks_loosely(text)
    except ValueError as exc:
        # As in ingress-nginx, which denies the location.
        annotations.refuse(annotations.key(name), Reason.ANNOTATION_INVALID, f"{text[:80]!a} {exc}")
        return None
