from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.graph import PathOptions, PathRefused, normalise_path


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        pytest.param("/", "/", id="the root"),
        pytest.param("/a/b", "/a/b", id="nothing to do"),
        pytest.param("/a/", "/a/", id="a trailing slash stays"),
        pytest.param("//a///b//", "/a/b/", id="empty elements go"),
        pytest.param("///", "/", id="only slashes"),
        pytest.param("/a/./b/.", "/a/b/", id="single dots go"),
        pytest.param("/a/../b", "/b", id="double dots go up"),
        pytest.param("/a/..", "/", id="up to the root"),
        pytest.param("/a/b/..", "/a/", id="up leaves a slash"),
        pytest.param("/a/...", "/a/...", id="three dots are a name"),
        pytest.param("/.a/..b/c.", "/.a/..b/c.", id="dots in names"),
        pytest.param("/%61%2D%5f%7E", "/a-_~", id="unreserved escapes are decoded"),
        pytest.param("/%2e%2E/", None, id="escaped dots go up too"),
        pytest.param("/a/%2e%2e/b", "/b", id="escaped dots go up inside"),
        pytest.param("/a%2fb", "/a%2Fb", id="an escaped slash stays one"),
        pytest.param("/a%252e%252e", "/a%252e%252e", id="nothing is decoded twice"),
        pytest.param("/%c3%a9", "/%C3%A9", id="escapes in upper case"),
        pytest.param("/\u00e9", "/%C3%A9", id="text beyond ASCII is escaped"),
        pytest.param('/"<>^`{|}\\ ', "/%22%3C%3E%5E%60%7B%7C%7D%5C%20", id="what may not stand is escaped"),
        pytest.param("/a;b=1/c", "/a;b=1/c", id="a parameter stays"),
        pytest.param("/!$&'()*+,;=:@", "/!$&'()*+,;=:@", id="what may stand stays"),
        pytest.param("/a?b#c", "/a%3Fb%23c", id="no query and no fragment"),
        pytest.param("/" + "a" * 7999, "/" + "a" * 7999, id="as long as allowed"),
        pytest.param("", None, id="empty"),
        pytest.param("a", None, id="no slash"),
        pytest.param("*", None, id="an asterisk"),
        pytest.param("http://a/", None, id="a URL"),
        pytest.param("/..", None, id="above the root"),
        pytest.param("/a/../../b", None, id="above the root on the way"),
        pytest.param("/a\n", None, id="a line break at the end"),
        pytest.param("/a\x00b", None, id="a null"),
        pytest.param("/a%00b", None, id="an escaped null"),
        pytest.param("/a%0D%0aX: y", None, id="escaped line breaks"),
        pytest.param("/%7F", None, id="an escaped delete"),
        pytest.param("/%", None, id="half an escape"),
        pytest.param("/%4", None, id="an escape cut off"),
        pytest.param("/%zz", None, id="no digits"),
        pytest.param("/%+1", None, id="a sign for a digit"),
        pytest.param("/%\u0661\u0661", None, id="digits of another script"),
        pytest.param("/%2%41", None, id="an escape in an escape"),
        pytest.param("/a/..;/b", None, id="dots with a parameter"),
        pytest.param("/a/.;x", None, id="a dot with a parameter"),
        pytest.param("/a/..%3Bx", None, id="dots with an escaped parameter"),
        pytest.param("/a/..%2fb", None, id="dots before an escaped slash"),
        pytest.param("/a%2f../b", None, id="dots after an escaped slash"),
        pytest.param("/a%5c..", None, id="dots after an escaped backslash"),
        pytest.param("/a/..\\b", None, id="dots before a backslash"),
        pytest.param("/a%2F%2e%2E%2Fb", None, id="escaped dots between escaped slashes"),
        pytest.param("/\ud800", None, id="half a character"),
        pytest.param("/" + "a" * 8000, None, id="too long"),
        pytest.param("/" + "\u00e9" * 2000, None, id="too long once escaped"),
    ],
)
def test_a_path_has_one_normal_form_or_is_refused(path: str, normal: str | None) -> None:
    if normal is not None:
        assert normalise_path(path) == normal
        return
    with pytest.raises(PathRefused, match=r"^(has|is|does not|leads) ") as caught:
        normalise_path(path)
    assert str(caught.value).isprintable()


pieces = st.sampled_from(
    [
        "/",
        "//",
        ".",
        "..",
        "a",
        "A",
        "~",
        "%",
        "%2",
        "%2e",
        "%2E",
        "%2f",
        "%5C",
        "%3b",
        ";",
        "=",
        "\\",
        "é",
        "%C3%A9",
        "%25",
        "%00",
        "\n",
        "?",
        "#",
        "%7e",
    ]
)
paths = st.text(st.characters(exclude_categories=[]), max_size=40) | st.lists(pieces, max_size=15).map(
    lambda parts: "/" + "".join(parts)
)


def normal_form(path: str) -> str | None:
    try:
        return normalise_path(path)
    except PathRefused:
        return None


@given(paths)
def test_nothing_is_raised_but_a_refusal(path: str) -> None:
    normal_form(path)


@given(paths)
def test_a_normal_form_is_its_own_normal_form(path: str) -> None:
    normal = normal_form(path)

    assert normal is None or normal_form(normal) == normal


@given(paths)
def test_a_normal_form_hides_nothing(path: str) -> None:
    normal = normal_form(path)
    if normal is None:
        return

    assert normal.isascii()
    assert normal.isprintable()
    assert normal.startswith("/")
    assert "//" not in normal
    assert not {".", ".."} & set(normal.split("/"))


@given(
    st.lists(st.text("abcXYZ019._~-", min_size=1, max_size=5).filter(lambda part: part.strip(".")), max_size=5)
)
def test_an_escape_of_an_unreserved_character_changes_nothing(parts: list[str]) -> None:
    plain = "/" + "/".join(parts)
    escaped = "".join(character if character == "/" else f"%{ord(character):02x}" for character in plain)

    assert normalise_path(escaped) == normalise_path(plain) == plain


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("//", "//"),
        ("///", "///"),
        ("/a//b", "/a//b"),
        ("/a//", "/a//"),
        ("//a/", "//a/"),
        ("/a/./b/.", "/a/b/"),
        ("//.", "//"),
        ("/.//x", "//x"),
        ("/a//../b", "/a/b"),
        ("//..", "/"),
        ("/a/..", "/"),
        ("/img/http://b.test//c", "/img/http://b.test//c"),
        ("/%61//%2f", "/a//%2F"),
    ],
)
def test_empty_elements_are_kept_where_slashes_are_not_merged(path: str, normal: str) -> None:
    options = PathOptions(merge_slashes=False)

    assert normalise_path(path, options) == normal
    assert normalise_path(normal, options) == normal


@pytest.mark.parametrize("path", ["/a;b", "/a;b/c", "/a%3bb", "/a%2Fb", "/a%2fb", "/a%5Cb", "/a\\b", "/;"])
def test_strict_paths_have_nothing_that_applications_read_in_different_ways(path: str) -> None:
    normalise_path(path)

    with pytest.raises(PathRefused):
        normalise_path(path, PathOptions(strict=True))


def test_other_escapes_pass_where_paths_are_strict() -> None:
    assert normalise_path("/a%20b//c%7e", PathOptions(strict=True)) == "/a%20b/c~"
