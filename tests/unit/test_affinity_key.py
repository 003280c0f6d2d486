"""Where the key of affinity cookies comes from."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ingresskit.app.affinity_key import affinity_key
from ingresskit.app.failures import Failure


def test_a_key_that_is_made_is_kept_and_nobody_elses(tmp_path: Path) -> None:
    first = affinity_key(None, tmp_path)

    assert len(first) >= 32
    assert affinity_key(None, tmp_path) == first
    assert stat.S_IMODE((tmp_path / "affinity.key").stat().st_mode) == 0o600


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()

    assert affinity_key(None, tmp_path) != affinity_key(None, tmp_path / "other")


def test_a_file_of_the_operator_is_the_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"0123456789abcdef\n")

    assert affinity_key(file, tmp_path) == b"0123456789abcdef"
    assert not (tmp_path / "affinity.key").exists()


@pytest.mark.parametrize("content", [None, b"", b"short", b"                     "])
def test_a_file_that_holds_no_key_ends_the_program(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(Failure, match="--affinity-key: "):
        affinity_key(file, tmp_path)
