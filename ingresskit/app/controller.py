"""The program behind ``ingresskit run``, ``serve`` and ``demo``: opens, runs and ends what flags name."""

from __future__ import annotations

import importlib.util
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from ingresskit._allocator import map_large_buffers
from ingresskit.app.affinity_key import affinity_key
from ingresskit.app.dialects import with_dialects
from ingresskit.app.extensions import installed_effects
from ingresskit.app.failures import Failure, exit_status
from ingresskit.app.flags import Command, Flags, parse_flags
from ingresskit.app.logs import AccessLog, set_up_logging
from ingresskit.app.place import place_of
from ingresskit.app.plane_choice import prepared
from ingresskit.app.planes import Setting
from ingresskit.app.service import Service
from ingresskit.arguments import translate_options
from ingresskit.controller.claims import ClaimKeeper
from ingresskit.diagnostics import Severity
from ingresskit.errors import IngressKitError
from ingresskit.facts import FactLogger, fact_logger
from ingresskit.filters import PolicyEffects
from ingresskit.models import Snapshot
from ingresskit.sources import FileSource
from ingresskit.translate import HostOwnership, TranslateOptions

if TYPE_CHECKING:
    from ingresskit.kube import AioTransport

__all__ = ["run_command", "run_flags"]

MOST_OPEN_FILES = 65536
SWITCH_SECONDS = 0.001


def run_command(argv: Sequence[str] | None = None, *, program: str, command: Command = "run") -> int:
    """Run the command of the command line.

    Args:
        argv: The flags; ``None``: those of this process.
        program: What messages begin with.
        command: Which flags there are.

    Returns:
        The exit status: 0 after a signal and a drain; 1 for a failure that trying again cannot mend, or when a
        second signal cut requests, or when ``--print-config`` shows what was refused.

    Raises:
        SystemExit: With 2 for a flag that is wrong, with 0 after ``--help``.
    """
    return run_flags(parse_flags(argv, program=program, command=command), program=program)


def run_flags(flags: Flags, *, program: str) -> int:
    """As `run_command`, with flags that have been read."""
    set_up_logging(flags.log_format, flags.log_level)
    _allow_open_files()
    # A pass computes in a thread. Each time the event loop has waited for the network it waits for that
    # thread too, 5 ms by default and several times for each request.
    sys.setswitchinterval(SWITCH_SECONDS)
    uvloop = importlib.util.find_spec("uvloop") is not None
    if uvloop:
        map_large_buffers()
    logger = fact_logger(program.removesuffix(".py") if program.endswith(".py") else __name__)

    def work() -> int:
        options, effects = with_dialects(translate_options(flags), flags), installed_effects()
        taken = (item.port for item in (flags.http, flags.https, flags.admin) if item is not None)
        options = replace(options, own_ports=frozenset(taken))
        if flags.print_config:
            return anyio.run(_print_config, flags, options, effects, backend_options={"use_uvloop": uvloop})
        return anyio.run(_serve, flags, options, effects, logger, backend_options={"use_uvloop": uvloop})

    return exit_status(work, program=program)


async def _serve(flags: Flags, options: TranslateOptions, effects: PolicyEffects, logger: FactLogger) -> int:
    """Serve until a signal; returns the exit status."""
    if flags.manifests:
        _check_folder(flags.manifests, flags)
    with ExitStack() as stack:
        flag = "--state-dir"
        try:
            if flags.state_dir is None:
                state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingresskit-")))
            else:
                state = flags.state_dir
                state.mkdir(mode=0o700, parents=True, exist_ok=True)
            flag = "--access-log"
            access_log = None
            if flags.access_log != "off":
                access_log = AccessLog.open(flags.access_log, stack, form=flags.access_log_format)
        except OSError as exc:
            raise Failure(f"{flag}: {exc.filename}: {exc.strerror}") from None
        async with AsyncExitStack() as connections:
            transport = await _reach(flags, options, connections) if flags.cluster else None
            options = replace(options, place=await place_of(flags, transport, logger))
            claims = _claims(flags, options)
            plane = await prepared(
                Setting(
                    flags=flags,
                    options=options,
                    state=state,
                    access_log=access_log,
                    claims=claims,
                    effects=effects,
                    affinity_key=affinity_key(flags.affinity_key, state),
                )
            )
            service = Service(
                flags,
                options,
                access_log=access_log,
                plane=plane,
                state=state,
                transport=transport,
                claims=claims,
                logger=logger,
            )
            return await service.run()


async def _reach(flags: Flags, options: TranslateOptions, connections: AsyncExitStack) -> AioTransport:
    # Imported here, as all that is for a cluster: the Kubernetes client takes a while to load.
    from ingresskit.app.cluster import credentials, may_read_namespaces, reach

    try:
        transport = await connections.enter_async_context(await reach(credentials(flags)))
    except IngressKitError as exc:
        raise Failure(f"no cluster: {exc}; give --kubeconfig PATH, --manifests DIR or --demo") from None
    if options.require_namespace_hosts and not await may_read_namespaces(transport):
        raise Failure("--require-namespace-hosts needs the right to list and watch namespaces")
    return transport


def _claims(flags: Flags, options: TranslateOptions) -> ClaimKeeper:
    record = None
    if flags.cluster:
        from ingresskit.app.cluster import record_of_hosts

        record = record_of_hosts(flags, options)
    return ClaimKeeper(record, covers_names=options.host_ownership is HostOwnership.STRICT)


async def _print_config(flags: Flags, options: TranslateOptions, effects: PolicyEffects) -> int:
    """Print what the manifests come to; returns 1 when a part of an object was refused."""
    folder = flags.manifests or Path()
    _check_folder(folder, flags)
    source = FileSource(folder)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.run)
        await source.wait_changed(0)
        tasks.cancel_scope.cancel()
    snapshot: Snapshot | None = source.snapshot()
    if snapshot is None:
        raise Failure(f"the folder {folder} cannot be read")
    setting = Setting(flags=flags, options=options, state=Path(), effects=effects)
    plane = await prepared(setting, previewing=True)
    outcome, text = plane.preview(snapshot)
    sys.stdout.write(text)
    for diagnostic in outcome.diagnostics:
        print(diagnostic, file=sys.stderr)
    return int(any(item.severity is Severity.ERROR for item in outcome.diagnostics))


def _check_folder(folder: Path, flags: Flags) -> None:
    if not folder.exists():
        flag = "--manifests: " if flags.command == "run" else ""
        raise Failure(f"{flag}there is no folder {folder}")


def _allow_open_files() -> None:
    """Let this program open as many files as it may, within reason: each connection is one or two.

    The usual soft limit of 1,024 is there for programs that call select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
