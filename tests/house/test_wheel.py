"""The wheel, installed in an empty environment: all that belongs in it, nothing else, and it works."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from email.parser import Parser
from http.client import HTTPConnection
from pathlib import Path

import pytest

import ingresskit
from ingresskit.testing import pace
from tests.features.reference_process import Lines
from tests.house.conftest import ReadmeProgram

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ingresskit"

# Building and installing take a while where the machine or the package index is busy.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # With the back end of the lock, which is installed here: pip's isolated build would download another.
    build = ["--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, "wheel", *build, str(ROOT)], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it depends on, no extras."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    interpreter = environment / "bin" / "python"
    pip = [str(interpreter), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    lock = ["--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "requirements" / "package.lock")]
    subprocess.run([*pip, "install", *lock], check=True)
    # Without the index: what the wheel's metadata asks for beyond the lock fails here.
    subprocess.run([*pip, "install", "--no-index", str(wheel)], check=True)
    return interpreter


def test_the_wheel_holds_the_package_and_its_metadata_only(names: list[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in names} == {"ingresskit"}
    assert [name for name in names if "test_" in name or "__pycache__" in name] == []


def test_the_wheel_holds_every_file_of_the_package(names: list[str]) -> None:
    files = {str(file.relative_to(ROOT)) for file in sources(PACKAGE)}

    assert files - set(names) == set()
    assert "ingresskit/py.typed" in names


def sources(folder: Path) -> Iterator[Path]:
    for item in folder.iterdir():
        if item.is_dir() and item.name != "__pycache__":
            yield from sources(item)
        elif item.is_file():
            yield item


def test_the_metadata_says_what_it_is_and_needs(wheel: Path, names: list[str]) -> None:
    (place,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(place).decode())

    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert any(name.endswith("/LICENSE") for name in names)
    assert metadata.get_payload(), "the README is its description"
    assert {"admin", "all", "docs", "files", "proxy", "test", "tls"} <= set(
        metadata.get_all("Provides-Extra", [])
    )


def test_the_program_of_the_readme_runs_where_only_the_wheel_is_installed(
    python: Path, readme_program: ReadmeProgram
) -> None:
    answer = readme_program(python)

    assert (answer.status, answer.served_by, answer.body) == (200, "ingresskit", b"hello")


def test_the_wheel_brings_the_manifests_of_the_demonstration(wheel: Path) -> None:
    folder = ROOT / "examples" / "manifests" / "demo"
    with zipfile.ZipFile(wheel) as archive:
        brought = {
            name.rpartition("/")[2]: archive.read(name)
            for name in archive.namelist()
            if name.startswith("ingresskit/app/manifests/")
        }

    assert brought == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_demonstration_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """Unpacked in front of everything else, with the extras of this environment, far from the clone."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "wheel")
    ports = ["--http=127.0.0.1:0", "--https=127.0.0.1:0", "--admin=127.0.0.1:0"]
    command = [sys.executable, "-m", "ingresskit", "demo", f"--state-dir={tmp_path / 'state'}", *ports]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "wheel")}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        log, output = Lines(process.stderr), Lines(process.stdout)
        try:
            head = output.wait_for("Serving ")
            shop = output.wait_for("curl http://shop.demo.localhost:")
            port = int(shop.rstrip("/\n").rpartition(":")[2])
            with closing(HTTPConnection("127.0.0.1", port, timeout=pace.within(20))) as connection:
                connection.request("GET", "/", headers={"Host": f"shop.demo.localhost:{port}"})
                response = connection.getresponse()
                body = response.read()
            process.send_signal(signal.SIGINT)
            status = process.wait(pace.within(60))
        finally:
            process.kill()

    assert f"Serving {tmp_path / 'state' / 'demo-manifests'}: " in head
    assert (response.status, b'"service": "demo/shop"' in body) == (200, True)
    assert status == 0
    assert [line for line in log.seen if "Traceback" in line] == []


def test_the_script_runs_where_only_the_wheel_is_installed(python: Path) -> None:
    script = str(python.with_name("ingresskit"))

    version = subprocess.run([script, "--version"], check=True, capture_output=True, text=True)
    check = subprocess.run(
        [script, "check", str(ROOT / "examples/manifests/hello")], check=True, capture_output=True, text=True
    )
    demo = subprocess.run([script, "demo"], check=False, capture_output=True, text=True)

    assert version.stdout == f"ingresskit {ingresskit.__version__}\n"
    assert check.stderr == "1 Ingress, 1 of this controller; errors: 0, warnings: 0\n"
    assert demo.returncode == 1
    assert re.fullmatch(r"ingresskit demo: this needs \w+: pip install 'ingresskit\[\w+\]'\n", demo.stderr)


def test_the_command_line_runs_where_only_the_wheel_is_installed(python: Path) -> None:
    command = [str(python), "-I", "-m", "ingresskit", "explain", str(ROOT / "examples/manifests/hello")]

    run = subprocess.run([*command, "http://hello.example/x"], check=True, capture_output=True, text=True)

    assert "Prefix / of hello.example" in run.stdout
