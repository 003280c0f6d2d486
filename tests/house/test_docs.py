"""What the documentation says is so: its code runs, its lists are complete, its generated page is fresh."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import itertools
import pkgutil
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest

import ingresskit
import ingresskit.testing
from ingresskit.diagnostics import Reason
from ingresskit.render.error_bodies import SENTENCES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("changelog.d/*.md")])
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SERVES = 'title="serve.py"'
ROOMS = {module.name for module in pkgutil.iter_modules(ingresskit.__path__) if not module.name.startswith("_")}


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: what stands after the fence, and the code."""
    return [
        (found["info"].strip(), found["code"]) for found in FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


def headings(page: Path) -> list[str]:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    return re.findall(r"^## (.+)$", prose, re.MULTILINE)


def table_column(page: Path, heading: str) -> list[str]:
    """The first column of the first table under a heading, without code marks."""
    section = page.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


PAGES_WITH_CODE = [page for page in PAGES if any(info.startswith("python") for info, _ in blocks(page))]


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=page_id)
def test_python_on_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom in one namespace; programs that serve until they are stopped are run elsewhere."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # dataclasses look their module up

    for info, code in blocks(page):
        if info.startswith("python") and SERVES not in info:
            exec(compile(code, page_id(page), "exec"), module.__dict__)  # noqa: S102 - our own pages
    for name, value in list(vars(module).items()):
        if name.startswith("Test"):
            run_tests(value())


def run_tests(tests: object) -> None:
    """As pytest would, were the class in a file of its own."""
    for name in dir(tests):
        if name.startswith("test_"):
            getattr(tests, name)()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_fenced_block_says_its_language(page: Path) -> None:
    assert [code for info, code in blocks(page) if not info] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link and link[0] != "#"]

    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []


def test_every_reason_has_its_heading() -> None:
    assert headings(DOCS / "diagnostics.md") == [str(reason) for reason in Reason]


def test_every_reason_has_an_example_of_its_own_and_a_way_to_mend_it() -> None:
    text = (DOCS / "diagnostics.md").read_text(encoding="utf-8")
    sections = {part.split("\n", 1)[0]: part for part in text.split("\n## ")[1:]}

    wanting = [
        reason
        for reason, section in sections.items()
        if not re.search(rf"^(error|warning) {reason} \w+ ", section, re.MULTILINE)
        or "- **Lost:** " not in section
        or "- **Mend:** " not in section
    ]

    assert wanting == []


def test_the_architecture_page_names_the_rooms_of_the_tree() -> None:
    assert set(table_column(DOCS / "architecture.md", "The rooms")) == ROOMS


def test_the_concepts_page_has_a_heading_for_every_room() -> None:
    assert set(headings(DOCS / "concepts.md")) == ROOMS


def test_the_architecture_page_draws_the_floors_as_they_are_checked() -> None:
    def floors(text: str) -> list[set[str]]:
        rows = [set(re.findall(r"\b(?!_[a-z])\w+", line)) for line in text.strip().splitlines()]
        return [
            row for row in rows if row
        ]  # what only one room uses has an underscore, and no place in the picture

    checked = (ROOT / ".importlinter").read_text(encoding="utf-8").split("layers =\n", 1)[1].split("\n\n", 1)[0]
    drawn = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## Floors", 1)[1]
    drawn = drawn.split("```text\n", 1)[1].split("```", 1)[0]

    assert floors(drawn) == floors(checked.replace("ingresskit.", ""))


def reference() -> list[str]:
    """The modules that the pages of the reference show."""
    pages = sorted((DOCS / "reference").glob("*.md"))
    return [
        name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
    ]


def test_the_reference_has_a_page_for_every_room() -> None:
    pages = {page.stem for page in (DOCS / "reference").glob("*.md")} - {"index"}

    assert pages == ROOMS
    assert (
        set(re.findall(r"^\| \[(\w+)\]", (DOCS / "reference" / "index.md").read_text("utf-8"), re.MULTILINE))
        == ROOMS
    )
    assert {f"ingresskit.{room}" for room in ROOMS} <= set(reference())


def test_every_package_that_exports_names_is_in_the_reference_or_said_to_be_internal() -> None:
    shown = reference()
    packages = {
        module.name
        for module in pkgutil.walk_packages(ingresskit.__path__, "ingresskit.")
        if module.ispkg and not any(part.startswith("_") for part in module.name.split("."))
    }
    kit = {
        module.name
        for module in pkgutil.iter_modules(ingresskit.testing.__path__, "ingresskit.testing.")
        if not module.ispkg and not module.name.rpartition(".")[2].startswith("_")
    }
    exporting = {name for name in packages if getattr(importlib.import_module(name), "__all__", ())}
    internal = {name.strip("`") for name in table_column(DOCS / "stability.md", "Internal")}

    assert len(shown) == len(set(shown))
    assert exporting - set(shown) == internal
    # What the faces of the kit export already needs no second place.
    faces = {"authorities", "builders", "certificates", "contract", "oracle", "scenario", "scenario_files"}
    data = {"hostile_annotations"}  # of the corpus, which is shown
    assert {name.rpartition(".")[2] for name in kit - set(shown)} <= faces | {"pace", "ports", *data}


@pytest.mark.parametrize("name", reference())
def test_every_public_name_is_documented(name: str) -> None:
    module = importlib.import_module(name)

    assert [item for item in getattr(module, "__all__", ()) if not is_documented(name, item)] == []


def is_documented(module: str, name: str) -> bool:
    """Whether a name has a docstring where it is defined."""
    tree = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text("utf-8"))
    # Names that a face loads late are imported for the type checker.
    found: list[ast.stmt] = []
    for item in tree.body:
        found += item.body if isinstance(item, ast.If) else [item]
    for item, after in itertools.pairwise([*found, ast.Pass()]):
        match item:
            case ast.ImportFrom(module=str(origin), names=names) if any(it.name == name for it in names):
                return not origin.startswith("ingresskit") or is_documented(origin, name)
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if item.name == name:
                return bool(ast.get_docstring(item))
            case ast.Assign(targets=[ast.Name(id=target)]) | ast.AnnAssign(target=ast.Name(id=target)):
                if target == name:
                    return isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            case _:
                pass
    return name == "__version__" or importlib.util.find_spec(f"{module}.{name}") is not None


def test_the_page_of_the_proxy_tells_every_status_that_it_answers_with() -> None:
    page = (DOCS / "proxy.md").read_text(encoding="utf-8")
    told = {
        int(status) for row in re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE) for status in row.split(",")
    }

    assert set(SENTENCES) <= told


@pytest.mark.parametrize(
    ("name", "page", "makes"),
    [
        ("annotations", "annotations", "page"),
        ("annotations", "ingress-nginx", "ingress_nginx_page"),
        ("stages", "stages", "page"),
    ],
)
def test_a_page_that_a_script_writes_is_fresh(name: str, page: str, makes: str) -> None:
    script = runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))

    assert (DOCS / f"{page}.md").read_text(encoding="utf-8") == script[makes](), f"run scripts/{name}.py"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    assert [page_id(page) for page in DOCS.rglob("*.md") if str(page.relative_to(DOCS)) not in navigation] == []


@pytest.mark.parametrize(
    "name",
    sorted(module.name for module in pkgutil.walk_packages(ingresskit.__path__, "ingresskit.")),
)
def test_examples_in_docstrings_run(name: str) -> None:
    if name != "ingresskit.__main__":
        assert doctest.testmod(importlib.import_module(name)).failed == 0
