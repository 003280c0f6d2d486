from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.graph import HostRefused, PathRefused, normalise_host, normalise_path
from ingresskit.models import Ingress, Snapshot, age_order
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing import ingress, ingress_class, tls_secret
from ingresskit.testing.strategies import request_hosts, request_paths, worlds
from ingresskit.translate import HostOwnership, TranslateOptions, translate
from tests.properties.reference import WrittenRule, winner

_SHARED = TranslateOptions(host_ownership=HostOwnership.SHARED)

# Few hosts and few elements, so that rules meet each other and requests meet rules.
_elements = st.lists(st.sampled_from(("a", "ab", "b")), max_size=3).map(lambda items: "/" + "/".join(items))
_paths = st.tuples(_elements, st.sampled_from(("", "/"))).map(
    lambda parts: parts[0].rstrip("/") + parts[1] or "/"
)
_written_paths = st.tuples(st.sampled_from(("", "", "=", "~")), _paths).map("".join)
_hosts = st.sampled_from(("", "a.test", "b.a.test", "*.a.test", "*.test"))
_rules = st.dictionaries(_hosts, st.dictionaries(_written_paths, st.just("one"), max_size=6), max_size=4)
_ingresses = st.lists(
    st.builds(
        ingress,
        st.sampled_from(("w", "x", "y", "z")),
        _rules,
        namespace=st.sampled_from(("alpha", "beta")),
        created=st.integers(0, 2),
    ),
    max_size=4,
    unique_by=lambda item: item.key,
)
_requests = st.lists(
    st.tuples(
        st.sampled_from(("a.test", "A.test:80", "b.a.test", "c.a.test.", "c.b.a.test", "x.test", "y")), _paths
    ),
    min_size=5,
    max_size=20,
)


def _written(ingresses: list[Ingress]) -> list[WrittenRule]:
    written: list[WrittenRule] = []
    for item in sorted(ingresses, key=age_order):
        for number, rule in enumerate(item.spec.rules):
            host = rule.host or ""
            written.append(WrittenRule(host=host, kind="", path="", owner=""))
            for index, path in enumerate(rule.http.paths if rule.http else ()):
                owner = f"{item.ref}, spec.rules[{number}].http.paths[{index}]"
                written.append(
                    WrittenRule(host=host, kind=path.path_type or "", path=path.path or "", owner=owner)
                )
    return written


@given(_ingresses, _requests)
def test_resolve_agrees_with_a_naive_matcher(ingresses: list[Ingress], requests: list[tuple[str, str]]) -> None:
    graph = translate(Snapshot.of([ingress_class(), *ingresses]), _SHARED).graph
    rules = _written(ingresses)

    for host, path in requests:
        expected, found = winner(rules, host, path), graph.resolve(host, path)
        assert (str(found.origin) if found else None) == (expected.owner if expected else None), (host, path)


@given(
    worlds("alpha", "beta"), st.lists(st.tuples(request_hosts(), request_paths()), max_size=8), st.booleans()
)
def test_the_routing_table_agrees_with_resolve(
    objects: list[Ingress], requests: list[tuple[str, str]], fallthrough: bool
) -> None:
    graph = translate(Snapshot.of(objects), TranslateOptions(host_fallthrough=fallthrough)).graph
    table = InProcessRenderer().render(graph)

    for host, path in requests:
        resolved = graph.resolve(host, path)
        try:
            found = table.find(normalise_host(host), normalise_path(path))
        except (HostRefused, PathRefused):
            assert resolved is None
        else:
            assert (found.route if found else None) is resolved
        name = host.partition(":")[0]
        assert table.certificate_for(name) is graph.certificate_for(name)


@given(
    st.lists(
        st.sampled_from(("a.test", "b.test", "*.a.test", "*.b.test")), min_size=1, max_size=4, unique=True
    ),
    st.lists(request_hosts(), min_size=1, max_size=8),
)
def test_the_routing_table_shows_the_certificates_that_the_graph_has(
    names: list[str], asked: list[str]
) -> None:
    objects = [
        ingress("web", dict.fromkeys(names), tls={f"tls-{n}": [name] for n, name in enumerate(names)}),
        *(tls_secret(name, name=f"tls-{number}") for number, name in enumerate(names)),
    ]
    graph = translate(Snapshot.of([ingress_class(), *objects])).graph
    table = InProcessRenderer().render(graph)

    for name in names:
        shown = graph.certificate_for(name.replace("*", "c"))
        assert shown is not None
        assert name in shown.names
    for host in (*asked, *(name.replace("*", "c") for name in names)):
        assert table.certificate_for(host.partition(":")[0]) is graph.certificate_for(host.partition(":")[0])


@given(request_paths())
def test_the_normal_form_of_a_normal_form_is_itself(path: str) -> None:
    try:
        normal = normalise_path(path)
    except PathRefused:
        return

    assert normalise_path(normal) == normal
    assert normal.startswith("/")
    assert normal.isascii()
    assert not {".", "..", ""} & set(normal.split("/")[1:-1])
