"""The command ``ingresskit``: its subcommands, and what it says to what is none."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import ingresskit
from ingresskit.app import main, renderers, run_controller
from ingresskit.graph import RouteGraph
from ingresskit.render import Renderer, Rendering
from ingresskit.testing import pace

ROOT = Path(__file__).resolve().parents[2]
HELLO = str(ROOT / "examples" / "manifests" / "hello")
SECONDS = pace.within(60)

COMMANDS = "run, serve, demo, check, explain, migrate, diff, render, routes, certs, status"
MISTAKES: dict[str, tuple[list[str], str]] = {
    "no command": ([], f"give a command: {COMMANDS} or version; see --help"),
    "a misspelt command": (["chekc", HELLO], "unknown command chekc; did you mean check?"),
    "a command like no other": (["xyzzy"], f"unknown command xyzzy; the commands are {COMMANDS} and version"),
    "a command that steers terminals": (
        ["\x1b[2J"],
        rf"unknown command \x1b[2J; the commands are {COMMANDS} and version",
    ),
    "a flag of version": (["version", "--json"], "version takes no flags"),
}


class PlainRenderer(Renderer[Rendering]):
    """Honours no policy."""

    name = "plain"

    def render(self, graph: RouteGraph) -> Rendering:
        return Rendering(())


def broken() -> Renderer[Rendering]:
    raise RuntimeError("no licence")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renderers as other packages register them."""
    entries = EntryPoints(
        EntryPoint(name, f"{PlainRenderer.__module__}:{attribute}", renderers.GROUP)
        for name, attribute in {
            "plain": "PlainRenderer",
            "broken": "broken",
            "missing": "Nothing",
            "odd": "COMMANDS.upper",
            "nginx": "PlainRenderer",
        }.items()
    )

    def entry_points(group: str) -> EntryPoints:
        return entries.select(group=group)

    monkeypatch.setattr(renderers, "entry_points", entry_points)


def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, **more},
    )


