"""A pytest plugin: the fixture `api_server`, once embedded and, where its binaries are, once real.

    # conftest.py
    pytest_plugins = ["ingresskit.testing.apiserver.plugin"]

    def test_something(api_server: AnyApiServer) -> None: ...

The real one runs when the environment variable ``KUBEBUILDER_ASSETS`` names a folder with ``etcd`` and
``kube-apiserver``; it is started once for the whole run, so tests on it need names of their own, for
namespaces as well: `api_namespace` is one. Without it the report says in one line that only the embedded
server was used.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator

import pytest

from ingresskit.testing.apiserver.calls import call
from ingresskit.testing.apiserver.contract import AnyApiServer
from ingresskit.testing.apiserver.real import assets_folder, real_api_server
from ingresskit.testing.apiserver.server import ApiServer

__all__ = ["api_namespace", "api_server", "pytest_generate_tests", "pytest_terminal_summary", "real_server"]

_used = pytest.StashKey[bool]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that uses `api_server` on each kind of server there is."""
    if "api_server" in metafunc.fixturenames:
        metafunc.config.stash[_used] = True
        kinds = ["embedded"] + (["real"] if assets_folder() else [])
        metafunc.parametrize("api_server", kinds, indirect=True, scope=None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say so when no real server was there: once, however many folders ask for this plugin."""
    if config.stash.get(_used, False) and assets_folder() is None:
        config.stash[_used] = False
        terminalreporter.write_line(
            "api_server: only the embedded one ran; KUBEBUILDER_ASSETS names no etcd and kube-apiserver"
        )


@pytest.fixture(scope="session")
def real_server() -> Generator[AnyApiServer]:
    """The real server. Use `api_server`: this one fails where there are no binaries."""
    assets = assets_folder()
    if assets is None:
        pytest.fail("KUBEBUILDER_ASSETS names no etcd and kube-apiserver")
    with real_api_server(assets) as server:
        yield server


@pytest.fixture
def api_server(request: pytest.FixtureRequest) -> Generator[AnyApiServer]:
    """A running API server; the embedded one is new for each test and speaks HTTPS, as the real one does."""
    if request.param == "real":
        yield request.getfixturevalue("real_server")
    else:
        with ApiServer.in_thread(tls=True) as server:
            yield server


@pytest.fixture
def api_namespace(api_server: AnyApiServer) -> str:
    """The name of a namespace made for this test alone."""
    name = f"test-{secrets.token_hex(4)}"
    answer = call(api_server, "POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    if answer.status != 201:
        pytest.fail(f"no namespace could be made: {answer}")
    return name
