"""One pass without I/O: from a snapshot to an artifact and its diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from ingresskit.diagnostics import Diagnostic, sorted_diagnostics
from ingresskit.graph import RouteGraph
from ingresskit.models import NO_CLAIMS, HostClaims, Snapshot
from ingresskit.render.base import ArtifactT, Renderer
from ingresskit.translate import TranslateOptions, Translation, translate

__all__ = ["Outcome", "Restriction", "graph_counts", "reconcile", "restrict"]

ArtifactT_co = TypeVar("ArtifactT_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[ArtifactT_co]):
    """What one pass made of a snapshot.

    Attributes:
        revision: The snapshot's revision.
        graph: What should be served, reduced to what the renderer can honour.
        diagnostics: What the translator and the renderer could not honour; sorted, each once.
        claims: Which namespace holds which host, and since when; empty when hosts are shared.
        artifact: What the proxy needs to serve the graph. Not in the ``repr``: it may be long, and
            hold keys.
    """

    revision: int
    graph: RouteGraph
    diagnostics: tuple[Diagnostic, ...] = ()
    claims: HostClaims = NO_CLAIMS
    artifact: ArtifactT_co = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """A translation as a renderer can serve it, before it is rendered.

    Attributes:
        diagnostics: The translation's and those of the restriction; sorted, each once.
        claims: The translation's.
    """

    graph: RouteGraph
    diagnostics: tuple[Diagnostic, ...]
    claims: HostClaims = NO_CLAIMS


def reconcile(
    snapshot: Snapshot,
    renderer: Renderer[ArtifactT],
    options: TranslateOptions | None = None,
    *,
    now: datetime | None = None,
) -> Outcome[ArtifactT]:
    """Translate and render *snapshot* once: what a controller would serve. Nothing is put live.

    Args:
        snapshot: What is known of the cluster.
        renderer: Makes the artifact.
        options: How to translate; the defaults when ``None``.
        now: To report certificates that are not valid at that moment; ``None`` reports none.

    Returns:
        The outcome; the same arguments give an equal one.

    Raises:
        RenderError: The renderer cannot express the graph.
    """
    restriction = restrict(translate(snapshot, options, now=now), renderer)
    return Outcome(
        revision=snapshot.revision,
        graph=restriction.graph,
        diagnostics=restriction.diagnostics,
        claims=restriction.claims,
        artifact=renderer.render(restriction.graph),
    )


def restrict(translation: Translation, renderer: Renderer[ArtifactT]) -> Restriction:
    """*translation* as *renderer* can serve it."""
    restricted = renderer.restrict(translation.graph)
    diagnostics = translation.diagnostics
    if restricted.diagnostics:
        diagnostics = sorted_diagnostics((*diagnostics, *restricted.diagnostics))
    return Restriction(graph=restricted.graph, diagnostics=diagnostics, claims=translation.claims)


def graph_counts(graph: RouteGraph) -> Mapping[str, int]:
    """How many parts of each sort *graph* has."""
    return {
        "virtual_hosts": len(graph.virtual_hosts),
        "routes": sum(len(host.routes) for host in graph.virtual_hosts),
        "backends": len(graph.backends),
        "backends_without_endpoints": sum(not item.endpoints for item in graph.backends.values()),
        "endpoints": sum(len(item.endpoints) for item in graph.backends.values()),
        "certificates": len(graph.certificates),
        "unserved": len(graph.unserved),
    }
