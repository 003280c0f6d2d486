"""The locks in requirements/ pin everything that pyproject.toml asks for, and agree with one another."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("dev", "all", "package")
PROJECT = cast(
    "dict[str, object]", tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
)
EXTRAS = cast("dict[str, list[str]]", PROJECT["optional-dependencies"])


def pins(lock: str) -> dict[str, set[str]]:
    """Versions by canonical name: more than one where older Pythons need another."""
    found: dict[str, set[str]] = {}
    for entry in entries(lock):
        requirement = Requirement(entry.split("\\")[0].strip())
        (exact,) = requirement.specifier
        assert exact.operator == "==", entry
        found.setdefault(canonicalize_name(requirement.name), set()).add(exact.version)
    return found


def entries(lock: str) -> list[str]:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    return re.findall(r"^[a-z].*(?:\n    --hash.*)*", text, re.MULTILINE)


def asked(*extras: str) -> Iterator[Requirement]:
    for text in cast("list[str]", PROJECT["dependencies"]):
        yield Requirement(text)
    for extra in extras:
        for text in EXTRAS[extra]:
            requirement = Requirement(text)
            if requirement.name == "ingresskit":
                yield from asked(*requirement.extras)
            else:
                yield requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock: str) -> None:
    found = entries(lock)

    assert len(found) > 10
    assert [entry for entry in found if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(("lock", "extras"), [("dev", tuple(EXTRAS)), ("all", ("all",)), ("package", ())])
def test_what_the_project_asks_for_is_pinned_within_its_bounds(lock: str, extras: tuple[str, ...]) -> None:
    found = pins(lock)

    for requirement in asked(*extras):
        versions = found.get(canonicalize_name(requirement.name))
        assert versions is not None, f"{requirement}: not in {lock}.lock; run scripts/lock"
        for version in versions:
            assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: run scripts/lock"


@pytest.mark.parametrize("lock", ["dev", "all"])
def test_the_build_back_end_is_pinned(lock: str) -> None:
    assert {"hatchling", "editables"} <= set(pins(lock))


@pytest.mark.parametrize("lock", ["all", "package"])
def test_the_smaller_locks_are_cut_out_of_the_large_one(lock: str) -> None:
    whole = pins("dev")

    assert {name: versions for name, versions in pins(lock).items() if whole.get(name) != versions} == {}
