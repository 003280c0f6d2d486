"""A controller with a proxy in a process of its own, for tests that kill it: ``python -m … PLAN``.

PLAN is JSON, see `Plan`. Each line of its input is a command, each line of its output an event:

    {"serve": 3}                    have state 3 of the world served; tells the revision that has it
    {"kill_at": 7}                  die by SIGKILL right before the 7th operation on files, sockets or
                                    processes from now on; 0: count only, and tell by "steps"
    {"steps": true}                 tell how many such operations there were since ``kill_at``

It ends, and its proxy with it, when its input does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.file import FileReadStream
from typing_extensions import override

from ingresskit.controller import Controller, ControllerSettings
from ingresskit.controller.events import EventKind
from ingresskit.errors import IngressKitError
from ingresskit.graph import RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.render.base import Renderer
from ingresskit.render.judged import Restricted
from ingresskit.sources import MemorySource
from ingresskit.testing.planes import LivePlane, PlaneSettings
from tests.dataplane.kind import Kind
from tests.dataplane.planes import KINDS
from tests.dataplane.worlds import OPTIONS, POISON, poison, world

# What leaves a trace outside of the process, each before it happens. Reading is not among them.
_STEPS = frozenset(
    {
        *("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "os.truncate"),
        *("os.posix_spawn", "subprocess.Popen", "os.kill", "signal.pidfd_send_signal"),
        *("socket.connect", "socket.bind", "socket.sendto"),
    }
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run.

    Attributes:
        ports: The endpoints of the world.
        state: The state of the world to begin with.
        program: The proxy's program; empty: the usual one.
        kind: ``reload`` has each state need a reload, where the proxy ever reloads; ``poison`` adds the
            objects of `POISON` to each but state 0, and the renderer spoils what comes of them.
    """

    plane: str
    state_dir: str
    http: tuple[str, int]
    https: tuple[str, int]
    ports: tuple[int, ...]
    state: int
    program: str = ""
    kind: str = "plain"

    def world(self, state: int) -> list[KubeObject]:
        more = KINDS[self.plane].reloading(state) if self.kind == "reload" else None
        poisoned = poison() if self.kind == "poison" and state else []
        return [*world(state, self.ports, more), *poisoned]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        held = cast("dict[str, Any]", json.loads(text))
        for name in ("http", "https", "ports"):
            held[name] = tuple(held[name])
        return cls(**held)


class Steps:
    """Counts operations, and kills the process before a certain one."""

    def __init__(self) -> None:
        self._counting = False
        self._kill_at = 0
        self.names: list[str] = []
        sys.addaudithook(self._hook)

    def arm(self, kill_at: int) -> None:
        self.names.clear()
        self._kill_at = kill_at
        self._counting = True

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._counting:
            return
        if event == "open":
            flags = arguments[2]
            if not (isinstance(flags, int) and flags & _WRITING):
                return
        elif event not in _STEPS:
            return
        self.names.append(event)
        if len(self.names) == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


class Poisoned(Renderer[Any]):
    """A renderer with a fault that one host brings out."""

    def __init__(self, renderer: Renderer[Any], kind: Kind) -> None:
        self.name = renderer.name  # type: ignore[misc] # pyright: ignore
        self._renderer = renderer
        self._kind = kind

    @override
    def restrict(self, graph: RouteGraph) -> Restricted:
        return self._renderer.restrict(graph)

    @override
    def render(self, graph: RouteGraph) -> object:
        artifact = self._renderer.render(graph)
        spoil = self._kind.poison
        return spoil(artifact, POISON) if spoil is not None and graph.virtual_host(POISON) else artifact


def tell(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


async def main() -> None:
    plan = Plan.from_json(sys.argv[1])
    steps = Steps()
    settings = PlaneSettings(
        state_dir=Path(plan.state_dir), http=plan.http, https=plan.https, program=plan.program
    )
    source = MemorySource(plan.world(plan.state))
    async with KINDS[plan.plane].open(settings) as opened:
        plane = cast("LivePlane[Any]", opened)
        controller = Controller(
            source=source,
            renderer=Poisoned(plane.renderer, KINDS[plan.plane]) if plan.kind == "poison" else plane.renderer,
            applier=plane.applier,
            options=OPTIONS,
            settings=ControllerSettings(
                retry_first=timedelta(milliseconds=200), retry_ceiling=timedelta(seconds=1)
            ),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(report, controller, plane)
            tasks.start_soon(controller.run)
            unbuffered = os.fdopen(0, "rb", buffering=0)  # else a read waits until a buffer is full
            commands = BufferedByteReceiveStream(FileReadStream(unbuffered))
            while True:
                try:
                    command = json.loads(await commands.receive_until(b"\n", 1 << 16))
                except (anyio.IncompleteRead, anyio.EndOfStream):
                    break
                if "serve" in command:
                    source.replace(plan.world(command["serve"]))
                    tell("replaced", revision=(source.snapshot() or Snapshot()).revision)
                elif "kill_at" in command:
                    steps.arm(command["kill_at"])
                elif "steps" in command:
                    tell("steps", names=steps.names)
            tasks.cancel_scope.cancel()


async def report(controller: Controller[Any], plane: LivePlane[Any]) -> None:
    """Tell of each pass, with what is served, and of each diagnostic that appears."""
    with controller.subscribe() as events:
        async for event in events:
            if event.kind is EventKind.APPLY:
                tell("apply", **dict(event.facts), revision=event.revision, pids=sorted(plane.pids()))
            elif event.kind is EventKind.DIAGNOSTICS:
                lines = [f"{item.reason} {item.subject}" for item in controller.diagnostics]
                tell("diagnostics", lines=lines)


if __name__ == "__main__":
    try:
        anyio.run(main)
    except IngressKitError as exc:
        tell("error", kind=type(exc).__name__, message=str(exc))
        sys.exit(1)
