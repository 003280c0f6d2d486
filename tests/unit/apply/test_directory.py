from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from typing_extensions import override

from ingresskit.apply import Applier, CheckingApplier, DirectoryApplier, Dynamic, NoOp, Reload
from ingresskit.errors import ApplyError, CheckFailed, ConfigurationError
from ingresskit.render import RenderedFile, Rendering
from ingresskit.testing import pace
from ingresskit.testing.loop_contracts import ApplierContract


def rendering(**texts: str) -> Rendering:
    return Rendering(tuple(RenderedFile.text(name, text) for name, text in texts.items()))


def served(applier: DirectoryApplier) -> str | None:
    main = applier.folder / "main"
    return main.read_text() if main.exists() else None


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


CHECK = ["grep", "-q", "good", "{folder}/main"]


async def put(applier: DirectoryApplier, text: str) -> None:
    await applier.apply(applier.plan(None, rendering(main=text)))


@pytest.mark.anyio
async def test_files_go_live_when_the_check_finds_nothing(tmp_path: Path) -> None:
    applier = DirectoryApplier(tmp_path / "state", check=CHECK)
    await put(applier, "good 1")
    await put(applier, "good 2")

    assert served(applier) == "good 2"


@pytest.mark.anyio
async def test_what_the_check_refuses_is_never_seen(tmp_path: Path) -> None:
    applier = DirectoryApplier(tmp_path, check=CHECK)
    await put(applier, "good")
    with pytest.raises(CheckFailed, match="grep, ended with 1"):
        await put(applier, "bad")

    assert served(applier) == "good"
    assert names(tmp_path) == ["current", "gen-000001"]


@pytest.mark.anyio
async def test_the_output_of_the_check_is_quoted_and_points_at_objects(tmp_path: Path) -> None:
    subject = ("Ingress", ("shop", "web"))
    applier = DirectoryApplier(
        tmp_path,
        check=["sh", "-c", "echo 'main:3: bad \033[2J'; exit 1", "{folder}"],
        attribute=lambda output: [subject] if "main:3" in output else [],
    )
    with pytest.raises(CheckFailed, match=r"main:3: bad \\x1b") as caught:
        await applier.check(rendering(main=""))

    assert caught.value.subjects == {subject}


@pytest.mark.anyio
async def test_checking_alone_changes_nothing(tmp_path: Path) -> None:
    applier = DirectoryApplier(tmp_path, check=CHECK)
    await put(applier, "good")
    await applier.check(rendering(main="good too"))

    assert served(applier) == "good"


@pytest.mark.anyio
async def test_the_proxy_is_told_to_read_what_is_current(tmp_path: Path) -> None:
    log = tmp_path / "log"
    applier = DirectoryApplier(
        tmp_path / "state", reload=["sh", "-c", f"cat $0/main >> {log}", "{folder}"], check=CHECK
    )
    await put(applier, "good 1\n")
    await put(applier, "good 2\n")

    assert log.read_text() == "good 1\ngood 2\n"


@pytest.mark.anyio
async def test_a_reload_that_fails_goes_back_to_what_was_there(tmp_path: Path) -> None:
    log = tmp_path / "log"
    reload = ["sh", "-c", f"cat $0/main >> {log}; grep -q good $0/main", "{folder}"]
    applier = DirectoryApplier(tmp_path / "state", reload=reload)
    await put(applier, "good\n")
    with pytest.raises(ApplyError, match="the reload, sh, ended with 1"):
        await put(applier, "bad\n")

    assert served(applier) == "good\n"
    assert log.read_text() == "good\nbad\ngood\n"


@pytest.mark.anyio
async def test_a_check_that_hangs_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hanging = ["sh", "-c", f"sleep 600 & echo $! > {pid}; wait", "{folder}"]
    applier = DirectoryApplier(tmp_path / "state", check=hanging, timeout=timedelta(milliseconds=300))
    with pytest.raises(ApplyError, match=r"the check, sh, took longer than 0\.3 s"):
        await put(applier, "x")

    assert names(tmp_path / "state") == []
    with anyio.fail_after(pace.within(10)):
        while Path(f"/proc/{pid.read_text().strip()}").exists():  # noqa: ASYNC110, ASYNC240 - not ours to wait for
            await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_a_reload_that_hangs_is_ended_and_gone_back_from(tmp_path: Path) -> None:
    reload = ["sh", "-c", "grep -q good $0/main || exec sleep 600", "{folder}"]
    applier = DirectoryApplier(tmp_path, reload=reload, timeout=timedelta(milliseconds=200))
    await put(applier, "good")
    with pytest.raises(ApplyError, match=r"the reload, sh, took longer than 0\.2 s"):
        await put(applier, "hangs")

    assert served(applier) == "good"


@pytest.mark.anyio
async def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    applier = DirectoryApplier(tmp_path, reload=["no-such-program"])
    with pytest.raises(ApplyError, match="no-such-program, could not be run"):
        await put(applier, "x")


@pytest.mark.anyio
async def test_a_cancelled_apply_leaves_what_was_there(tmp_path: Path) -> None:
    applier = DirectoryApplier(tmp_path, reload=["sh", "-c", "grep -q good $0/main || sleep 600", "{folder}"])
    await put(applier, "good")
    with anyio.move_on_after(0.3):
        await put(applier, "hangs")

    assert served(applier) == "good"


def test_equal_files_need_nothing_and_others_a_reload_where_there_is_one(tmp_path: Path) -> None:
    quiet, loud = DirectoryApplier(tmp_path), DirectoryApplier(tmp_path, reload=["true"])
    one, two = rendering(main="1", same="x"), rendering(main="2", same="x")

    assert quiet.plan(one, rendering(main="1", same="x")) == NoOp()
    assert quiet.plan(one, two) == Dynamic(artifact=two, summary="1 file")
    assert loud.plan(one, two) == Reload(artifact=two, reason="1 file changed")
    assert loud.plan(None, two) == Reload(artifact=two, reason="2 files changed")


def test_a_check_that_is_not_told_what_to_check_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="folder"):
        DirectoryApplier(tmp_path, check=[sys.executable, "-c", ""])
    with pytest.raises(ConfigurationError, match="timeout"):
        DirectoryApplier(tmp_path, timeout=timedelta(0))


class TestDirectoryApplier(ApplierContract[Rendering]):
    @override
    def applier(self) -> AbstractAsyncContextManager[Applier[Rendering]]:
        return self._applier()

    @asynccontextmanager
    async def _applier(self) -> AsyncGenerator[DirectoryApplier]:
        with tempfile.TemporaryDirectory() as folder:
            yield DirectoryApplier(
                Path(folder, "state"), check=["test", "-f", "{folder}/main"], reload=["true"]
            )

    @override
    def artifacts(self) -> tuple[Rendering, Rendering]:
        return rendering(main="1"), rendering(main="2", more="x")

    @override
    async def served(self, applier: Applier[Rendering]) -> Rendering | None:
        assert isinstance(applier, DirectoryApplier)
        assert isinstance(applier, CheckingApplier)
        files = await anyio.to_thread.run_sync(lambda: sorted(applier.folder.iterdir()))
        return rendering(**{file.name: file.read_text() for file in files}) if files else None
