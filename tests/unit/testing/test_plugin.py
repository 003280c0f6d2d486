from __future__ import annotations

from pathlib import Path

import pytest

from ingresskit.testing.plugin import Golden


def test_a_golden_that_says_the_same_passes(tmp_path: Path) -> None:
    place = tmp_path / "x.txt"
    place.write_text("a\n")

    Golden(update=False).check(place, "a\n")


@pytest.mark.parametrize("content", ["b\n", "a", "a\nb\n", "", "a\r\n"])
def test_a_golden_that_says_otherwise_fails(tmp_path: Path, content: str) -> None:
    place = tmp_path / "x.txt"
    place.write_text("a\n")

    with pytest.raises(AssertionError):
        Golden(update=False).check(place, content)
    assert place.read_text() == "a\n"


def test_a_golden_that_is_missing_fails_and_says_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="--update-golden"):
        Golden(update=False).check(tmp_path / "x.txt", "a\n")


def test_a_golden_is_written_anew_where_that_is_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "x.txt"
    Golden(update=True).check(place, b"a\n")

    Golden(update=False).check(place, "a\n")
