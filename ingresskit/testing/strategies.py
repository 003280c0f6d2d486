"""Hypothesis strategies for what a cluster may hold and what a client may ask.

Needs hypothesis, which ``ingresskit[test]`` brings. Names are drawn from small pools on purpose:
objects that never meet never conflict.
"""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ingresskit.models import EndpointSlice, Ingress, IngressClass, KubeObject, Secret, Service, SliceEndpoint
from ingresskit.policies import NativeDialect
from ingresskit.testing.builders import endpoint, endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.certificates import tls_secret

__all__ = [
    "annotation_maps",
    "endpoint_slices",
    "ingresses",
    "junk",
    "junk_text",
    "request_hosts",
    "request_paths",
    "rule_hosts",
    "rule_paths",
    "secrets",
    "services",
    "serving_worlds",
    "worlds",
]

_LABELS = ("a", "b", "www")
_ELEMENTS = ("a", "b", "ab", "aa", "x.y", "A")
_SERVICES = ("one", "two", "gone")
_PORTS = (80, 81)
_SECRET_HOSTS: Mapping[str, tuple[str, ...]] = {
    "cert-a": ("a.test",),
    "cert-wild": ("*.a.test", "a.test"),
    "cert-b": ("b.test", "www.b.test"),
}
# Those that decide what becomes of a request, and a few of the others.
_GOOD_ANNOTATIONS = (
    ("allow-sources", "10.0.0.0/8"),
    ("allow-sources", "10.0.0.0/8, 127.0.0.0/8"),
    ("load-balancing", "least-connections"),
    ("redirect", "/elsewhere?x=y"),
    ("redirect", "https://b.test/"),
    ("request-headers-set", "X-A: 100% $host"),
    ("rewrite-prefix", "/"),
    ("rewrite-prefix", "/v2"),
    ("tls-redirect", "false"),
    ("tls-redirect", "true"),
    ("traffic-split", "one=1, two=3"),
)

_names = st.lists(st.sampled_from(_LABELS), min_size=1, max_size=2).map(
    lambda labels: ".".join([*labels, "test"])
)


def rule_hosts() -> SearchStrategy[str]:
    """Valid hosts of rules: names, wildcards, and the empty text (any host)."""
    return st.one_of(_names, _names.map("*.{}".format), st.just(""))


def request_hosts() -> SearchStrategy[str]:
    """Hosts that clients ask for: close to those of `rule_hosts`, some with port, dot or upper case."""
    names = st.one_of(_names, _names.map("c.{}".format), _names.map("d.c.{}".format), st.just("other.example"))
    return st.one_of(names, names.map(str.upper), names.map("{}:8080".format), names.map("{}.".format))


def rule_paths() -> SearchStrategy[str]:
    """Valid paths in the short form of `ingresskit.testing.path`: a type mark and a path."""
    return st.tuples(st.sampled_from(("", "=", "~")), _plain_paths()).map("".join)


def request_paths(*, plain: bool = False) -> SearchStrategy[str]:
    """Paths that clients ask for: close to those of `rule_paths`.

    Args:
        plain: Only such as are in normal form.
    """
    if plain:
        return _plain_paths()
    odd = st.sampled_from((".", "..", "", "%61", "%2F", "%2e%2e", "a%20b", "b;v=1", "..;", "%00", "%", "ü"))
    elements = st.lists(st.one_of(st.sampled_from(_ELEMENTS), odd), max_size=5)
    return st.one_of(_plain_paths(), elements.map(lambda items: "/" + "/".join(items)))


def services(namespace: str = "default") -> SearchStrategy[Service]:
    """Services ``one`` and ``two``; the third that `ingresses` names, ``gone``, never exists."""

    def make(name: str, ports: int | dict[str, int]) -> Service:
        return service(name, ports, namespace=namespace)

    ports: SearchStrategy[int | dict[str, int]] = st.sampled_from((80, 81, {"http": 80, "admin": 81}))
    return st.builds(make, st.sampled_from(_SERVICES[:2]), ports)


