"""The list of certificates says the same as the graph, in few lines."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.models import ObjectKey
from ingresskit.render.haproxy import ServerNames
from ingresskit.render.haproxy.certificates import ServerNameLines, bundle_id

_NAMES = st.sampled_from(("a.test", "b.test", "x.a.test", "y.a.test", "*.a.test", "*.test", "x.y.a.test"))
# Few names, and as many as make several lines.
_MANY = _NAMES | st.integers(0, 60).map("h{}.test".format)
_SECRETS = st.sampled_from((ObjectKey("default", "one"), ObjectKey("default", "two"), None))


def chosen(lines: tuple[ServerNames, ...], name: str) -> str:
    """The bundle HAProxy shows: that of the name, else of what has a star for all before its first dot."""
    held = {item: line.bundle for line in lines for item in line.names}
    _, _, parent = name.partition(".")
    return held.get(name, held.get(f"*.{parent}", ""))


def wanted(server_names: Mapping[str, ObjectKey | None], name: str) -> str:
    """The same of the graph's table."""
    _, _, parent = name.partition(".")
    secret = server_names.get(name, server_names.get(f"*.{parent}"))
    return "" if secret is None else bundle_id(secret)


@given(st.dictionaries(_NAMES, _SECRETS))
def test_each_name_gets_the_certificate_of_the_graph(server_names: dict[str, ObjectKey | None]) -> None:
    lines = ServerNameLines().follow(server_names)

    names = [name for line in lines for name in line.names]
    assert len(names) == len(set(names))
    assert all(line.names for line in lines)
    for name in ("a.test", "b.test", "x.a.test", "y.a.test", "z.a.test", "c.test", "x.y.a.test", "w.y.a.test"):
        assert chosen(lines, name) == wanted(server_names, name)
        assert chosen(lines, f"{name}.") == wanted(server_names, name)
        assert chosen(lines, f".{name}") == chosen(lines, f".{name}.") == ""


def test_a_certificate_for_a_wildcard_is_one_line_however_many_hosts_use_it() -> None:
    secret = ObjectKey("default", "wild")
    names = {f"h{number}.shop.test": secret for number in range(1000)}

    assert ServerNameLines().follow({"*.shop.test": secret, **names}) == (
        ServerNames("", (".shop.test", ".shop.test.")),
        ServerNames(bundle_id(secret), ("*.shop.test", "*.shop.test.")),
    )


def test_one_name_more_changes_one_line() -> None:
    secret = ObjectKey("default", "many")
    names: dict[str, ObjectKey | None] = {f"h{number}.test": secret for number in range(1000)}

    before, after = (
        set(ServerNameLines().follow(names)),
        set(ServerNameLines().follow(names | {"new.test": secret})),
    )

    assert len(before) > 16
    assert max(len(line.names) for line in before) < 128
    assert len(before - after) <= 1
    assert len(after - before) == 1


@given(st.lists(st.dictionaries(_MANY, _SECRETS, max_size=40), min_size=2, max_size=6))
def test_lines_that_follow_changes_are_those_from_scratch(history: list[dict[str, ObjectKey | None]]) -> None:
    following = ServerNameLines()
    before: dict[str, ObjectKey | None] = {}

    for names in history:
        changed = {name for name in {**before, **names} if before.get(name, "") != names.get(name, "")}
        assert following.follow(names, changed) == ServerNameLines().follow(names)
        before = names
