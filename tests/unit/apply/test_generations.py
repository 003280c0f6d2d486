from __future__ import annotations

from pathlib import Path

import pytest

from ingresskit.apply import Generations
from ingresskit.errors import ApplyError, ConfigurationError
from ingresskit.render import RenderedFile


def files(**texts: str) -> list[RenderedFile]:
    return [RenderedFile.text(name.replace("__", "/"), text) for name, text in texts.items()]


def test_nothing_is_current_at_first(tmp_path: Path) -> None:
    assert Generations(tmp_path / "state").current() is None


def test_what_was_written_is_current_once_it_is_activated(tmp_path: Path) -> None:
    generations = Generations(tmp_path / "state")

    first = generations.write(files(main="one", hosts__a="a"))
    assert generations.current() is None
    generations.activate(first)

    assert generations.current() == first
    assert (generations.link / "main").read_text() == "one"
    assert (generations.link / "hosts/a").read_text() == "a"


def test_everything_is_its_owners_only(tmp_path: Path) -> None:
    generations = Generations(tmp_path / "state")
    written = generations.write(files(main="one", hosts__a="a"))

    paths = [tmp_path / "state", written.path, *written.path.rglob("*")]
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_dir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_file()} == {"0o600"}


def test_what_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    first = generations.write(files(same="x", other="1"))
    second = generations.write(files(same="x", other="2"))

    assert (first.path / "same").stat().st_ino == (second.path / "same").stat().st_ino
    assert (first.path / "other").read_text() == "1"
    assert (second.path / "other").read_text() == "2"


def test_numbers_grow_over_restarts(tmp_path: Path) -> None:
    first = Generations(tmp_path).write(files(main="1"))
    second = Generations(tmp_path).write(files(main="2"))

    assert (first.number, second.number) == (1, 2)


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    generations = Generations(tmp_path, keep=3)
    for number in range(6):
        generations.activate(generations.write(files(main=str(number))))

    assert [item.number for item in generations.all()] == [4, 5, 6]


def test_the_current_one_is_kept_while_others_fail(tmp_path: Path) -> None:
    generations = Generations(tmp_path, keep=1)
    good = generations.write(files(main="good"))
    generations.activate(good)
    for number in range(4):
        generations.discard(generations.write(files(main=str(number))))
    generations.discard(good)

    assert generations.all() == (good,)
    assert generations.current() == good


def test_what_a_killed_process_left_is_removed_and_never_current(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    good = generations.write(files(main="good"))
    generations.activate(good)
    (tmp_path / ".gen-000002").mkdir()
    (tmp_path / ".gen-000002" / "main").write_text("half")
    (tmp_path / ".current").symlink_to("gen-000009")

    again = Generations(tmp_path)
    assert again.current() == good
    second = again.write(files(main="two"))
    again.activate(second)

    assert (again.link / "main").read_text() == "two"
    assert not (tmp_path / ".gen-000002").exists()


@pytest.mark.parametrize("target", ["gen-000009", "../elsewhere", "/etc", "gen-x"])
def test_a_link_that_leads_elsewhere_is_no_generation(tmp_path: Path, target: str) -> None:
    (tmp_path / "current").symlink_to(target)

    assert Generations(tmp_path).current() is None


def test_a_failed_write_leaves_everything_as_it_was(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    good = generations.write(files(main="good"))
    generations.activate(good)
    too_long = "x" * 300  # no file system takes that name

    with pytest.raises(ApplyError, match="could not write a configuration"):
        generations.write(files(main="bad", **{too_long: "y"}))

    assert generations.all() == (good,)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["current", "gen-000001"]


def test_a_file_in_the_folders_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    with pytest.raises(ApplyError, match="state"):
        Generations(tmp_path / "state").write(files(main="x"))


def test_many_files_are_written(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    written = generations.write(files(**{f"hosts__{number}": str(number) for number in range(300)}))

    assert len(list((written.path / "hosts").iterdir())) == 300


def test_nothing_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        Generations(tmp_path, keep=0)
