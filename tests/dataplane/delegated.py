"""A program with a delegate beside it, as a plane."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from ingresskit.apply import ProcessSettings
from ingresskit.apply.delegate import Delegate, DelegateOptions, DelegatingApplier
from ingresskit.apply.haproxy import Haproxy, HaproxyApplier, HaproxyOptions
from ingresskit.filters import BUILTIN_EFFECTS, PolicyEffects
from ingresskit.policies import Policy
from ingresskit.render import Renderer
from ingresskit.render.access import AccessRecord
from ingresskit.render.base import ArtifactT
from ingresskit.render.delegate import Delegated, DelegateSettings, DelegatingRenderer
from ingresskit.render.haproxy import Bind, HaproxyArtifact, HaproxyRenderer, HaproxySettings
from ingresskit.render.policies import HandlerTable, Loss, PolicyHandler, Support
from ingresskit.testing.planes import LivePlane, PlaneSettings
from tests.unit.proxy.conftest import get

OPTIONS = DelegateOptions(
    settle=timedelta(milliseconds=200),
    process=ProcessSettings(restart_first=timedelta(milliseconds=10)),
)
# Tests ask for one new thing after another, and need not wait as tenants must.
IMPATIENT = HaproxyOptions(reload_gap=timedelta(milliseconds=1), reload_share=1.0)


def chunked(size: int, *, piece: int = 16_384) -> bytes:
    """A request whose body does not say its length."""
    head = get(method="POST", fields=["Transfer-Encoding: chunked"])
    pieces = [min(piece, size - start) for start in range(0, size, piece)]
    return head + b"".join(b"%x\r\n%b\r\n" % (one, b"x" * one) for one in pieces) + b"0\r\n\r\n"


class _Beyond(PolicyHandler[Policy, object]):
    """A policy that the program is said not to be able to do."""

    def __init__(self, kind: type[Policy]) -> None:
        self.policy = kind

    def losses(self, policy: Policy) -> Iterator[Loss]:
        yield Loss(message="leaves this to the delegate", support=Support.DELEGATED)


def all_delegated(renderer: Renderer[ArtifactT]) -> Renderer[ArtifactT]:
    """*renderer*, which is made to believe that its program can do no policy."""
    vars(renderer).update(handlers=HandlerTable(_Beyond(kind) for kind in renderer.supports))
    return renderer


def is_delegate(pid: int) -> bool:
    """Whether the process is a delegate."""
    return b"ingresskit.proxy.delegate" in Path(f"/proc/{pid}/cmdline").read_bytes()


@asynccontextmanager
async def open_delegated_haproxy(
    settings: PlaneSettings,
    *,
    program: str,
    everything: bool = False,
    effects: PolicyEffects = BUILTIN_EFFECTS,
    options: DelegateOptions = OPTIONS,
    access_log: Callable[[AccessRecord], None] | None = None,
) -> AsyncGenerator[tuple[LivePlane[Delegated[HaproxyArtifact]], Delegate, Haproxy]]:
    """HAProxy and its delegate; *everything*: no policy is HAProxy's; *effects*: as the delegate has them."""
    front = HaproxySettings(
        http=(Bind(*settings.http),),
        https=(Bind(*settings.https),),
        underscores_in_headers=settings.underscores_in_headers,
        public_http_port=settings.public_http_port,
        public_https_port=settings.public_https_port,
        trusted_proxies=settings.trusted_proxies,
        proxy_protocol=settings.proxy_protocol,
        delegate=True,
    )
    delegate = Delegate(
        DelegateSettings(
            ports_address="127.0.0.1",
            https_port=settings.https[1],
            public_http_port=settings.public_http_port,
            public_https_port=settings.public_https_port,
        ),
        state=settings.state_dir / "delegate",
        options=options,
        access_log=access_log,
    )
    haproxy = Haproxy(front, state=settings.state_dir, program=settings.program or program, options=IMPATIENT)
    async with delegate, haproxy:
        plane = LivePlane[Delegated[HaproxyArtifact]](
            renderer=DelegatingRenderer(
                all_delegated(HaproxyRenderer()) if everything else HaproxyRenderer(),
                str(delegate.socket),
                effects=effects,
            ),
            applier=DelegatingApplier(HaproxyApplier(haproxy), delegate),
            http=settings.http,
            https=settings.https,
            processes=lambda: frozenset(pid for pid in (haproxy.pid, delegate.pid) if pid is not None),
        )
        yield plane, delegate, haproxy
