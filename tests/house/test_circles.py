"""No file of the package imports one that imports it, directly or by way of others, not even for types."""

from __future__ import annotations

import grimp

FACE = "ingresskit"
"""The package's own face loads what it names when it is asked for: rooms may read its version."""


def circles(imports: dict[str, set[str]]) -> set[frozenset[str]]:
    """The strongly connected components with more than one member (Tarjan), found without recursion."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    waiting: list[str] = []
    found: set[frozenset[str]] = set()
    for root in imports:
        if root in number:
            continue
        path = [(root, iter(sorted(imports[root])))]
        number[root] = lowest[root] = len(number)
        waiting.append(root)
        while path:
            node, rest = path[-1]
            for following in rest:
                if following not in number:
                    number[following] = lowest[following] = len(number)
                    waiting.append(following)
                    path.append((following, iter(sorted(imports[following]))))
                    break
                if following in waiting:
                    lowest[node] = min(lowest[node], number[following])
            else:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[node])
                if lowest[node] == number[node]:
                    members = frozenset(waiting[waiting.index(node) :])
                    del waiting[waiting.index(node) :]
                    if len(members) > 1:
                        found.add(members)
    return found


def test_a_circle_is_found_through_any_number_of_files() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set[str]()}

    assert circles(imports) == {frozenset({"a", "b", "c"})}


def test_no_files_import_one_another_in_a_circle() -> None:
    graph = grimp.build_graph("ingresskit")
    imports = {
        module: graph.find_modules_directly_imported_by(module) - {FACE}
        for module in sorted(graph.modules - {FACE})
    }

    assert [sorted(circle) for circle in circles(imports)] == []
