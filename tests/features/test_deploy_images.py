"""What the Dockerfiles of examples/deploy name is there, and the controller runs as the user that they set.

There is no engine here that builds images: their steps are read, and the entry point is run on this machine.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest

from ingresskit.testing import pace
from ingresskit.testing.apiserver import ApiServer
from tests.features.cluster_scene import LOOPBACK, Pod, ingress, ingress_class, service, slice_of
from tests.features.deploy_scene import DEPLOY, container_of, overlay
from tests.features.reference_process import ReferenceController, wait_until

ROOT = DEPLOY.parents[1]
IMAGES = {path.name.removesuffix(".Dockerfile"): path for path in (DEPLOY / "images").glob("*.Dockerfile")}
PROGRAMS = {"inprocess": (), "haproxy": ("haproxy",), "nginx": ("nginx", "libnginx-mod-http-lua")}

Step = tuple[str, str]
"""An instruction and what follows it."""


def stages(name: str) -> list[list[Step]]:
    text = re.sub(r"^#.*\n", "", IMAGES[name].read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    steps = [cast("Step", tuple(line.split(maxsplit=1))) for line in text.splitlines() if line.strip()]
    found: list[list[Step]] = []
    for step in steps:
        if step[0] == "FROM":
            found.append([])
        found[-1].append(step)
    return found


def arguments(steps: list[Step], instruction: str) -> list[str]:
    return [text for name, text in steps if name == instruction]


def test_there_is_one_for_each_renderer() -> None:
    assert IMAGES.keys() == PROGRAMS.keys()


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_copied_is_there_and_in_the_context(name: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    build, final = stages(name)
    for text in arguments(build, "COPY"):
        *sources, _ = text.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in kept
            kept.discard(source)
    assert kept == set()
    made = {"/opt/ingresskit"}
    assert arguments(final, "COPY") == [f"--from=build {path} {path}" for path in made]


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_built_from_the_lock_and_of_what_the_package_needs(name: str) -> None:
    build, final = stages(name)
    assert build == stages("inprocess")[0]
    assert arguments(build, "FROM")[0].removesuffix(" AS build") == arguments(final, "FROM")[0]
    (install, package) = arguments(build, "RUN")
    assert "--require-hashes --only-binary :all: --requirement requirements/all.lock" in install
    assert "--no-index --no-deps --no-build-isolation ." in package
    lock = (ROOT / "requirements/all.lock").read_text()
    for tool in ("hatchling", "editables"):
        assert re.search(rf"^{tool}==", lock, re.MULTILINE)
        assert tool in package.partition("uninstall")[2]
    copied = " ".join(arguments(build, "COPY")).split()
    project = (ROOT / "pyproject.toml").read_text()
    for needed in re.findall(r'^(?:readme = "(.+)"|license-files = \["(.+)"\])', project, re.MULTILINE):
        assert "".join(needed) in copied
    (included,) = re.findall(r'^force-include = \{ "(.+?)" =', project, re.MULTILINE)
    assert any(fnmatch.fnmatch(included, f"{path}*") for path in copied)


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_has_its_program_and_neither_root_nor_a_shell(name: str, tmp_path: Path) -> None:
    _, final = stages(name)
    installed = " ".join(arguments(final, "RUN")).split()
    assert set(PROGRAMS[name]) <= set(installed)
    assert bool(installed) is bool(PROGRAMS[name])
    assert arguments(final, "USER") == ["10001:10001"]
    (entry,) = arguments(final, "ENTRYPOINT")
    program, *words = cast("list[str]", json.loads(entry))
    assert program == "/opt/ingresskit/bin/python"
    manifests = overlay("edge" if name == "inprocess" else f"edge-{name}", tmp_path)
    image = container_of(manifests)["image"]
    assert image in IMAGES[name].read_text()
    assert "command" not in container_of(manifests)
    helped = subprocess.run([sys.executable, *words, "--help"], capture_output=True, text=True, check=True)
    assert "--renderer" in helped.stdout


@pytest.fixture
def server() -> Generator[ApiServer]:
    with ApiServer.in_thread() as running, Pod("served") as pod:
        running.load([ingress_class(), service(), slice_of(port=pod.port), ingress("a")])
        yield running


@pytest.fixture
def state_folder() -> Generator[Path]:
    """With a short path: programs make sockets in it."""
    with tempfile.TemporaryDirectory(prefix="deploy-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("renderer", PROGRAMS)
def test_as_that_user_and_without_any_right_to_write_elsewhere_it_serves(
    renderer: str, server: ApiServer, tmp_path: Path, state_folder: Path
) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("another user is made by root with setpriv only")
    if renderer != "inprocess" and shutil.which(renderer, path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip(f"there is no {renderer} here")
    os.chown(state_folder, 10001, 10001)
    # The test's files and Python may be in folders of root's own: they are read, as those of an image are.
    capability = "-all,+dac_read_search"
    user = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", "--no-new-privs"]
    user += [f"--inh-caps={capability}", f"--ambient-caps={capability}", f"--bounding-set={capability}"]
    flags = (f"--renderer={renderer}", f"--state-dir={state_folder / 'made'}", LOOPBACK)
    config = server.kubeconfig(tmp_path / "config")
    with ReferenceController("--kubeconfig", config, *flags, within=user) as running:
        running.wait_ready()
        wait_until(lambda: running.get("a.example").text == "served")
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        assert "Uid:\t10001\t10001\t10001\t10001\n" in status
        running.process.terminate()
        assert running.process.wait(pace.within(20)) == 0
