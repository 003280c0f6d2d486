"""A proxy program that serves whatever happens to the controller beside it.

It runs in a session of its own, so that no signal to the controller reaches it, and its pid is on disk:
a controller that was killed leaves it serving, and the next one adopts it. The pid alone would not do,
since numbers are used again: the time at which the process began is compared too.

Two things end the program: `ProxyProcess.stop`, and itself. Then it is started again, at once the first time
and after a growing wait while it keeps dying; what its workers still hold is freed before.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NoReturn, cast

import anyio
import anyio.to_thread

from ingresskit._checks import check_settings
from ingresskit._doubling import Doubling
from ingresskit.apply.output import OutputFile
from ingresskit.errors import ApplyError
from ingresskit.facts import fact_logger

__all__ = ["ProcessSettings", "ProxyProcess", "find_program"]

_logger = fact_logger(__name__)

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
# Python ignores these signals and children inherit that; reset them.
_NOT_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
_TRIM_SECONDS = 10.0
_SESSION_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """How a program is kept running.

    Attributes:
        restart_first: The wait before a program that ended is started again; doubles each time.
        restart_ceiling: The longest such wait.
        restart_forgiven: After running this long, the waits begin anew.

    Raises:
        ConfigurationError: A time is not positive.
    """

    restart_first: timedelta = timedelta(milliseconds=100)
    restart_ceiling: timedelta = timedelta(seconds=30)
    restart_forgiven: timedelta = timedelta(seconds=60)

    def __post_init__(self) -> None:
        check_settings(self)


def find_program(name: str) -> Path:
    """The absolute path of a program.

    Args:
        name: Its path when it has a slash; else it is looked up on ``$PATH`` and in the folders called sbin.

    Raises:
        ApplyError: There is none, or it may not be executed; says which.
    """
    if "/" in name:
        path = Path(name).absolute()
        if not path.exists():
            raise ApplyError(f"no program at {path}")
        if path.is_dir() or not os.access(path, os.X_OK):
            raise ApplyError(f"{path} may not be executed")
        return path
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])
    if found := shutil.which(name, path=places):
        return Path(found).absolute()
    raise ApplyError(f"no program {name} on the path; install it, or give its path")


@dataclass(slots=True)
class _Running:
    """A process that was started or adopted."""

    pid: int
    descriptor: int
    """A pidfd: readable once the process has ended, and never another process's."""
    since: float
    ended: anyio.Event = field(default_factory=anyio.Event)


