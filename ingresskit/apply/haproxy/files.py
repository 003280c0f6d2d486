"""The files of a configuration with everything in its slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ingresskit.apply.haproxy.slots import USUAL_CLASSES, PoolSettings, Slots, pool_sizes
from ingresskit.render.files import RenderedFile
from ingresskit.render.haproxy import (
    Capabilities,
    HaproxyArtifact,
    HaproxySettings,
    SlotClass,
    configuration,
    program,
)

__all__ = ["made_files", "preview"]


def made_files(
    artifact: HaproxyArtifact,
    settings: HaproxySettings,
    capabilities: Capabilities,
    *,
    pools: Mapping[SlotClass, int],
    held: Mapping[str, str],
    marker: str,
    fallback_certificate: bytes,
) -> list[RenderedFile]:
    """All files that a HAProxy starts from to serve *artifact*.

    Args:
        artifact: What is served.
        settings: What is in the program besides.
        capabilities: What HAProxy can do.
        pools: How many slots there are of each class.
        held: By the id of each backend, the slot it stands in.
        marker: What HAProxy reports when it is asked which configuration it has.
        fallback_certificate: Key and chain in PEM where *artifact* has no default certificate.
    """
    slots = {held[item]: backend.servers for item, backend in artifact.backends.items()}
    text = program(settings, capabilities, needs=artifact.needs, pools=pools, slots=slots, marker=marker)
    return list(configuration(artifact, program=text, slots=held, default_certificate=fallback_certificate))


def preview(
    artifact: HaproxyArtifact,
    settings: HaproxySettings,
    *,
    capabilities: Capabilities | None = None,
    pools: PoolSettings | None = None,
) -> Iterator[RenderedFile]:
    """The files that a HAProxy would be started with, for people to read.

    Args:
        artifact: What would be served.
        settings: What would be in the program besides.
        capabilities: What HAProxy can do; the least that is supported when ``None``.
        pools: How many slots there would be; just those in use when ``None``.
    """
    capabilities = capabilities or Capabilities()
    sizes = pool_sizes(
        pools or PoolSettings(first=1, others=1),
        artifact.backends.values(),
        artifact.needs.classes,
        {},
        ready=USUAL_CLASSES if capabilities.adds_backends else (),
    )
    held = Slots.filled(sizes, artifact.backends.values()).held()
    yield from made_files(
        artifact,
        settings,
        capabilities,
        pools=sizes,
        held=held,
        marker="preview",
        fallback_certificate=b"",
    )
