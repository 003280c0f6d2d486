"""The translator decides between claimants: outside its fronts no module knows an Ingress."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRANSLATE = ROOT / "ingresskit" / "translate"
# The face of the room, and the file that lists the fronts.
WIRING = {"__init__.py", "fronts.py"}
NEUTRAL = sorted(path.name for path in TRANSLATE.glob("*.py") if path.name not in WIRING)


def _imported(text: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def _of_ingress(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    knows_models = module.startswith("ingresskit.models")
    return (
        name.startswith(("ingresskit.models.ingress", "ingresskit.translate.ingress"))
        or (module == "ingresskit.translate" and attribute == "ingress")
        or (knows_models and attribute.removeprefix("HTTP").startswith("Ingress"))
    )


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_neutral_module_imports_nothing_of_the_ingress_api(name: str) -> None:
    assert not {found for found in _imported((TRANSLATE / name).read_text()) if _of_ingress(found)}


def test_the_fronts_do() -> None:
    """Else the test above would look for names that no module imports."""
    imported = set[str]()
    for path in TRANSLATE.glob("ingress/*.py"):
        imported |= _imported(path.read_text())

    assert {"ingresskit.models.Ingress", "ingresskit.models.IngressClass"} <= set(filter(_of_ingress, imported))
    assert "claims.py" in NEUTRAL
