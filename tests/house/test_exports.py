"""The public face: what every package says it exports is what it exports."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import ingresskit

ROOMS = frozenset(module.name for module in pkgutil.iter_modules(ingresskit.__path__))
MODULES = sorted(
    {"ingresskit"}
    | {module.name for module in pkgutil.walk_packages(ingresskit.__path__, "ingresskit.")}
    - {"ingresskit.__main__"}
)
PACKAGES = [name for name in MODULES if hasattr(importlib.import_module(name), "__path__")]


def exported(module: ModuleType) -> list[str]:
    return list(getattr(module, "__all__", []))


def in_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as ruff's RUF022 has it."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", MODULES)
def test_exported_names_exist_and_are_sorted(name: str) -> None:
    module = importlib.import_module(name)

    names = exported(module)

    assert [item for item in names if not hasattr(module, item)] == []
    assert [item for item in names if item != "__version__"] == sorted(
        set(names) - {"__version__"}, key=in_order
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_holds_no_public_name_that_it_does_not_export(name: str) -> None:
    package = importlib.import_module(name)
    submodules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    machinery = {"annotations", "import_module", "TYPE_CHECKING"}

    public = {item for item in vars(package) if not item.startswith("_")}

    assert public - submodules - machinery <= set(exported(package))


def test_no_public_name_hides_a_room() -> None:
    assert set(exported(ingresskit)) & ROOMS == set()


def test_what_type_checkers_see_at_the_top_is_what_is_loaded() -> None:
    """The imports for type checkers and the table of homes name the same objects in the same places."""
    import ast
    import inspect

    seen: dict[str, str] = {}
    for node in ast.walk(ast.parse(inspect.getsource(ingresskit))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ingresskit"):
            seen |= {alias.name: node.module for alias in node.names}

    assert seen == ingresskit._HOMES
    assert set(exported(ingresskit)) == {*seen, "__version__"}


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Rendererer'"):
        _ = ingresskit.Rendererer  # type: ignore[attr-defined] # pyright: ignore


def test_completion_in_a_shell_offers_the_public_names() -> None:
    assert set(exported(ingresskit)) <= set(dir(ingresskit))


def test_the_version_is_that_of_the_distribution() -> None:
    assert importlib.metadata.version("ingresskit") == ingresskit.__version__


HEAVY = (
    "kubernetes",
    "aiohttp",
    "pydantic",
    "yaml",
    "cryptography",
    "httptools",
    "uvloop",
    "h11",
    "prometheus_client",
)
MEGABYTE = 1024 * 1024


def run_alone(code: str) -> str:
    """What *code* prints in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize(
    "statement",
    ["import ingresskit", "from ingresskit import Renderer, RouteGraph, TranslateOptions, default_policies"],
    ids=["the package", "what a renderer's author needs"],
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    loaded = run_alone(f"{statement}\nimport sys\nprint(*sys.modules)").split()

    assert sorted(set(loaded) & set(HEAVY)) == []


def test_importing_everything_at_the_top_loads_no_kubernetes_client() -> None:
    loaded = run_alone("from ingresskit import *\nimport sys\nprint(*sys.modules)").split()

    assert {"kubernetes", "aiohttp"} & set(loaded) == set()


def test_importing_stays_under_40_megabytes() -> None:
    status = run_alone("import ingresskit\nprint(open('/proc/self/status').read())")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))

    assert int(peak.split()[1]) * 1024 < 40 * MEGABYTE
