"""h2spec, the conformance tests of HTTP/2 by others, against every proxy that speaks it.

It is built from its Go module, so it runs where there is Go and a module proxy, and only where much is wanted
(``--changes 1000``, `scripts/test --all`).
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from ingresskit.testing import pace
from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import opened
from tests.dataplane.stage import Stage

MODULE = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

# By section and number. libnghttp2 keeps nothing of a stream that is closed, so that nobody can make it keep
# much: it ignores frames for it (RFC 9113, 5.1, allows to discard DATA and HEADERS for a while after a reset).
_CLOSED = {"5.1/8", "5.1/9", "5.1/11", "5.1/12", "5.1.1/2", "6.1/2"}
# The settings say that priorities of RFC 7540 are not heeded (RFC 9218, 2.1); their frames are not looked at.
_PRIORITIES = {"5.3.1/2", "6.3/1"}
# The endpoint responds before it has read the trailers, which the response then overtakes.
_EARLY = {"8.1.2.1/3"}
# A window beyond 2^31-1 of a stream ends the connection, which is more than the stream it must cost.
_WINDOW = {"6.9.1/3"}
# What is not the preface of HTTP/2 on a port of both protocols is a request of HTTP/1.1, and gets its 400.
_PREFACE = {"3.5/2"}
# HAProxy 2.6 serves a HEADERS frame that is a little larger than it allows.
_LARGE = {"4.2/3"}
EXCEPTIONS = {
    ("inprocess", "plain"): _CLOSED | _PRIORITIES | _WINDOW | _EARLY | _PREFACE,
    ("inprocess", "TLS"): _CLOSED | _PRIORITIES | _WINDOW | _EARLY,
    ("haproxy", "plain"): _LARGE | _PREFACE,
    ("haproxy", "TLS"): _LARGE,
}

pytestmark = pytest.mark.anyio


@functools.cache
def h2spec() -> Path | None:
    """The program; ``None``: it cannot be built here."""
    if shutil.which("go") is None:
        return None
    folder = Path(".cache/h2spec").absolute()
    program = folder / "h2spec"
    if not program.exists():
        build = subprocess.run(
            ["go", "install", MODULE],
            env={**os.environ, "GOBIN": str(folder), "GOFLAGS": "-modcacherw"},
            capture_output=True,
            timeout=pace.within(300),
            check=False,
        )
        if build.returncode:
            return None
    return program


def failures(output: str) -> set[str]:
    """The tests that failed, by section and number."""
    found: set[str] = set()
    section = ""
    for line in output.partition("Failures:")[2].splitlines():
        if match := re.match(r"\s+([0-9.]+?)\.? [A-Z]", line):
            section = match[1]
        elif match := re.match(r"\s+\u00d7 ([0-9]+):", line):
            found.add(f"{section}/{match[1]}")
    return found


@pytest.fixture(params=["inprocess", "haproxy"], scope="module")
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened(request.param) as made:
        yield made


@pytest.mark.parametrize("way", ["plain", "TLS"])
async def test_h2spec_passes_but_for_what_is_listed(
    stage: Stage, plane: Plane, way: str, whole_wanted: bool
) -> None:
    if not whole_wanted:
        pytest.skip("h2spec runs with --changes 1000")
    program = await anyio.to_thread.run_sync(h2spec)
    if program is None:
        pytest.skip("h2spec cannot be built: no Go, or no Go module proxy")
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, host="127.0.0.1")
    address = plane.http if way == "plain" else plane.https
    assert address is not None
    arguments = ["-h", address[0], "-p", str(address[1]), "-o", "3", "--strict"]
    arguments += ["-t", "-k"] if way == "TLS" else []
    done = await anyio.run_process([str(program), *arguments], check=False)
    output = done.stdout.decode()

    assert "146 tests" in output, output[-500:]
    assert failures(output) <= EXCEPTIONS[plane.name, way], output.partition("Failures:")[2]
