"""A folder that decides what is served is used only when it is its owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ingresskit.apply import private_folder
from ingresskit.errors import ApplyError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_missing_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    private_folder(tmp_path / "a" / "state")

    assert mode(tmp_path / "a" / "state") == 0o700


@pytest.mark.parametrize("before", [0o777, 0o755, 0o710, 0o500, 0o2770])
def test_open_folder_is_closed(tmp_path: Path, before: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(before)

    private_folder(folder)

    assert mode(folder) == 0o700


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "state").symlink_to("elsewhere")

    with pytest.raises(ApplyError, match=r"state cannot be used: it is a symbolic link$"):
        private_folder(tmp_path / "state")

    assert mode(tmp_path / "elsewhere") == 0o755


def test_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to("nowhere")

    with pytest.raises(ApplyError, match="symbolic link"):
        private_folder(tmp_path / "state")


def test_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    with pytest.raises(ApplyError, match="cannot be used"):
        private_folder(tmp_path / "state")


def test_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(ApplyError, match="is owned by user"):
        private_folder(tmp_path / "state")