class ProxyProcess:
    """Starts one program, adopts it after a restart of the controller, and starts it again when it ends.

    Args:
        name: A word for it, for logs and file names: ``"haproxy"``.
        argv: The program and its arguments. It must stay in the foreground.
        state: The folder for its pid and its output; must exist.
        settings: How it is kept running; the defaults when ``None``.
        environment: Its environment; the controller's own when ``None``.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        state: Path,
        settings: ProcessSettings | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._name = name
        self._argv = tuple(argv)
        self._settings = settings or ProcessSettings()
        self._environment = environment
        self._pid_file = state / f"{name}.pid"
        self.output: OutputFile = OutputFile(state / f"{name}.out")
        self._running: _Running | None = None
        self._begun = anyio.Event()
        self._stopping = False
        self._deaths_in_row = 0
        self._problem = ""
        self.restarts: int = 0

    @property
    def pid(self) -> int | None:
        """The process that runs now; ``None`` when none does."""
        return None if self._running is None else self._running.pid

    @property
    def problem(self) -> str:
        """Why it does not run, as a clause; empty while it does, or was not started yet."""
        return self._problem

    async def adopt(self) -> bool:
        """Take over the process that a controller before this one started, if it still runs.

        Returns:
            Whether there was one.
        """
        found = await anyio.to_thread.run_sync(self._find_running)
        if found is None:
            return False
        self._hold(*found)
        _logger.info("program adopted", extra={"program": self._name, "pid": found[0]})
        return True

    async def start(self) -> None:
        """Start the program, which must not run. It may still fail on its own: see `pid` and `output`.

        Raises:
            ApplyError: There is no such program, or it cannot be executed.
        """
        if self._running is not None:
            raise ApplyError(f"{self._name} runs already")
        await anyio.to_thread.run_sync(self.output.trim)
        self._spawn()

    async def run(self, before_restart: Callable[[], Awaitable[None]] | None = None) -> NoReturn:
        """Watch the program from when it was started or adopted, and start it again when it ends.

        Args:
            before_restart: Waited for before each restart; what it raises is logged, and it is started
                all the same.
        """
        await self._begun.wait()
        while True:
            if (running := self._running) is not None:
                await self._wait_end(running)
            if self._stopping:
                await anyio.sleep_forever()
            await anyio.sleep(self._restart_delay())
            if running is not None:
                await anyio.to_thread.run_sync(_end_session, running.pid)
            if before_restart is not None:
                try:
                    await before_restart()
                except Exception:
                    _logger.exception("preparing a restart failed", extra={"program": self._name})
            if self._running is not None or self._stopping:  # another task already restarted it
                continue
            try:
                self._spawn()
            except ApplyError as exc:
                self._problem = str(exc)
                _logger.error(
                    "program could not be started again", extra={"program": self._name, "reason": str(exc)}
                )
            else:
                self.restarts += 1

    def send(self, number: signal.Signals) -> None:
        """Send the program a signal.

        Raises:
            ApplyError: It does not run.
        """
        if self._running is None:
            raise ApplyError(f"{self._name} does not run" + (f": {self._problem}" if self._problem else ""))
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._running.descriptor, number)

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, grace: timedelta) -> None:
        """Ask the program to end, and end it when it has not within *grace*. It is not started again."""
        self._stopping = True
        if (running := self._running) is None:
            return
        self.send(number)
        with anyio.move_on_after(grace.total_seconds()), suppress(OSError):
            await self._wait_end(running)
        if not running.ended.is_set():
            _logger.warning(
                "program killed", extra={"program": self._name, "graceSeconds": grace.total_seconds()}
            )
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(running.descriptor, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await self._wait_end(running)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_end_session, running.pid)
        self._pid_file.unlink(missing_ok=True)

    def leave(self) -> None:
        """Let the program run on, for the next controller to adopt; forget it here."""
        self._stopping = True
        # Its descriptor stays open until it ends: `run` may be waiting on it.
        self._running = None

    async def wait_ended(self) -> None:
        """Return once the process that runs now has ended; at once when none does."""
        if (running := self._running) is not None:
            await self._wait_end(running)

    def _spawn(self) -> None:
        program = find_program(self._argv[0])
        try:
            output = self.output.open()
        except OSError as exc:
            raise ApplyError(f"{self.output.path}: {exc.strerror or exc}") from exc
        environment = os.environ if self._environment is None else self._environment
        try:
            pid = os.posix_spawn(
                program,
                [str(program), *self._argv[1:]],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=_NOT_IGNORED,
            )
        except OSError as exc:
            raise ApplyError(f"{program} could not be started: {exc.strerror or exc}") from exc
        finally:
            os.close(output)
        self._hold(pid, os.pidfd_open(pid))
        self._remember(pid)
        _logger.info("program started", extra={"program": self._name, "pid": pid})

    def _hold(self, pid: int, descriptor: int) -> None:
        self._running = _Running(pid=pid, descriptor=descriptor, since=anyio.current_time())
        self._problem = ""
        self._begun.set()

    def _remember(self, pid: int) -> None:
        """Losing the pid file costs the adoption, not what is served: it is no reason to fail."""
        fresh = self._pid_file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps({"pid": pid, "began": _began(pid)}), encoding="ascii")
            fresh.rename(self._pid_file)
        except OSError as exc:
            facts = {"program": self._name, "file": str(self._pid_file), "reason": exc.strerror}
            _logger.warning("pid could not be written", extra=facts)

    def _find_running(self) -> tuple[int, int] | None:
        try:
            held = cast("dict[str, object]", json.loads(self._pid_file.read_text(encoding="ascii")))
            pid, began = held["pid"], held["began"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not isinstance(pid, int) or pid < 2 or began is None:
            return None
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return None
        # After the descriptor is held: from here on the number cannot become another process.
        if _began(pid) == began and not _is_zombie(pid):
            return pid, descriptor
        os.close(descriptor)
        return None

    async def _wait_end(self, running: _Running) -> None:
        while not running.ended.is_set():
            # A descriptor of its own: several tasks may wait, and a loop lets one wait for each descriptor.
            descriptor = os.dup(running.descriptor)
            try:
                with anyio.move_on_after(_TRIM_SECONDS) as waiting:
                    await anyio.wait_readable(descriptor)
            finally:
                os.close(descriptor)
            if waiting.cancelled_caught:
                await anyio.to_thread.run_sync(self.output.trim)
            elif not running.ended.is_set():
                self._ended(running)

    def _ended(self, running: _Running) -> None:
        running.ended.set()
        os.close(running.descriptor)
        status = _reap(running.pid)
        if self._running is running:
            self._running = None
        lived = anyio.current_time() - running.since
        forgiven = lived >= self._settings.restart_forgiven.total_seconds()
        self._deaths_in_row = 1 if forgiven else self._deaths_in_row + 1
        if not self._stopping:
            last = self.output.since(0)[-1:]
            self._problem = f"{self._name} ended {status}" + (f" after {last[0]!r}" if last else "")
            _logger.error(
                "program ended", extra={"program": self._name, "pid": running.pid, "reason": self._problem}
            )

    def _restart_delay(self) -> float:
        waits = Doubling(self._settings.restart_first, self._settings.restart_ceiling)
        return waits.after(self._deaths_in_row).total_seconds()


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third on; the second may hold anything, spaces too."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return []


def _began(pid: int) -> str | None:
    """When a process began, in ticks since the machine did; ``exec`` does not change it. Source: proc(5)."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else None


def _is_zombie(pid: int) -> bool:
    return _stat(pid)[:1] in (["Z"], ["X"], [])


def _end_session(leader: int) -> None:
    """End the remaining processes of a program whose first one is gone: workers that hold its sockets.

    They had the time that their master gave them, or their master was killed. Blocks for two seconds at
    most, in a worker thread: processes that are not our children cannot be waited for.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _SESSION_SECONDS
        while left := _session(leader):
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)


def _session(leader: int) -> list[int]:
    """The processes of a session that still run; the session is named by the process that began it."""
    pids = (int(item.name) for item in Path("/proc").iterdir() if item.name.isdigit())
    return [pid for pid in pids if _stat(pid)[3:4] == [str(leader)] and not _is_zombie(pid)]


def _reap(pid: int) -> str:
    """How a process ended, in words; one that was adopted is not ours to ask."""
    try:
        _, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return "by itself"
    if os.WIFSIGNALED(status):
        return f"by signal {os.WTERMSIG(status)}"
    return f"with status {os.waitstatus_to_exitcode(status)}"
