"""The reference controller: the public parts of ingresskit, put together as the flags say, until a signal.

    python examples/reference_controller.py --demo
    python examples/reference_controller.py             # the cluster of the pod, or of the kubeconfig

`Service` is the place to begin reading, and to copy from.
"""

from __future__ import annotations

import importlib.util
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import timedelta
from pathlib import Path

import anyio
from demo import MANIFESTS, DemoSource, things_to_try
from reference_cluster import credentials, follow, may_read_namespaces, reach, record_of_hosts
from reference_collector import Collector
from reference_flags import Address, Flags, parse_flags
from reference_logging import AccessLog, set_up_logging
from reference_planes import CannotListen, Plane, Setting, Taken, prepared
from reference_telling import Telling

from ingresskit import HostOwnership, IngressKitError, Severity, TranslateOptions
from ingresskit.arguments import translate_options
from ingresskit.controller import ControllerSettings, Health
from ingresskit.controller.admin import AdminServer, AdminSettings, BasicFile, TokenFile
from ingresskit.controller.claims import ClaimKeeper
from ingresskit.facts import fact_logger
from ingresskit.kube import AioTransport
from ingresskit.sources import FileSource

_logger = fact_logger("reference_controller")

MOST_OPEN_FILES = 65536
SWITCH_SECONDS = 0.001


class Failure(Exception):
    """Ends the program with status 1. Its text is one line that says what to mend."""


class Service:
    """A proxy, a controller that keeps it up to date, and an admin server that says how they are."""

    def __init__(
        self,
        flags: Flags,
        options: TranslateOptions,
        *,
        access_log: AccessLog | None,
        plane: Plane,
        state: Path,
        transport: AioTransport | None,
        claims: ClaimKeeper,
    ) -> None:
        self._flags = flags
        self._state = state
        self._access_log = access_log
        self._plane = plane
        self._demo = DemoSource() if flags.demo else None
        self._cluster = cluster = follow(transport, flags, options) if transport else None
        self._controller = self._plane.controller(
            cluster or self._demo or FileSource(manifests(flags)),
            # A cluster's source paces its snapshots by itself: a change that comes alone need not wait.
            ControllerSettings(settle_quiet=timedelta(0)) if cluster else None,
        )
        self._telling = telling = None
        if transport is not None and cluster is not None:
            telling = Telling(
                transport, flags, options, controller=self._controller, source=cluster, claims=claims
            )
            self._telling = telling
        self._admin = flags.admin and AdminServer(
            self._controller,
            host=flags.admin.host,
            port=flags.admin.port,
            health=Health(
                self._controller,
                live=[cluster.silent] if cluster else [],
                ready=[*([cluster.hindrance] if cluster else []), self._not_ready],
            ),
            planes={"proxy": self._plane, **({"cluster": cluster} if cluster else {})},
            caches=(lambda: cluster.statistics().caches) if cluster else None,
            leader=telling.leader if telling else None,
            as_files=self._plane.files,
            settings=admin_settings(flags),
        )
        self._collector = Collector()
        self._listens = self._stopping = False
        self._status = 0

    async def run(self) -> int:
        """Serve until a signal; returns the exit status."""
        async with self._plane.opened(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_on_signals, tasks.cancel_scope)
            tasks.start_soon(self._reopen_on_signal)
            tasks.start_soon(self._controller.run)
            tasks.start_soon(self._listen)
            tasks.start_soon(self._collector.run, self._controller)
            if self._telling is not None:
                tasks.start_soon(self._telling.run)
            if self._admin is not None:
                tasks.start_soon(self._admin.run)
            if self._access_log is not None:
                tasks.start_soon(self._access_log.run)
        return self._status

    async def _listen(self) -> None:
        # Not before there is something to serve: a 404 for a host that is about to be known is a lie.
        await self._controller.wait_applied(0)
        self._collector.begin()
        taken = Taken(http=None, https=None) if self._stopping else await self._plane.listen()
        http, https = taken.http, taken.https
        self._listens = True
        _logger.info("serving", extra={"http": str(http or "off"), "https": str(https or "off")})
        if self._demo is not None:
            admin = Address(*await self._admin.wait_listening()) if self._admin else None
            authority = self._state / "demo-authority.pem"
            authority.write_bytes(self._demo.authority)
            print(f"Serving {MANIFESTS}: edit a file there, and the change is live. Try:\n")
            for title, command in things_to_try(http=http, https=https, admin=admin, authority=authority):
                print(f"# {title}\n{command}")
            print(flush=True)

    def _not_ready(self) -> str:
        if self._stopping:
            return "the controller is shutting down"
        return self._plane.hindrance() if self._listens else "the listeners are not open yet"

    async def _stop_on_signals(self, scope: anyio.CancelScope) -> None:
        delay, grace = self._flags.shutdown_delay, timedelta(seconds=self._flags.shutdown_grace)
        with anyio.open_signal_receiver(*ending_signals()) as signals:
            first = await anext(signals)
            self._stopping = True
            facts = {"signal": first.name, "delaySeconds": delay, "graceSeconds": grace.total_seconds()}
            _logger.info("draining", extra=facts)
            async with anyio.create_task_group() as tasks:

                async def hurry() -> None:
                    second = await anext(signals)
                    _logger.warning("requests under way are cut", extra={"signal": second.name})
                    self._status = 1
                    tasks.cancel_scope.cancel()

                tasks.start_soon(hurry)
                # Clients and load balancers go on sending until they have learned that it is not ready.
                if self._listens:
                    await anyio.sleep(delay)
                await self._plane.drain(grace)
                tasks.cancel_scope.cancel()
        scope.cancel()

    async def _reopen_on_signal(self) -> None:
        with anyio.open_signal_receiver(*reopening_signals()) as signals:
            async for one in signals:
                facts = {"signal": one.name, "path": self._flags.access_log}
                _logger.info("reopening the access log", extra=facts)
                if self._access_log is not None:
                    self._access_log.reopen()


