"""Every numbered example runs and says what it should, and none looks behind the public face."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingresskit.testing import pace
from ingresskit.testing.ports import free_port
from tests.features.reference_process import DEADLINE, EXAMPLES, get, wait_until

NUMBERED = sorted(path.name for path in EXAMPLES.glob("[0-9]*.py"))


PATH = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "x", "port": {"number": 80}}}}


def run(name: str, *words: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=pace.within(60),
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything that is imported from ingresskit."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ingresskit":
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((item.name, "") for item in node.names if item.name.split(".")[0] == "ingresskit")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_uses_public_names_only(path: Path) -> None:
    used = list(imports(path))

    for module, name in used:
        public = importlib.import_module(module)
        assert hasattr(public, "__path__") or module.count(".") == 1, f"{module} is a file inside a room"
        assert name in public.__all__


def test_the_examples_are_listed_with_their_idea() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    assert [name for name in NUMBERED if f"]({name})" not in listed] == []


def test_no_example_is_left_out_here() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")

    assert [name for name in NUMBERED if f'("{name}"' not in tested] == []


def test_a_dry_run_lists_what_would_be_served() -> None:
    output = run("01_dry_run.py")

    assert output.startswith("hello.example Prefix /: Forward(")
    assert len(output.splitlines()) == 1


def test_a_dry_run_lists_what_is_wrong() -> None:
    output = run("01_dry_run.py", str(EXAMPLES / "manifests" / "mistakes"))

    assert "error ServicePortNotFound Ingress web/first" in output


def test_a_folder_is_served(tmp_path: Path) -> None:
    redirect = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "old",
            "annotations": {
                "kubernetes.io/ingress.class": "ingresskit",
                "ingresskit.dev/redirect": "https://new.example",
                "ingresskit.dev/redirect-status": "301",
            },
        },
        "spec": {"rules": [{"host": "old.example", "http": {"paths": [PATH]}}]},
    }
    (tmp_path / "old.json").write_text(json.dumps(redirect), encoding="utf-8")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *("02_serve_folder.py", str(tmp_path), str(port))], cwd=EXAMPLES
    )
    try:
        wait_until(lambda: status(port) == 301)
    finally:
        process.kill()
        process.wait(DEADLINE)


def status(port: int) -> int | None:
    """What it answers; ``None`` while nobody listens."""
    try:
        return get(port, "/", "old.example").status
    except ConnectionError:
        return None


def test_a_renderer_writes_its_files_and_says_what_it_cannot_honour() -> None:
    output = run("03_first_renderer.py")

    head, _, rest = output.partition("\n")
    config, _, diagnostics = rest.partition("\n\n")
    (gate,) = json.loads(config)["gates"]
    assert head == "# tollgate.json"
    assert gate["lanes"] == [
        {"below": "/", "patience_ms": 5000, "to": [{"weight": 1, "hosts": ["10.1.0.7:8080"]}]}
    ]
    assert diagnostics.startswith("warning PolicyUnsupported Ingress web/docs")


def test_a_policy_of_ones_own_is_read_and_checked() -> None:
    output = run("04_own_policy.py").splitlines()

    assert output[:2] == [
        "blog.example/ is looked after by nobody",
        "shop.example/ is looked after by payments",
    ]
    assert output[2].startswith("warning AnnotationInvalid Ingress web/blog")
    assert len(output) == 3


def test_objects_made_by_a_program_go_live_one_change_after_the_other() -> None:
    live = [line for line in run("05_memory_source.py").splitlines() if line.startswith("live:")]

    assert [("old.example" in line, "blog.example" in line) for line in live] == [
        (True, False),
        (True, True),
        (False, True),
    ]


def test_an_explanation_gives_the_verdict_and_every_near_miss() -> None:
    output = run("06_explain.py").splitlines()

    assert output[0].startswith("308: Prefix / of shop.example (Ingress web/site")
    assert {line.split(": ")[1].split(",")[0] for line in output[1:]} == {"PathType", "LessSpecificHost"}


def test_checked_files_are_reloaded_and_swapped_whole() -> None:
    assert run("07_checked_files.py") == '["one.example", "two.example"]\n2 reloads\n'
