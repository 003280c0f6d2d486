"""What carries the traffic of the reference controller: what every plane offers, and what one is made of.

A plane makes the controller of its proxy, is entered before that runs, and takes requests once the first
configuration is live. Each has a file of its own, which `ingresskit.app.plane_choice` loads.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ingresskit import TranslateOptions
from ingresskit.app.failures import CannotListen
from ingresskit.app.flags import Address, Flags
from ingresskit.app.logs import AccessLog
from ingresskit.controller import Controller, ControllerSettings, Outcome
from ingresskit.controller.claims import ClaimKeeper
from ingresskit.filters import BUILTIN_EFFECTS, PolicyEffects
from ingresskit.models import Snapshot
from ingresskit.render import RenderedFile
from ingresskit.sources import Source
from ingresskit.traffic import Measured

if TYPE_CHECKING:
    from ingresskit.render.delegate import Delegated
    from ingresskit.render.haproxy import HaproxyArtifact
    from ingresskit.render.inprocess import RoutingTable
    from ingresskit.render.nginx import NginxArtifact

    AnyController = (
        Controller[RoutingTable]
        | Controller[HaproxyArtifact]
        | Controller[NginxArtifact]
        | Controller[Delegated[HaproxyArtifact]]
        | Controller[Delegated[NginxArtifact]]
    )

__all__ = ["Plane", "Setting", "Taken", "certain", "shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a plane is made of."""

    flags: Flags
    options: TranslateOptions
    state: Path
    access_log: AccessLog | None = None
    claims: ClaimKeeper = field(default_factory=ClaimKeeper)
    effects: PolicyEffects = BUILTIN_EFFECTS
    affinity_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Where requests are taken; ``None``: nowhere."""

    http: Address | None
    https: Address | None


class Plane(Protocol):
    """A proxy, and what is in front of it."""

    def controller(self, source: Source, settings: ControllerSettings | None) -> AnyController:
        """The controller that keeps it up to date."""
        ...

    def opened(self) -> AbstractAsyncContextManager[object]:
        """The proxy while the context is open; ends, with all that it started, when that is left."""
        ...

    async def listen(self) -> Taken:
        """Take requests. Called once, after the first configuration is live.

        Raises:
            CannotListen: An address cannot be bound.
        """
        ...

    async def drain(self, grace: timedelta) -> None:
        """Take no more requests, and return when those under way are done, or after *grace*."""
        ...

    async def renew(self) -> None:
        """Replace its worker processes without a lost request; does nothing where it has none."""
        return

    def hindrance(self) -> str:
        """Why it is not ready; empty when it is."""
        ...

    def statistics(self) -> Measured:
        """Its counts, which say their metrics."""
        ...

    def files(self, artifact: object) -> Iterable[RenderedFile]:
        """An artifact as the files that the proxy reads; none where it reads none."""
        ...

    def preview(self, snapshot: Snapshot) -> tuple[Outcome[object], str]:
        """What *snapshot* comes to, and the configuration in a form for people. Starts nothing."""
        ...


def certain(address: Address | None) -> Address | None:
    """Port 0 is any free one; a program that is told where to listen needs to be told one of them."""
    if address is None or address.port:
        return address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with contextlib.closing(socket.socket(family)) as probe:
        try:
            probe.bind((address.host, 0))
        except OSError as exc:
            raise CannotListen(f"cannot listen at {address}: {exc.strerror}") from None
        return Address(address.host, int(probe.getsockname()[1]))


def shown(files: Iterable[RenderedFile]) -> str:
    """The files one after the other, each under its name; of those with keys, the name only."""
    parts = (
        f"==> {item.path} <==\n" + ("(not shown: it holds a key)\n" if item.secret else item.content.decode())
        for item in files
    )
    return "\n".join(parts)