def ending_signals() -> Iterator[signal.Signals]:
    """The signals after which the controller drains and ends."""
    yield from (signal.SIGTERM, signal.SIGINT)
    # A terminal that is closed ends what runs in it, unless that was started with nohup.
    if sys.stdin.isatty() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


def reopening_signals() -> Iterator[signal.Signals]:
    """The signals of what rotates logs; without a receiver they would end the program at once."""
    yield from {signal.SIGHUP, signal.SIGUSR1}.difference(ending_signals())


async def serve(flags: Flags, options: TranslateOptions) -> int:
    with ExitStack() as stack:
        flag = "--state-dir"
        try:
            if flags.state_dir is None:
                state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingresskit-")))
            else:
                state = flags.state_dir
                state.mkdir(mode=0o700, parents=True, exist_ok=True)
            flag = "--access-log"
            access_log = AccessLog.open(flags.access_log, stack) if flags.access_log != "off" else None
        except OSError as exc:
            raise Failure(f"{flag}: {exc.filename}: {exc.strerror}") from None
        async with AsyncExitStack() as connections:
            transport = None
            if flags.cluster:
                try:
                    transport = await connections.enter_async_context(await reach(credentials(flags)))
                except IngressKitError as exc:
                    raise Failure(
                        f"no cluster: {exc}; give --kubeconfig PATH, --manifests DIR or --demo"
                    ) from None
                if options.require_namespace_hosts and not await may_read_namespaces(transport):
                    raise Failure("--require-namespace-hosts needs the right to list and watch namespaces")
            claims = ClaimKeeper(
                record_of_hosts(flags, options) if flags.cluster else None,
                covers_names=options.host_ownership is HostOwnership.STRICT,
            )
            plane = await prepared(
                Setting(flags=flags, options=options, state=state, access_log=access_log, claims=claims)
            )
            service = Service(
                flags,
                options,
                access_log=access_log,
                plane=plane,
                state=state,
                transport=transport,
                claims=claims,
            )
            return await service.run()


async def print_config(flags: Flags, options: TranslateOptions) -> int:
    """Print what the manifests come to; returns 1 when a part of an object was refused."""
    source = FileSource(manifests(flags))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.run)
        await source.wait_changed(0)
        tasks.cancel_scope.cancel()
    if (snapshot := source.snapshot()) is None:
        raise Failure(f"--manifests: {flags.manifests} could not be read")
    plane = await prepared(Setting(flags=flags, options=options, state=Path()), previewing=True)
    outcome, text = plane.preview(snapshot)
    sys.stdout.write(text)
    for diagnostic in outcome.diagnostics:
        print(diagnostic, file=sys.stderr)
    return int(any(item.severity is Severity.ERROR for item in outcome.diagnostics))


def manifests(flags: Flags) -> Path:
    folder = flags.manifests or Path()
    if not folder.exists():
        raise Failure(f"--manifests: there is no folder {folder}")
    return folder


def admin_settings(flags: Flags) -> AdminSettings:
    """Who may read the admin server, as the flags say.

    Raises:
        ConfigurationError: The file of ``--admin-auth`` cannot be used.
    """
    hosts = frozenset(flags.admin_host)
    if flags.admin_auth is None:
        return AdminSettings(allowed_hosts=hosts)
    kind, path = flags.admin_auth
    return AdminSettings(
        allowed_hosts=hosts, authenticator=TokenFile(path) if kind == "token" else BasicFile(path)
    )


def allow_open_files() -> None:
    """Let this program open as many files as it may, within reason: each connection is one or two.

    The usual soft limit of 1,024 is there for programs that call select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(argv: Sequence[str] | None = None) -> int:
    flags = parse_flags(argv)
    set_up_logging(flags.log_format, flags.log_level)
    allow_open_files()
    # A pass computes in a thread. Each time the event loop has waited for the network it waits for that
    # thread too, 5 ms by default and several times for each request.
    sys.setswitchinterval(SWITCH_SECONDS)
    uvloop = importlib.util.find_spec("uvloop") is not None
    run = print_config if flags.print_config else serve
    try:
        return anyio.run(run, flags, translate_options(flags), backend_options={"use_uvloop": uvloop})
    except (Failure, CannotListen, IngressKitError) as exc:
        return complain(exc, status=1)
    except BaseExceptionGroup as group:
        failures, faults = group.split((Failure, CannotListen, IngressKitError))
        if failures is None or faults is not None:
            raise
        return complain(first_of(failures), status=1)


def first_of(group: BaseExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


def complain(exc: Exception, *, status: int) -> int:
    print(f"reference_controller.py: {exc}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
