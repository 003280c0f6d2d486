"""What nginx serves is changed in a folder and at a socket that are the controller's alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ingresskit.apply.nginx import Nginx
from ingresskit.errors import ApplyError
from ingresskit.render.nginx import NginxSettings
from ingresskit.testing.planes import free_port, state_folder
from tests.unit.apply.nginx.conftest import Running

pytestmark = pytest.mark.anyio


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_folders_and_socket_are_the_owners_only(running: Running) -> None:
    state = running.state

    assert {
        mode(item) for item in (state, *(state / name for name in ("process", "temp", "certificates")))
    } == {0o700}
    assert mode(state / "status.sock") == 0o600


@pytest.mark.usefixtures("nginx_there")
@pytest.mark.parametrize(
    "name", ["", "process", "temp", "certificates"], ids=["state", "process", "temp", "certificates"]
)
async def test_folder_that_is_a_link_is_refused(name: str) -> None:
    with state_folder() as folder:
        elsewhere, state = folder / "elsewhere", folder / "state"
        elsewhere.mkdir()
        if name:
            state.mkdir()
        (state / name if name else state).symlink_to(elsewhere)
        settings = NginxSettings(state=str(state), http=(f"127.0.0.1:{free_port()}",))

        with pytest.raises(ApplyError, match="symbolic link"):
            async with Nginx(settings):
                pass