def endpoint_slices(namespace: str = "default") -> SearchStrategy[EndpointSlice]:
    """Slices of those Services, with endpoints in every state and a few refused addresses."""

    def make(name: str, number: int, items: list[SliceEndpoint], ports: int | dict[str, int]) -> EndpointSlice:
        return endpoint_slice(name, *items, ports=ports, namespace=namespace, name=f"{name}-{number}")

    flags = st.sampled_from((True, False, None))
    addresses = st.sampled_from(("10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "127.0.0.1"))
    made = st.builds(endpoint, addresses, ready=flags, serving=flags, terminating=flags)
    ports: SearchStrategy[int | dict[str, int]] = st.sampled_from((8080, {"http": 8080, "admin": 9090}))
    return st.builds(make, st.sampled_from(_SERVICES[:2]), st.integers(1, 2), st.lists(made, max_size=3), ports)


def secrets(namespace: str = "default") -> SearchStrategy[Secret]:
    """TLS Secrets, some of them broken."""

    def make(name: str, salt: str, key: bytes | None) -> Secret:
        return tls_secret(*_SECRET_HOSTS[name], name=name, namespace=namespace, salt=salt, key=key)

    salts, keys = st.sampled_from(("", "rotated")), st.sampled_from((None, None, None, b"", b"no key"))
    return st.builds(make, st.sampled_from(sorted(_SECRET_HOSTS)), salts, keys)


def annotation_maps(*, junk_too: bool = True) -> SearchStrategy[dict[str, str]]:
    """Annotations of every native policy, with good values and (where asked for) with others."""
    native = NativeDialect()
    names = sorted(f"{native.prefix}/{row.name}" for row in native.table())
    values: SearchStrategy[str] = st.sampled_from(
        (
            "true",
            "5s",
            "3",
            "/v2",
            "https://b.test/",
            "X-A: b",
            "X-A",
            "10.0.0.0/8",
            "one=1, two=3",
            "round-robin",
        )
    )
    keys: SearchStrategy[str] = st.sampled_from(names)
    if junk_too:
        values, keys = st.one_of(values, junk_text()), st.one_of(keys, keys.map("{}x".format), junk_text())
    return st.dictionaries(keys, values, max_size=3)


def ingresses(namespace: str = "default", *, youngest: int = 3, oldest: int = 0) -> SearchStrategy[Ingress]:
    """Ingresses over the pools of this module.

    Args:
        namespace: Where they live.
        youngest: Their largest ``created``, in days after `ingresskit.testing.EPOCH`.
        oldest: Their smallest.
    """
    backends = st.tuples(st.sampled_from(_SERVICES), st.sampled_from(("", ":81", ":http", ":none"))).map(
        "".join
    )
    paths = st.dictionaries(rule_paths(), backends, max_size=4)
    return st.builds(
        ingress,
        st.sampled_from(("one", "two", "three", "four")),
        st.dictionaries(rule_hosts(), st.one_of(paths, st.none()), max_size=3),
        namespace=st.just(namespace),
        created=st.one_of(st.integers(oldest, youngest), st.none()),
        ingress_class=st.sampled_from(("ingresskit", "ingresskit", "ingresskit", "other", None)),
        default=st.one_of(st.none(), st.none(), backends),
        tls=st.dictionaries(
            st.sampled_from((*sorted(_SECRET_HOSTS), "no-cert", "")),
            st.lists(rule_hosts(), max_size=2),
            max_size=2,
        ),
        annotations=annotation_maps(),
    )


def worlds(*namespaces: str, max_size: int = 12) -> SearchStrategy[list[KubeObject]]:
    """What a cluster holds: our class, and objects of every kind in these namespaces, each key once."""
    kinds: list[SearchStrategy[KubeObject]] = []
    for namespace in namespaces or ("default",):
        kinds += [
            ingresses(namespace),
            ingresses(namespace),
            services(namespace),
            endpoint_slices(namespace),
            secrets(namespace),
        ]
    classes: list[IngressClass] = [ingress_class(), ingress_class("other", controller="example.com/other")]
    return st.lists(st.one_of(kinds), max_size=max_size, unique_by=lambda item: (item.kind, item.key)).map(
        lambda items: [*classes, *items]
    )


def serving_worlds(*namespaces: str, max_size: int = 6) -> SearchStrategy[list[KubeObject]]:
    """As `worlds`, but Services and certificates are whole: most requests that a rule takes are answered.

    Args:
        namespaces: Where the objects live.
        max_size: Ingresses at most; there is one at least.
    """
    fixed: list[KubeObject] = [ingress_class()]
    for namespace in namespaces or ("default",):
        for number, name in enumerate(_SERVICES[:2]):
            addresses = [f"10.0.{number}.{host}" for host in range(1, 2 + number)]
            ports = {"http": 8080, "admin": 9090}
            fixed.append(service(name, {"http": 80, "admin": 81}, namespace=namespace))
            fixed.append(endpoint_slice(name, *addresses, ports=ports, namespace=namespace))
        fixed += [
            tls_secret(*hosts, name=name, namespace=namespace, salt=namespace)
            for name, hosts in _SECRET_HOSTS.items()
        ]
    written = st.one_of([_ours(namespace) for namespace in namespaces or ("default",)])
    return st.lists(written, min_size=1, max_size=max_size, unique_by=lambda item: item.key).map(
        lambda items: [*fixed, *items]
    )


def _ours(namespace: str) -> SearchStrategy[Ingress]:
    """Ingresses that are ours and whose backends are there."""
    backends = st.tuples(st.sampled_from(_SERVICES[:2]), st.sampled_from(("", ":81", ":http"))).map("".join)
    hosts = st.dictionaries(
        rule_hosts(), st.dictionaries(rule_paths(), backends, min_size=1, max_size=4), max_size=3
    )
    names = st.sampled_from(("one", "two", "three", "four"))
    secrets = st.sampled_from(sorted(_SECRET_HOSTS))
    return st.builds(
        ingress,
        names,
        hosts,
        namespace=st.just(namespace),
        created=st.integers(0, 3),
        default=st.one_of(st.none(), backends),
        tls=st.dictionaries(secrets, st.lists(rule_hosts(), max_size=2), max_size=1),
        annotations=st.lists(st.sampled_from(_GOOD_ANNOTATIONS), max_size=2).map(dict),
    )


def junk_text() -> SearchStrategy[str]:
    """Text that somebody hopes will become configuration, or nothing in particular."""
    hostile = (
        'a"; } location / { return 200; }',
        "a\nhttp-request deny",
        "{{ .Values }}",
        "${jndi:x}",
        "../../etc/passwd",
        "*",
        "*.*.test",
        "a.test:80",
        "\x00",
        "\u202e",
        "%00",
        "(a+)+$",
        "127.0.0.1",
        "a" * 5000,
        "",
    )
    return st.one_of(st.sampled_from(hostile), st.text(max_size=20))


def junk() -> SearchStrategy[object]:
    """Any JSON value."""
    leaves: SearchStrategy[object] = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), junk_text()
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(junk_text(), inner, max_size=3)),
        max_leaves=6,
    )


def _plain_paths() -> SearchStrategy[str]:
    def joined(elements: list[str], slash: bool) -> str:
        return "/" + "/".join(elements) + ("/" if slash and elements else "")

    return st.builds(joined, st.lists(st.sampled_from(_ELEMENTS), max_size=4), st.booleans())
