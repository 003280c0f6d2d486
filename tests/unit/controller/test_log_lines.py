"""What a program with plain logging reads of a controller: each line stands alone."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import anyio
import pytest

from ingresskit.apply import Plan
from ingresskit.controller import Controller
from ingresskit.controller.redact import loggable
from ingresskit.errors import ApplyError, SourceError
from ingresskit.sources import MemorySource
from tests.unit.controller.doubles import (
    DEADLINE,
    QUICK,
    Hosts,
    HostsRenderer,
    RecordingApplier,
    ingress,
    wait_until,
    web,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What `logging.basicConfig` writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    logger = logging.getLogger("ingresskit")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(before)


class TakenPort(RecordingApplier):
    """Cannot listen, because of somebody else."""

    async def apply(self, plan: Plan[Hosts]) -> None:
        try:
            raise OSError(98, "Address already in use")
        except OSError as exc:
            raise ApplyError("haproxy cannot listen at 0.0.0.0:80") from exc


class Buggy(RecordingApplier):
    async def apply(self, plan: Plan[Hosts]) -> None:
        raise KeyError("slot")


async def logged(applier: RecordingApplier, log: io.StringIO, words: str) -> str:
    """The log of a controller over an Ingress whose Service is missing, up to those words."""
    source = MemorySource((ingress("shop", "shop.test"), *web(), ingress("lost", "lost.test", namespace="x")))
    controller = Controller(source=source, renderer=HostsRenderer(), applier=applier, settings=QUICK)
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(controller.run)
            await wait_until(lambda: words in log.getvalue())
            tasks.cancel_scope.cancel()
    return log.getvalue()


async def test_a_diagnostic_is_whole_in_its_line(log: io.StringIO) -> None:
    text = await logged(RecordingApplier(), log, "diagnostic appeared")

    (line,) = (line for line in text.splitlines() if "diagnostic appeared" in line)
    for part in (
        "WARNING",
        "severity=error",
        "reason=ServiceNotFound",
        "kind=Ingress",
        "namespace=x",
        "object=lost",
    ):
        assert part in line
    assert "text=" in line


async def test_a_fault_of_the_world_is_one_line(log: io.StringIO) -> None:
    text = await logged(TakenPort(), log, "pass failed")

    assert 'reason="ApplyError: haproxy cannot listen at 0.0.0.0:80"' in text
    assert "stage=apply" in text
    assert "Traceback" not in text


async def test_a_bug_is_in_the_line_and_has_its_traceback(log: io.StringIO) -> None:
    text = await logged(Buggy(), log, "Traceback")

    (line, *_) = (line for line in text.splitlines() if "pass failed" in line)
    assert "reason=\"KeyError: 'slot'\"" in line


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (SourceError("gone"), False),
        (OSError(28, "No space left on device"), False),
        (chained(ApplyError("no"), FileNotFoundError("haproxy")), False),
        (chained(ApplyError("no"), KeyError("slot")), True),
        (ValueError("bug"), True),
        (ValueError("-----BEGIN PRIVATE KEY-----"), False),
    ],
    ids=repr,
)
async def test_what_has_a_traceback(error: Exception, shown: bool) -> None:
    assert loggable(error) is (error if shown else None)
