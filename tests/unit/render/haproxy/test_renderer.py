"""The HAProxy renderer: what it promises as a renderer, and what its artifacts share."""

from __future__ import annotations

from typing_extensions import override

from ingresskit.render.haproxy import HaproxyArtifact, HaproxyRenderer
from ingresskit.testing import RendererContract


class TestHaproxyRenderer(RendererContract[HaproxyArtifact]):
    @override
    def renderer(self) -> HaproxyRenderer:
        return HaproxyRenderer()
