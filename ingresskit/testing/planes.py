"""A running proxy as tests drive it: put a route graph in, ask it, look at its processes.

Import from this module: it loads anyio, which `ingresskit.testing` does not.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol

import anyio

from ingresskit.apply import Applier, Dynamic, NoOp, Plan, Reload
from ingresskit.controller.statistics import ApplyKind
from ingresskit.errors import ApplyPostponed
from ingresskit.graph import RouteGraph
from ingresskit.policies.values import Network
from ingresskit.render import Renderer
from ingresskit.render.base import ArtifactT
from ingresskit.testing import pace
from ingresskit.testing.loopback import Address
from ingresskit.testing.ports import free_port
from ingresskit.testing.scenario import Scenario

__all__ = ["LivePlane", "Plane", "PlaneSettings", "free_port", "state_folder"]

_POSTPONED_SECONDS = pace.within(120)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSettings:
    """What a test wants of a proxy.

    Attributes:
        state_dir: A folder for all that it writes, empty unless a controller was here before; its path
            is short enough for sockets.
        http: Where it shall take plain requests; a free port unless given.
        https: The same with TLS.
        program: The program to start; empty: the one that is installed.
        public_http_port: The port that clients reach plain HTTP at, where they name none.
        public_https_port: The same of TLS, where plain requests are redirected to; URLs have no 443.
        underscores_in_headers: Whether header fields with ``_`` in their names are passed on.
        trusted_proxies: Peers whose ``X-Forwarded-*`` are believed.
        proxy_protocol: Whether those peers open with a PROXY protocol header.
    """

    state_dir: Path
    http: Address = field(default_factory=lambda: ("127.0.0.1", free_port()))
    https: Address = field(default_factory=lambda: ("127.0.0.1", free_port()))
    program: str = ""
    public_http_port: int = 80
    public_https_port: int = 443
    underscores_in_headers: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    proxy_protocol: bool = False


class Plane(Protocol):
    """A running proxy, with the renderer and the applier in front of it. One task drives it."""

    @property
    def name(self) -> str:
        """A short word for it, as in the id of a test."""
        ...

    @property
    def http(self) -> Address:
        """Where it takes plain requests."""
        ...

    @property
    def https(self) -> Address | None:
        """Where it takes TLS; ``None``: nowhere."""
        ...

    @property
    def applied(self) -> Mapping[ApplyKind, int]:
        """How often `serve` took what: nothing, a dynamic change, a reload."""
        ...

    @property
    def reasons(self) -> tuple[str, ...]:
        """For each reload of `serve`, the reason its plan gave; in order."""
        ...

    async def serve(self, graph: RouteGraph) -> ApplyKind:
        """Restrict, render, plan and apply *graph*; when this returns, it is served.

        What the applier postpones is tried again when it says, for two minutes at most.

        Raises:
            RenderError: The renderer cannot express it; what was served still is.
            ApplyError: It could not be put live; what was served still is.
        """
        ...

    def missing(self, scenario: Scenario) -> tuple[str, ...]:
        """What *scenario* needs and the renderer cannot do; see `Scenario.missing`."""
        ...

    def statistics(self) -> object:
        """The counts of the proxy, as `ingresskit.controller.StatisticsSource` gives them; ``None``: none."""
        ...

    def pids(self) -> frozenset[int]:
        """The processes that carry traffic now; empty for a proxy in this process."""
        ...


@dataclass(slots=True, kw_only=True)
class LivePlane(Generic[ArtifactT]):
    """A `Plane` out of its parts, whatever artifact passes between them.

    Attributes:
        counts: Gives the counts of the proxy.
        processes: Gives the ids of its processes.
    """

    renderer: Renderer[ArtifactT]
    applier: Applier[ArtifactT]
    http: Address
    https: Address | None = None
    name: str = ""
    counts: Callable[[], object] = lambda: None
    processes: Callable[[], frozenset[int]] = frozenset[int]
    applied: dict[ApplyKind, int] = field(default_factory=dict[ApplyKind, int], init=False)
    _served: ArtifactT | None = field(default=None, init=False)
    _reasons: list[str] = field(default_factory=list[str], init=False)

    def __post_init__(self) -> None:
        """Take the renderer's name where none is given."""
        self.name = self.name or self.renderer.name
        self.applied = dict.fromkeys(ApplyKind, 0)

    @property
    def reasons(self) -> tuple[str, ...]:
        """As `Plane.reasons`."""
        return tuple(self._reasons)

    async def serve(self, graph: RouteGraph) -> ApplyKind:
        """As `Plane.serve`."""
        artifact = self.renderer.render(self.renderer.restrict(graph).graph)
        deadline = anyio.current_time() + _POSTPONED_SECONDS
        while True:
            plan = self.applier.plan(self._served, artifact)
            try:
                await self.applier.apply(plan)
                break
            except ApplyPostponed as exc:
                if anyio.current_time() > deadline:
                    raise
                await anyio.sleep(exc.retry_after.total_seconds())
        kind = _kind(plan)
        self._served = artifact
        self.applied[kind] += 1
        if isinstance(plan, Reload):
            self._reasons.append(plan.reason)
        return kind

    def missing(self, scenario: Scenario) -> tuple[str, ...]:
        """As `Plane.missing`."""
        return scenario.missing(self.renderer)

    def statistics(self) -> object:
        """As `Plane.statistics`."""
        return self.counts()

    def pids(self) -> frozenset[int]:
        """As `Plane.pids`."""
        return self.processes()


@contextlib.contextmanager
def state_folder() -> Generator[Path]:
    """A folder for `PlaneSettings.state_dir`, removed at the end.

    Its path is short: that of a Unix socket has 107 bytes at most.
    """
    with tempfile.TemporaryDirectory(prefix="ik-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _kind(plan: Plan[ArtifactT]) -> ApplyKind:
    match plan:
        case NoOp():
            return ApplyKind.NO_OP
        case Dynamic():
            return ApplyKind.DYNAMIC
        case Reload():
            return ApplyKind.RELOAD
