"""What a newcomer and a contributor run first: the scripts, the Makefile, the flags that are documented."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ["setup", "format", "lint", "types", "test", "golden", "docs", "all", "demo"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_make_help_lists_the_work() -> None:
    listed = [line.split()[0] for line in output("make", "--no-print-directory", "help").splitlines()]

    assert set(WORK) <= set(listed)


def test_the_scripts_can_be_run() -> None:
    for name in ("scripts/setup", "scripts/demo", "scripts/test", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), name
        subprocess.run(["bash", "-n", name], cwd=ROOT, check=True)


def test_continuous_integration_runs_what_the_readme_says() -> None:
    assert "$ scripts/test\n" in text("README.md")
    assert "$ scripts/demo\n" in text("README.md")
    assert "/scripts/test" in text(".ci/run")


def test_a_check_that_does_not_exist_is_one_clear_line() -> None:
    run = subprocess.run(["scripts/setup", "everything"], cwd=ROOT, capture_output=True, text=True)

    assert run.returncode == 1
    assert run.stderr == "setup: there is no extra everything; choose all, test or docs\n"


def test_the_page_of_the_reference_controller_names_every_flag() -> None:
    program = output(sys.executable, "examples/reference_controller.py", "--help")
    flag = r"--[a-z][a-z-]+"

    assert set(re.findall(flag, text("docs/reference-controller.md"))) == set(re.findall(flag, program))


def test_every_change_that_is_not_released_is_one_sentence_of_a_known_kind() -> None:
    for fragment in (ROOT / "changelog.d").glob("*"):
        if fragment.name != "README.md":
            assert re.fullmatch(r"[\w-]+\.(added|changed|deprecated|removed|fixed|security)\.md", fragment.name)
            assert re.fullmatch(r"[A-Z][^\n]+\.\n", fragment.read_text(encoding="utf-8"))
