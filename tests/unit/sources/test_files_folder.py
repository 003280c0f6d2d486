from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ingresskit.errors import DecodeError
from ingresskit.models import Ingress
from ingresskit.sources import files_documents, files_folder
from ingresskit.sources.files_folder import Folder, Look
from ingresskit.sources.files_manifest import Manifest
from ingresskit.sources.files_scan import Signature


def ingress(name: str, host: str = "a.test") -> str:
    return (
        "apiVersion: networking.k8s.io/v1\n"
        "kind: Ingress\n"
        f"metadata: {{name: {name}, namespace: shop}}\n"
        f"spec: {{rules: [{{host: {host}}}]}}\n"
    )


BROKEN = ingress("web", "'5").replace("}]}", "}]")
MISTYPED = ingress("web", "5")


def put(path: Path, text: str | bytes) -> Path:
    """Write a file the careful way: beside it, then moved there; and long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(".beside")
    beside.write_bytes(text if isinstance(text, bytes) else text.encode())
    long_ago = time.time() - 3600
    os.utime(beside, (long_ago, long_ago))
    return beside.replace(path)


def names(look: Look) -> list[str]:
    assert look.changed
    return [item.key.name for item in look.objects]


def problems(look: Look, root: Path) -> list[str]:
    assert look.changed
    return [str(problem).replace(f"{root}/", "") for problem in look.problems]


def hosts(look: Look) -> list[str | None]:
    assert look.changed
    return [item.spec.rules[0].host for item in look.objects if isinstance(item, Ingress)]


# What is read


def test_manifests_are_found_in_folders_in_the_order_of_their_names(tmp_path: Path) -> None:
    put(tmp_path / "b.yaml", ingress("one"))
    put(tmp_path / "a" / "deep" / "x.yml", ingress("two"))
    put(tmp_path / "c.json", b'{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "three"}}')

    look = Folder(str(tmp_path)).look()

    assert names(look) == ["two", "one", "three"]
    assert (look.settled, look.problems) == (True, ())


@pytest.mark.parametrize(
    "name",
    [".hidden.yaml", ".git/x.yaml", "web.yaml~", ".web.yaml.swp", "#web.yaml#", ".#web.yaml", "README.md"],
)
def test_files_that_are_no_manifests_are_passed_over(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, "{")

    look = Folder(str(tmp_path)).look()

    assert (look.objects, look.problems) == ((), ())


def test_one_file_may_be_given_in_place_of_a_folder(tmp_path: Path) -> None:
    path = put(tmp_path / "all.txt", ingress("web"))

    assert names(Folder(str(path)).look()) == ["web"]


def test_a_mounted_config_map_is_read_and_followed(tmp_path: Path) -> None:
    put(tmp_path / "..one" / "web.yaml", ingress("web", "a.test"))
    put(tmp_path / "..two" / "web.yaml", ingress("web", "b.test"))
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "web.yaml").symlink_to("..data/web.yaml")
    folder = Folder(str(tmp_path))
    first = folder.look()
    (tmp_path / "..new").symlink_to("..two")
    (tmp_path / "..new").replace(tmp_path / "..data")

    second = folder.look()

    assert hosts(first) == ["a.test"]
    assert hosts(second) == ["b.test"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    put(tmp_path / "a" / "web.yaml", ingress("web"))
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "a" / "self.yaml").symlink_to("self.yaml")

    look = Folder(str(tmp_path)).look()

    assert names(look) == ["web"]
    assert [problem.reason for problem in look.problems] == [
        "cannot be read: Too many levels of symbolic links"
    ] * len(look.problems)


def test_a_file_with_two_names_is_read_once(tmp_path: Path) -> None:
    put(tmp_path / "out" / "web.yaml", ingress("web"))
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "a").symlink_to("../out")
    (inside / "b.yaml").symlink_to("../out/web.yaml")

    look = Folder(str(inside)).look()

    assert names(look) == ["web"]
    assert look.problems == ()


def test_a_root_that_is_not_there_at_first_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Folder(str(tmp_path / "nowhere")).look()


# What is wrong


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            f"# web\n---\n{ingress('ok')}---\na: [\n",
            "File web.yaml, document 2, line 8: is not YAML: while parsing a flow node did not find expected "
            "node content",
            id="a syntax error",
        ),
        pytest.param(
            f"---\n{ingress('ok')}---\na: 1\na: 2\n",
            "File web.yaml, document 2, line 8: has the key 'a' twice in one map",
            id="a key twice",
        ),
        pytest.param(
            f"---\n{ingress('ok')}---\n{MISTYPED}",
            "Ingress shop/web (web.yaml, document 2): spec.rules[0].host: must be text "
            "(in YAML, put it in quotes)",
            id="a field of the wrong type",
        ),
        pytest.param(
            f"---\n{ingress('ok')}---\n{ingress('ok')}",
            "Ingress shop/ok (web.yaml, document 2): is also in web.yaml, document 1, which is read first "
            "and counts",
            id="the same object twice",
        ),
    ],
)
def test_a_broken_document_costs_only_itself(tmp_path: Path, text: str, problem: str) -> None:
    put(tmp_path / "web.yaml", text)

    look = Folder(str(tmp_path)).look()

    assert names(look) == ["ok"]
    assert problems(look, tmp_path) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(b"a: 1\nb: \xff", "is not UTF-8 text: line 2 holds other bytes", id="other bytes"),
        pytest.param(b"#" * (16 * 1024**2 + 1), "is larger than 16 MiB", id="too large"),
        pytest.param(b"---\n" * 100_001, "holds more than 100000 documents", id="too many documents"),
        pytest.param(b"a: 1", "apiVersion: is missing", id="no object of Kubernetes"),
    ],
)
def test_a_broken_file_costs_only_itself(tmp_path: Path, text: bytes, problem: str) -> None:
    put(tmp_path / "a.yaml", text)
    put(tmp_path / "b.yaml", ingress("ok"))

    look = Folder(str(tmp_path)).look()

    assert names(look) == ["ok"]
    assert problem in problems(look, tmp_path)[0]


def test_the_file_that_sorts_first_keeps_an_object(tmp_path: Path) -> None:
    put(tmp_path / "b.yaml", ingress("web", "b.test"))
    folder = Folder(str(tmp_path))
    folder.look()
    put(tmp_path / "a.yaml", ingress("web", "a.test"))

    look = folder.look()

    assert hosts(look) == ["a.test"]
    assert problems(look, tmp_path) == [
        "Ingress shop/web (b.yaml, document 1): is also in a.yaml, document 1, which is read first and counts"
    ]


def test_a_dangling_link_is_told_and_what_it_held_stays(tmp_path: Path) -> None:
    put(tmp_path / "out" / "real.txt", ingress("web"))
    (tmp_path / "web.yaml").symlink_to("out/real.txt")
    folder = Folder(str(tmp_path))
    folder.look()
    (tmp_path / "out" / "real.txt").unlink()

    look = folder.look()

    assert names(look) == ["web"]
    assert problems(look, tmp_path) == ["File web.yaml: is a link to something that is not there"]


def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")

    assert problems(Folder(str(tmp_path)).look(), tmp_path) == ["File pipe.yaml: is not a regular file"]


def test_an_unreadable_file_keeps_what_it_held_until_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "web.yaml", ingress("web", "a.test"))
    folder = Folder(str(tmp_path))
    folder.look()
    put(tmp_path / "web.yaml", ingress("web", "b.test"))
    with monkeypatch.context() as patched:

        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        patched.setattr(os, "open", refuse)
        while_unreadable = folder.look()
        again = folder.look()

    after = folder.look()

    assert hosts(while_unreadable) == ["a.test"]
    assert problems(while_unreadable, tmp_path) == ["File web.yaml: cannot be read: Permission denied"]
    assert not again.changed
    assert hosts(after) == ["b.test"]
    assert after.problems == ()


def test_a_name_with_a_line_break_makes_no_second_line(tmp_path: Path) -> None:
    put(tmp_path / "a\nb.yaml", "[")

    (line,) = problems(Folder(str(tmp_path)).look(), tmp_path)

    assert line.startswith("File a\\nb.yaml, document 1, line 1: ")


# What is kept


def test_an_object_whose_document_breaks_stays_in_its_last_good_form(tmp_path: Path) -> None:
    put(tmp_path / "web.yaml", ingress("web", "a.test") + "---\n" + ingress("other", "o.test"))
    folder = Folder(str(tmp_path))
    folder.look()
    put(tmp_path / "web.yaml", MISTYPED + "---\n" + ingress("other", "new.test"))

    look = folder.look()

    assert sorted(map(str, hosts(look))) == ["a.test", "new.test"]
    assert len(look.problems) == 1


def test_while_one_named_document_is_broken_another_can_be_deleted(tmp_path: Path) -> None:
    put(tmp_path / "web.yaml", ingress("web") + "---\n" + ingress("other"))
    folder = Folder(str(tmp_path))
    folder.look()
    put(tmp_path / "web.yaml", MISTYPED)

    assert names(folder.look()) == ["web"]


def test_while_it_is_unclear_which_document_is_broken_all_objects_of_the_file_stay(tmp_path: Path) -> None:
    put(tmp_path / "web.yaml", ingress("web") + "---\n" + ingress("other"))
    put(tmp_path / "x.yaml", ingress("x"))
    folder = Folder(str(tmp_path))
    folder.look()
    put(tmp_path / "web.yaml", BROKEN)

    assert names(folder.look()) == ["web", "other", "x"]


def test_what_is_kept_is_kept_through_several_broken_forms(tmp_path: Path) -> None:
    path = put(tmp_path / "web.yaml", ingress("web"))
    folder = Folder(str(tmp_path))
    folder.look()
    for text in (MISTYPED, BROKEN, b"\xff", MISTYPED):
        put(path, text)
        look = folder.look()

        assert names(look) == ["web"]
        assert len(look.problems) == 1


def test_a_mended_file_has_no_problem_and_keeps_nothing(tmp_path: Path) -> None:
    path = put(tmp_path / "web.yaml", ingress("web") + "---\n" + ingress("old"))
    folder = Folder(str(tmp_path))
    folder.look()
    put(path, BROKEN)
    folder.look()
    put(path, ingress("web"))

    look = folder.look()

    assert (names(look), look.problems) == (["web"], ())


def test_an_emptied_file_keeps_its_objects_and_is_told(tmp_path: Path) -> None:
    path = put(tmp_path / "web.yaml", ingress("web"))
    folder = Folder(str(tmp_path))
    folder.look()
    put(path, "\n")

    look = folder.look()

    assert names(look) == ["web"]
    assert problems(look, tmp_path) == ["File web.yaml: is empty; delete it to drop the objects that it held"]


def test_a_file_in_which_all_is_commented_out_holds_nothing(tmp_path: Path) -> None:
    path = put(tmp_path / "web.yaml", ingress("web"))
    folder = Folder(str(tmp_path))
    folder.look()
    put(path, "# " + ingress("web").replace("\n", "\n# "))

    assert names(folder.look()) == []


def test_a_folder_that_vanishes_keeps_everything_and_is_told(tmp_path: Path) -> None:
    root = tmp_path / "manifests"
    put(root / "web.yaml", ingress("web"))
    folder = Folder(str(root))
    folder.look()
    root.rename(tmp_path / "away")

    first, second, third = folder.look(), folder.look(), folder.look()
    (tmp_path / "away").rename(root)
    back = folder.look()

    assert (first.changed, first.settled) == (False, False)
    assert names(second) == ["web"]
    assert problems(second, tmp_path) == [
        "File manifests: cannot be read any more (No such file or directory); what it held is kept"
    ]
    assert not third.changed
    assert (names(back), back.problems) == (["web"], ())


def test_an_unlistable_folder_inside_keeps_its_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a" / "web.yaml", ingress("web"))
    put(tmp_path / "b.yaml", ingress("b"))
    folder = Folder(str(tmp_path))
    folder.look()
    listed = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)

    looks = [folder.look() for _ in range(3)]

    assert names(looks[0]) == ["web", "b"]
    assert problems(looks[0], tmp_path) == ["File a: cannot be read: Permission denied"]
    assert [look.changed for look in looks[1:]] == [False, False]


# When it is read


def test_nothing_changes_while_nothing_changes(tmp_path: Path) -> None:
    put(tmp_path / "web.yaml", ingress("web"))
    put(tmp_path / "bad.yaml", BROKEN)
    folder = Folder(str(tmp_path))
    folder.look()

    looks = [folder.look() for _ in range(3)]

    assert [(look.changed, look.settled) for look in looks] == [(False, True)] * 3


def test_a_file_that_was_moved_there_is_read_at_once(tmp_path: Path) -> None:
    path = put(tmp_path / "web.yaml", ingress("web", "a.test"))
    folder = Folder(str(tmp_path))
    folder.look()
    put(path, ingress("web", "b.test"))

    assert hosts(folder.look()) == ["b.test"]


def test_a_file_that_was_written_in_place_is_read_when_it_stays_the_same(tmp_path: Path) -> None:
    path = put(tmp_path / "web.yaml", ingress("web", "a.test") + "---\n" + ingress("two", "two.test"))
    folder = Folder(str(tmp_path))
    folder.look()
    path.write_text(ingress("web", "b.test"))
    half = folder.look()
    with path.open("a") as stream:
        stream.write("---\n" + ingress("two", "two.test"))
    whole = folder.look()

    confirmed = folder.look()

    assert (half.changed, half.settled) == (False, False)
    assert (whole.changed, whole.settled) == (False, False)
    assert hosts(confirmed) == ["b.test", "two.test"]


SIGNATURE = Signature(modified_ns=5, size=1, inode=7, device=1, changed_ns=5)


@pytest.mark.parametrize(
    ("read", "seen", "age_ns", "expected"),
    [
        pytest.param(None, None, 0, False, id="new and just written"),
        pytest.param(None, SIGNATURE, 0, True, id="new and unchanged since"),
        pytest.param(None, None, 2_000_000_000, True, id="new and written a while ago"),
        pytest.param(SIGNATURE, None, 2_000_000_000, False, id="the same file, changed"),
        pytest.param(SIGNATURE._replace(inode=6), None, 0, False, id="another file, just written"),
        pytest.param(SIGNATURE._replace(inode=6), None, 2_000_000_000, True, id="another file, at rest"),
    ],
)
def test_a_file_is_complete_when_nobody_is_writing_it(
    monkeypatch: pytest.MonkeyPatch, read: Signature | None, seen: Signature | None, age_ns: int, expected: bool
) -> None:
    now = 1_000_000_000_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now)
    found = SIGNATURE._replace(modified_ns=now - age_ns, changed_ns=now - age_ns)
    file = Manifest("web.yaml")
    file.read, file.seen = read, found if seen else None

    assert files_folder._is_complete(file, found) is expected


def test_a_file_that_was_renamed_after_it_was_written_is_complete() -> None:
    found = SIGNATURE._replace(modified_ns=time.time_ns(), changed_ns=time.time_ns() + 1)

    assert files_folder._is_complete(Manifest("web.yaml"), found)


def test_a_second_write_within_a_tick_of_the_clock_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "web.yaml", ingress("web", "a.test"))
    times = path.stat()
    now = times.st_mtime_ns + 1_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now)
    # A clock so coarse that the second write leaves the same signature.
    frozen = Signature(times.st_mtime_ns, times.st_size, times.st_ino, times.st_dev, times.st_ctime_ns)

    def signature_of(_: os.stat_result) -> Signature:
        return frozen

    monkeypatch.setattr("ingresskit.sources.files_scan.signature_of", signature_of)
    monkeypatch.setattr("ingresskit.sources.files_folder.signature_of", signature_of)
    folder = Folder(str(tmp_path))
    first = folder.look()
    path.write_text(ingress("web", "b.test"))
    now += 100_000_000

    second, third = folder.look(), folder.look()

    assert not first.settled
    assert hosts(second) == ["b.test"]
    assert (third.changed, third.settled) == (False, True)


def test_a_deleted_file_takes_its_objects_along_when_it_stays_away(tmp_path: Path) -> None:
    path = put(tmp_path / "web.yaml", ingress("web"))
    put(tmp_path / "x.yaml", ingress("x"))
    folder = Folder(str(tmp_path))
    folder.look()
    path.unlink()

    first, second = folder.look(), folder.look()

    assert (first.changed, first.settled) == (False, False)
    assert names(second) == ["x"]


def test_a_file_that_is_away_for_one_look_loses_nothing(tmp_path: Path) -> None:
    path = put(tmp_path / "web.yaml", ingress("web"))
    folder = Folder(str(tmp_path))
    folder.look()
    path.rename(tmp_path / "web.yaml~")
    away = folder.look()
    (tmp_path / "web.yaml~").rename(path)

    back = folder.look()

    assert not away.changed
    assert names(back) == ["web"]


def test_a_renamed_file_is_one_change_and_no_duplicate(tmp_path: Path) -> None:
    path = put(tmp_path / "web.yaml", ingress("web"))
    folder = Folder(str(tmp_path))
    folder.look()
    path.rename(tmp_path / "a.yaml")

    look = folder.look()

    assert (names(look), look.problems, look.settled) == (["web"], (), True)


def test_all_changes_of_one_look_come_together(tmp_path: Path) -> None:
    for number in range(20):
        put(tmp_path / f"{number:02}.yaml", ingress(f"web-{number}", "a.test"))
    folder = Folder(str(tmp_path))
    folder.look()
    for number in range(20):
        (tmp_path / f"{number:02}.yaml").write_text(ingress(f"web-{number}", "b.test"))

    first, second = folder.look(), folder.look()

    assert not first.changed
    assert set(hosts(second)) == {"b.test"}


def test_only_the_document_that_changed_is_parsed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [ingress(f"web-{number}") for number in range(50)]
    path = put(tmp_path / "all.yaml", "---\n".join(texts))
    folder = Folder(str(tmp_path))
    before = folder.look()
    texts[20] = ingress("web-20", "new.test")
    put(path, "---\n".join(texts))
    parsed: list[bytes] = []

    def read_yaml(text: bytes) -> files_documents.Document:
        parsed.append(text)
        return files_documents.read_yaml(text)

    monkeypatch.setattr("ingresskit.sources.files_manifest.read_yaml", read_yaml)

    after = folder.look()

    assert parsed == [b"---\n" + texts[20].encode()]
    assert [old is new for old, new in zip(before.objects, after.objects, strict=True)].count(False) == 1


def test_problems_are_equal_from_look_to_look(tmp_path: Path) -> None:
    put(tmp_path / "bad.yaml", BROKEN + "---\n" + MISTYPED)
    put(tmp_path / "web.yaml", ingress("web"))
    folder = Folder(str(tmp_path))
    before = folder.look()
    put(tmp_path / "web.yaml", ingress("web", "b.test"))

    after = folder.look()

    assert len(before.problems) == 2
    assert all(isinstance(problem, DecodeError) for problem in before.problems)
    assert before.problems == after.problems


def test_statistics_count_what_was_read(tmp_path: Path) -> None:
    put(
        tmp_path / "web.yaml",
        ingress("web") + "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n",
    )
    put(tmp_path / "x.yaml", ingress("x"))
    folder = Folder(str(tmp_path))
    folder.look()

    assert folder.statistics() == {"files": 2, "documents": 3, "objects": 2, "ignored": 1}
