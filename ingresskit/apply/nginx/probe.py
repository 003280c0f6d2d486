"""Which nginx there is, and what it can do: asked of the program itself."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from ingresskit.apply.nginx.main_directives import main_directives
from ingresskit.apply.process import find_program
from ingresskit.diagnostics import printable
from ingresskit.errors import ApplyError
from ingresskit.render.nginx import OLDEST_VERSION, Capabilities, Version
from ingresskit.render.nginx.tree import Block, Directive, Node, write

__all__ = ["Found", "find_nginx", "run_nginx"]

_VERSION = re.compile(r"^nginx version: [^/\n]*/([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})", re.MULTILINE)
_MODULES_PATH = re.compile(r"--modules-path=(\S+)")
_PREFIX = re.compile(r"--prefix=(\S+)")
# In the order to load them: the second needs the first.
_LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
_STREAM_MODULE = "ngx_stream_module.so"
_SECONDS = 30.0
# Distributions that mend faults without a new version number say so in how they build.
_PATCHED = re.compile(r"/build/|debian|ubuntu|redhat|rpmbuild|--with-ld-opt='-Wl,-z,relro", re.IGNORECASE)


class Found:
    """A program and what it can do.

    Attributes:
        program: Absolute path.
        note: Why the dynamic mode cannot be had, as a clause; empty when it can.
    """

    def __init__(self, program: Path, capabilities: Capabilities, note: str) -> None:
        self.program: Path = program
        self.capabilities: Capabilities = capabilities
        self.note: str = note


async def find_nginx(name: str) -> Found:
    """Ask the program *name* (a path, or a name to look up) what it is.

    Raises:
        ApplyError: There is none, it may not be executed, it is not nginx, or it is too old.
    """
    program = await anyio.to_thread.run_sync(find_program, name)
    status, lines = await run_nginx(program, "-V")
    text = "\n".join(lines)
    found = _VERSION.search(text)
    if found is None:
        first = lines[0] if lines else f"status {status} and nothing else"
        raise ApplyError(f"{program} does not report a version of nginx, but {first!r}")
    version: Version = (int(found[1]), int(found[2]), int(found[3]))
    if version < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise ApplyError(f"{program} is nginx {'.'.join(found.groups())}; {oldest} or newer is needed")
    modules, note = await _lua(program, text)
    stream = await anyio.to_thread.run_sync(_stream, text)
    return Found(
        program,
        Capabilities(
            version=version,
            realip="--with-http_realip_module" in text,
            stub_status="--with-http_stub_status_module" in text,
            lua=not note,
            stream=stream is not None,
            stream_modules=stream or (),
            load_modules=modules,
            patched=_PATCHED.search(text) is not None,
        ),
        note,
    )


async def run_nginx(program: Path, *arguments: str) -> tuple[int, tuple[str, ...]]:
    """Run the program to its end; returns its status and what it wrote, printable.

    Raises:
        ApplyError: It cannot be run, or does not end within 30 s.
    """
    try:
        with anyio.fail_after(_SECONDS):
            done = await anyio.run_process([str(program), *arguments], check=False)
    except TimeoutError:
        raise ApplyError(f"{program} {' '.join(arguments)} did not end within {_SECONDS:g} s") from None
    except OSError as exc:
        raise ApplyError(f"{program} could not be run: {exc.strerror or exc}") from exc
    text = (done.stderr + done.stdout).decode("utf-8", "replace")
    # The line of how it was built is long, and what is looked for may stand at its end.
    return done.returncode, tuple(printable(line, 8000) for line in text.splitlines() if line.strip())


async def _lua(program: Path, text: str) -> tuple[tuple[str, ...], str]:
    """The modules to load for Lua, and why that cannot be; one of the two is empty, or both."""
    attempts: list[tuple[str, ...]] = [()]  # it may be built in
    folder = _modules_folder(text)
    if folder is not None and all((folder / name).is_file() for name in _LUA_MODULES):
        attempts.insert(0, tuple(str(folder / name) for name in _LUA_MODULES))
    reason = "the Lua module is not there (Debian has it in libnginx-mod-http-lua)"
    for modules in attempts:
        status, lines = await _try_lua(program, modules)
        if status == 0:
            return modules, ""
        if modules:
            reason = next((line for line in lines if "[emerg]" in line or "[error]" in line), reason)
    return (), reason


async def _try_lua(program: Path, modules: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    with tempfile.TemporaryDirectory(prefix="ingresskit-nginx-") as folder:
        await anyio.to_thread.run_sync(_write_probe, Path(folder), modules)
        return await run_nginx(
            program, "-t", "-e", "stderr", "-g", main_directives(), "-p", folder, "-c", f"{folder}/nginx.conf"
        )


def _write_probe(folder: Path, modules: Sequence[str]) -> None:
    http: tuple[Node, ...] = (
        Directive("access_log", ("off",)),
        *(Directive(f"{name}_temp_path", (f"{folder}/{name}",)) for name in _TEMPORARY),
        Directive("lua_shared_dict", ("probe", "1m")),
        Directive("init_by_lua_file", (f"{folder}/probe.lua",)),
    )
    nodes: tuple[Node, ...] = (
        *(Directive("load_module", (path,)) for path in modules),
        Directive("pid", (f"{folder}/pid",)),
        Directive("error_log", ("stderr",)),
        Block("events", (), ()),
        Block("http", (), http),
    )
    (folder / "nginx.conf").write_bytes(write(nodes).content)
    (folder / "probe.lua").write_text(_PROBE, encoding="ascii")


_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
# What the program of the dynamic mode cannot do without.
_PROBE = """\
require "ngx.balancer"
require "ngx.ssl"
require "ngx.re"
assert(ngx.shared.probe.safe_set and ngx.shared.probe.free_space and require("ffi").cast)
"""


def _stream(text: str) -> tuple[str, ...] | None:
    """The modules to load for connections that are passed on; ``None``: they cannot be."""
    if not all(f"--with-stream_{name}_module" in text for name in ("ssl_preread", "realip")):
        return None
    if "--with-stream=dynamic" not in text:
        return ()
    folder = _modules_folder(text)
    module = None if folder is None else folder / _STREAM_MODULE
    return (str(module),) if module is not None and module.is_file() else None


def _modules_folder(text: str) -> Path | None:
    if found := _MODULES_PATH.search(text):
        return Path(found[1].strip("'\""))
    if found := _PREFIX.search(text):
        return Path(found[1].strip("'\"")) / "modules"
    return None