@pytest.mark.parametrize(("argv", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_command_is_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(argv)

    assert status == 2
    assert capsys.readouterr() == ("", f"ingresskit: {message}\n")


@pytest.mark.parametrize("word", ["version", "--version"])
def test_the_version_is_printed(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([word])

    assert status == 0
    assert capsys.readouterr() == (f"ingresskit {ingresskit.__version__}\n", "")


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_the_help_lists_every_command(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([word])

    text = capsys.readouterr().out
    assert status == 0
    assert [name for name in [*COMMANDS.split(", "), "version"] if f"\n  {name} " not in text] == []


@pytest.mark.parametrize("command", COMMANDS.split(", "))
def test_every_command_has_a_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: ingresskit {command} ")


def test_the_version_loads_next_to_nothing() -> None:
    program = "import sys; from ingresskit.app import main; main(['version']); print(*sys.modules)"

    loaded = set(run("-c", program).stdout.split())

    assert {
        "anyio",
        "ingresskit.controller",
        "ingresskit.translate",
        "kubernetes",
        "pydantic",
    } & loaded == set()


@pytest.mark.parametrize(
    ("argv", "module", "extra"),
    [
        (["demo", "--http=127.0.0.1:0"], "cryptography", "tls"),
        (["serve", HELLO, "--http=127.0.0.1:0", "--https=off"], "h11", "admin"),
        (["serve", HELLO, "--http=127.0.0.1:0", "--https=off"], "prometheus_client", "admin"),
    ],
    ids=["certificates", "the admin server", "metrics"],
)
def test_a_missing_extra_is_one_line(argv: list[str], module: str, extra: str) -> None:
    program = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from ingresskit.app import main
sys.exit(main({argv!r}))
"""

    ended = run("-c", program)

    assert ended.returncode == 1, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"ingresskit {argv[0]}: ")
    assert line.endswith(f" needs {module}: pip install 'ingresskit[{extra}]'")


def test_the_renderer_of_another_package_is_found(
    registered: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with_policy = (Path(HELLO) / "hello.yaml").read_text(encoding="utf-8")
    (tmp_path / "all.yaml").write_text(
        with_policy.replace(
            "kubernetes.io/ingress.class: ingresskit",
            "kubernetes.io/ingress.class: ingresskit\n    ingresskit.dev/read-timeout: 5s",
        ),
        encoding="utf-8",
    )

    refused = main(["check", str(tmp_path), "--allow-endpoint=127.0.0.0/8", "--renderer=plain"])
    honoured = main(["check", str(tmp_path), "--allow-endpoint=127.0.0.0/8", "--renderer=nginx"])

    said = capsys.readouterr()
    assert (refused, honoured) == (0, 0)
    assert "PolicyUnsupported" in said.out
    assert len(said.out.splitlines()) == 1, "nginx is the package's own, whatever is registered"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "the renderer broken at .*: RuntimeError\\('no licence'\\)"),
        ("missing", "the renderer missing at .*: AttributeError"),
        ("odd", "the renderer odd at .* is a str, not an ingresskit.Renderer"),
    ],
)
def test_a_renderer_that_cannot_be_loaded_is_one_line(
    name: str, message: str, registered: None, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["render", HELLO, f"--renderer={name}"])

    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert re.fullmatch(rf"ingresskit render: {message}[^\n]*\n", said.err), said.err


def test_the_nearest_renderer_is_suggested(registered: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", HELLO, "--renderer=plane"])

    assert capsys.readouterr().err == (
        "ingresskit check: --renderer: 'plane' is not known; did you mean plain?\n"
    )


def test_run_says_which_renderers_it_can_run(registered: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--manifests", HELLO, "--renderer=plain"])

    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "ingresskit run: --renderer: 'plain' of another package can be tried with check, explain and render;"
        " to run its proxy, give a Controller with it to ingresskit.run\n"
    )


def test_the_reference_controller_says_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_controller(["--http=8080"], program="reference_controller.py")

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("reference_controller.py: --http: '8080' is not ADDR:PORT")


def test_a_port_without_an_address_is_refused_with_what_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_controller(["--http=:8080"])

    assert "':8080' has no address: 0.0.0.0:8080 is every one, 127.0.0.1:8080" in capsys.readouterr().err


def test_an_interrupt_before_anything_serves_is_no_traceback() -> None:
    program = (
        "import sys\nfrom ingresskit.app import command\n"
        "def interrupted(*args):\n    raise KeyboardInterrupt\n"
        "command._run = interrupted\n"
        "sys.exit(command.main(['run']))"
    )

    ended = run("-c", program)

    assert (ended.returncode, ended.stderr) == (128 + signal.SIGINT, "")


def test_a_folder_that_is_not_there_is_one_line_of_serve(tmp_path: Path) -> None:
    ended = run("-m", "ingresskit", "serve", str(tmp_path / "nowhere"), "--http=127.0.0.1:0")

    assert ended.returncode == 1
    assert ended.stderr == f"python -m ingresskit serve: there is no folder {tmp_path / 'nowhere'}\n"


def test_a_renderer_is_found_by_the_metadata_of_its_package(tmp_path: Path) -> None:
    (tmp_path / "tollgate.py").write_text(
        "import ingresskit as ik\n"
        "class Tollgate(ik.Renderer[ik.Rendering]):\n"
        "    name = 'tollgate'\n"
        "    def render(self, graph):\n"
        "        return ik.Rendering(())\n",
        encoding="utf-8",
    )
    metadata = tmp_path / "tollgate-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tollgate\nVersion: 1.0\n", encoding="utf-8"
    )
    (metadata / "entry_points.txt").write_text(
        "[ingresskit.renderers]\ntollgate = tollgate:Tollgate\nbarred = tollgate:Barred\n", encoding="utf-8"
    )

    found = run("-m", "ingresskit", "check", HELLO, "--renderer=tollgate", PYTHONPATH=str(tmp_path))
    wrong = run("-m", "ingresskit", "check", HELLO, "--renderer=barred", PYTHONPATH=str(tmp_path))

    assert found.returncode == 0, found.stderr
    assert wrong.returncode == 2
    assert "the renderer barred of tollgate cannot be loaded: " in wrong.stderr


def _installed(folder: Path, entry_points: str, code: str) -> dict[str, str]:
    """The environment in which a package *acme* with that code is installed."""
    (folder / "acme.py").write_text(code, encoding="utf-8")
    metadata = folder / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


_ACME = """
from dataclasses import dataclass
import ingresskit as ik
from ingresskit.policies import Dialect, PolicySet, PrefixRewrite, Reading
from ingresskit.policies.values import parse_boolean

class Acme(Dialect):
    prefix = "acme.test"

    def read(self, context):
        prefix = context.annotations.get("acme.test/rewrite")
        return Reading(policies=PolicySet([PrefixRewrite(prefix=prefix)])) if prefix else Reading()

@dataclass(frozen=True, slots=True, kw_only=True)
class Priority(ik.Policy):
    high: bool = ik.annotated("priority", parse_boolean, default=False, grammar="boolean", summary="First.")
"""


def _manifest(folder: Path, annotation: str, value: str) -> str:
    manifests = folder / "manifests"
    manifests.mkdir()
    text = Path(HELLO, "hello.yaml").read_text(encoding="utf-8")
    marked = text.replace("  annotations:\n", f'  annotations:\n    {annotation}: "{value}"\n')
    assert marked != text
    (manifests / "hello.yaml").write_text(marked, encoding="utf-8")
    return str(manifests)


def test_a_dialect_is_found_by_the_metadata_of_its_package(tmp_path: Path) -> None:
    entry_points = "[ingresskit.dialects]\nacme = acme:Acme\nbarred = acme:Priority\n"
    environment = _installed(tmp_path, entry_points, _ACME)
    folder = _manifest(tmp_path, "acme.test/rewrite", "/v2")

    found = run("-m", "ingresskit", "render", folder, "--dialect=acme", "--output=json", **environment)
    wrong = run("-m", "ingresskit", "check", folder, "--dialect=barred", **environment)
    near = run("-m", "ingresskit", "check", folder, "--dialect=acne", **environment)

    assert found.returncode == 0, found.stderr
    assert '"prefix": "/v2"' in found.stdout
    assert wrong.returncode == 2
    assert "the dialect barred of acme is a Priority without prefix" in wrong.stderr
    assert "did you mean acme?" in near.stderr


def test_a_policy_is_found_by_the_metadata_of_its_package(tmp_path: Path) -> None:
    environment = _installed(tmp_path, "[ingresskit.policies]\npriority = acme:Priority\n", _ACME)
    folder = _manifest(tmp_path, "ingresskit.dev/priority", "true")

    found = run("-m", "ingresskit", "check", folder, **environment)

    assert "PolicyUnsupported" in found.stdout
    assert "ingresskit.dev/priority" in found.stdout


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("other = acme:Acme", "the effect other of acme has no policy of the same name in the group"),
        ("priority = acme:Missing", "the effect priority of acme cannot be loaded: "),
        ("priority = acme:__name__", "the effect priority of acme is not a function from a policy"),
    ],
)
def test_an_effect_that_cannot_be_used_is_one_line(tmp_path: Path, entry: str, fault: str) -> None:
    entries = f"[ingresskit.policies]\npriority = acme:Priority\n[ingresskit.effects]\n{entry}\n"
    environment = _installed(tmp_path, entries, _ACME)

    found = run("-m", "ingresskit", "check", HELLO, "--renderer=inprocess", **environment)

    assert found.returncode == 2
    assert fault in found.stderr
    assert found.stderr.count("\n") == 1


def test_the_annotations_of_ingress_nginx_are_read_when_asked_for(tmp_path: Path) -> None:
    folder = _manifest(tmp_path, "nginx.ingress.kubernetes.io/proxy-body-size", "8m")

    without = run("-m", "ingresskit", "check", folder)
    read = run("-m", "ingresskit", "check", folder, "--dialect=ingress-nginx")

    assert "AnnotationForeign" in without.stdout
    assert (read.returncode, read.stdout) == (0, "")
