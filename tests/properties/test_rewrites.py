"""Whatever a client sends and a pattern captures: a rewritten path is in normal form, or refused."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from ingresskit.filters import PatternEdit
from ingresskit.graph import PathMatch, PathRefused, normalise_path

PATTERNS = ["/(.*)", "/a(.*)", "/(.)(.*)", "/([^/]*)/?(.*)", "/a(/|$)(.*)"]
PIECES = ["/", ".", "..", "%2", "e", "E", "F", ";", "a", "$1", "$2", "$1$2", "/data/"]


@given(
    pattern=st.sampled_from(PATTERNS),
    pieces=st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
    sent=st.lists(st.sampled_from(["/", ".", "%2e", "%2E", "%2f", "%25", "2", "e", ";", "a", "b"]), max_size=8),
)
def test_a_rewritten_path_never_leads_elsewhere(pattern: str, pieces: str, sent: list[str]) -> None:
    try:
        path = normalise_path("/" + "".join(sent))
        made, query = PatternEdit(pattern, "/top/" + pieces).rewritten(path, b"?q", PathMatch.prefix("/"))
    except PathRefused:
        assume(False)
        return

    assert normalise_path(made) == made
    assert query == b"?q"
    assert made == path or made.startswith("/top")
    assert not any(element.partition(";")[0] in (".", "..") for element in made.split("/"))
