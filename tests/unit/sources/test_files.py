from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from ingresskit.errors import ConfigurationError, SourceError
from ingresskit.models import Ingress, Snapshot
from ingresskit.sources import FileSource, Source
from ingresskit.testing import pace

anyio_test = pytest.mark.anyio

QUICK = timedelta(milliseconds=20)
DEADLINE = pace.within(20)


def ingress(name: str, host: str) -> str:
    return (
        "apiVersion: networking.k8s.io/v1\n"
        "kind: Ingress\n"
        f"metadata: {{name: {name}}}\n"
        f"spec: {{rules: [{{host: {host}}}]}}\n"
    )


def hosts(snapshot: Snapshot) -> list[str | None]:
    return [item.spec.rules[0].host for item in snapshot.all(Ingress)]


@asynccontextmanager
async def running(source: Source) -> AsyncGenerator[None]:
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.run)
            yield
            tasks.cancel_scope.cancel()


async def wait_snapshot(source: Source, wanted: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot that is as wanted."""
    revision = 0
    while True:
        await source.wait_changed(revision)
        snapshot = source.snapshot()
        assert snapshot is not None
        if wanted(snapshot):
            return snapshot
        revision = snapshot.revision


@anyio_test
async def test_there_is_no_snapshot_before_all_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(ingress("web", "a.test"))
    source = FileSource(tmp_path, interval=QUICK)

    before = source.snapshot()
    async with running(source):
        first = await wait_snapshot(source, lambda _: True)

    assert before is None
    assert hosts(first) == ["a.test"]
    assert source.statistics() == {"files": 1, "documents": 1, "objects": 1, "ignored": 0}


@anyio_test
async def test_changes_new_files_and_deletions_are_followed(tmp_path: Path) -> None:
    web = tmp_path / "web.yaml"
    web.write_text(ingress("web", "a.test"))
    source = FileSource(tmp_path, interval=QUICK)

    async with running(source):
        await wait_snapshot(source, lambda snapshot: hosts(snapshot) == ["a.test"])
        web.write_text(ingress("web", "b.test"))
        await wait_snapshot(source, lambda snapshot: hosts(snapshot) == ["b.test"])
        (tmp_path / "api.yaml").write_text(ingress("api", "c.test"))
        await wait_snapshot(source, lambda snapshot: hosts(snapshot) == ["c.test", "b.test"])
        web.unlink()
        await wait_snapshot(source, lambda snapshot: hosts(snapshot) == ["c.test"])


@anyio_test
async def test_an_object_that_did_not_change_is_the_same_in_the_next_snapshot(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(ingress(name, f"{name}.test"))
    source = FileSource(tmp_path, interval=QUICK)

    async with running(source):
        before = await wait_snapshot(source, lambda snapshot: len(hosts(snapshot)) == 2)
        (tmp_path / "b.yaml").write_text(ingress("b", "new.test"))
        after = await wait_snapshot(source, lambda snapshot: "new.test" in hosts(snapshot))

    assert after.all(Ingress)[0] is before.all(Ingress)[0]


@anyio_test
async def test_a_file_that_breaks_is_a_problem_and_keeps_its_object(tmp_path: Path) -> None:
    web = tmp_path / "web.yaml"
    web.write_text(ingress("web", "a.test"))
    source = FileSource(tmp_path, interval=QUICK)

    async with running(source):
        await wait_snapshot(source, lambda snapshot: not snapshot.problems)
        web.write_text(ingress("web", "[").replace("}]}", ""))
        broken = await wait_snapshot(source, lambda snapshot: bool(snapshot.problems))

    assert hosts(broken) == ["a.test"]
    assert broken.problems[0].location == f"{web}, document 1, line 4"


@anyio_test
async def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    source = FileSource(tmp_path / "nowhere")

    with pytest.raises(SourceError) as caught:
        await source.run()

    assert str(caught.value) == (
        f"the manifests in {tmp_path}/nowhere cannot be read: No such file or directory"
    )


def test_the_interval_must_be_more_than_zero(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="more than zero"):
        FileSource(tmp_path, interval=timedelta(0))


def test_json_manifests_are_read_where_pyyaml_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}')
    (tmp_path / "b.yaml").write_text("a: 1")
    program = (
        "import sys; sys.modules['yaml'] = None\n"
        "from ingresskit.sources.files_folder import Folder\n"
        "look = Folder(sys.argv[1]).look()\n"
        "print(*(item.ref for item in look.objects), *(problem.reason for problem in look.problems), sep='|')"
    )

    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)

    assert done.stdout == "Service default/a|is YAML, which needs PyYAML: pip install 'ingresskit[files]'\n"


def test_importing_the_sources_does_not_load_the_yaml_library() -> None:
    program = "import sys, ingresskit.sources; print('yaml' in sys.modules, 'pydantic' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "False False\n"
