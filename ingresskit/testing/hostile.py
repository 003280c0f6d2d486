"""What somebody writes who knows the proxy's language better than its operator: a corpus.

Every field that a cluster user can fill stands here, and for each the objects that carry a hostile
text in it. Every text holds `CANARY`, so that whoever finds that word where it has no business (a
directive, a file name, an answer to somebody else's request) knows that text became configuration.

The objects live in the namespace ``hostile`` and claim hosts below ``hostile.test``, or try to claim
others. `victim_objects` are what they must not touch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from ingresskit.models import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressRule,
    IngressSpec,
    KubeObject,
    ObjectMeta,
    Secret,
)
from ingresskit.testing.builders import (
    backend,
    endpoint,
    endpoint_slice,
    ingress,
    ingress_class,
    moment,
    service,
)
from ingresskit.testing.certificates import make_certificate, tls_secret
from ingresskit.testing.hostile_annotations import BRIEF, COMPANIONS, SHORT_LIST, allowed
from ingresskit.testing.scenario import Ask

__all__ = ["CANARY", "HOSTILE_TEXTS", "HostileCase", "hostile_cases", "victim_asks", "victim_objects"]

CANARY: Final = "canary7f3a"
"""A word that no configuration, answer or file name of ours contains. One token in every language."""

HOSTILE_TEXTS: Final[tuple[tuple[str, str], ...]] = (
    # nginx
    ("nginx: ends a quoted argument", f'"; return 200 {CANARY}; #'),
    ("nginx: ends a quoted argument and a block", f'"; }} location / {{ return 200 "{CANARY}"; }} #'),
    ("nginx: ends an argument in single quotes", f"'; return 200 {CANARY}; #"),
    ("nginx: ends a bare argument", f"x; return 200 {CANARY}; #"),
    ("nginx: ends a block", f"x}} server {{ listen 1; return 200 {CANARY}; }} #"),
    ("nginx: a variable", f"$host${{uri}}$http_{CANARY}"),
    ("nginx: a variable that makes the file fail", f"$no_such_{CANARY}"),
    ("nginx: an open variable", f"${{{CANARY}"),
    ("nginx: a regular expression as a name", f"~^.*{CANARY}"),
    ("nginx: a modifier glued to an argument", f"=/{CANARY}"),
    ("nginx: a key of a map with a meaning", f"include /etc/passwd{CANARY}"),
    ("nginx: the default of a map", f"default {CANARY}"),
    ("nginx: a backslash at the end", f"{CANARY}\\"),
    ("nginx: an escaped quote", f'{CANARY}\\"'),
    ("nginx: a comment", f"# {CANARY}"),
    ("nginx: Lua that ends a long bracket", f']] ngx.say("{CANARY}") --[['),
    ("nginx: Lua that ends a block", f"end ngx.exit(200) -- {CANARY}"),
    ("nginx: a token as long as its buffer", CANARY + "a" * 4096),
    # HAProxy
    ("HAProxy: the next line", f"x\n  http-request return status 200 string {CANARY}"),
    ("HAProxy: a sample fetch", f"%[src]%[var(txn.{CANARY})]"),
    ("HAProxy: a format tag", f"%ci%HM%{{+Q}}r{CANARY}"),
    ("HAProxy: a condition", f"x if {{ always_true }} # {CANARY}"),
    ("HAProxy: a second word", f"x {CANARY}"),
    ("HAProxy: an escaped space", f"x\\ {CANARY}"),
    ("HAProxy: an environment variable", f'"$PATH{CANARY}"'),
    ("HAProxy: ends single quotes", f"'\\'' http-request deny {CANARY}"),
    ("HAProxy: a second row of a map", f"x y\n/ {CANARY}"),
    ("HAProxy: a comment in a map", f"#{CANARY}"),
    ("HAProxy: a second command", f"x; disable frontend {CANARY}"),
    ("HAProxy: the end of a payload", f"x\n\nshutdown frontend {CANARY}\n"),
    ("HAProxy: a payload", f"<<\n{CANARY}"),
    ("HAProxy: a pattern option", f"-m reg -i {CANARY}.*"),
    ("HAProxy: more than one line of a map holds", CANARY + "a" * 20_000),
    ("HAProxy: seventy words", " ".join([CANARY] * 70)),
    # templates, shells, logs, terminals
    ("Go template", f'{{{{ printf "{CANARY}" }}}}'),
    ("shell", f"$(echo {CANARY})`echo {CANARY}`"),
    ("JNDI", f"${{jndi:ldap://{CANARY}}}"),
    ("path of a file", f"../../../../tmp/{CANARY}"),
    ("absolute path of a file", f"/proc/self/environ/{CANARY}"),
    ("carriage return and line feed", f"x\r\nX-{CANARY}: 1\r\n\r\n{CANARY}"),
    ("carriage return", f"x\rX-{CANARY}: 1"),
    ("NUL", f"x\x00{CANARY}"),
    ("vertical tab and form feed", f"x\x0b{CANARY}\x0c"),
    ("Unicode line ends", f"x\u2028{CANARY}\u2029\x85"),
    ("terminal", f"\x1b]0;{CANARY}\x07"),
    ("letters that look alike", f"v\u0456ctim.test{CANARY}"),
    ("the Kelvin sign", f"\u212a{CANARY}"),
    ("XML", f"<script>{CANARY}</script>"),
    ("JSON", f'","{CANARY}":{{"a":"'),
    ("a key in text", f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----"),
)
"""A phrase that says what each tries, and the text; each text holds `CANARY`."""

_NAMESPACE = "hostile"
_PREFIXES = {"Prefix": "", "Exact": "=", "ImplementationSpecific": "~"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileCase:
    """A field with a hostile text in it.

    Attributes:
        field: The field: ``"the host of a rule"``.
        attempt: What the text tries: ``"nginx: ends a quoted argument"``.
        text: The text; holds `CANARY`, unless its field could not take it then.
        objects: Objects with the text in that field, which is served where it can be.
    """

    field: str
    attempt: str
    text: str
    objects: tuple[KubeObject, ...]

    def __str__(self) -> str:
        """``the host of a rule, nginx: ends a quoted argument``."""
        return f"{self.field}, {self.attempt}"


def hostile_cases() -> Iterator[HostileCase]:
    """Every field with every text, and what only one field can be used for. About 3,000; always the same.

    Annotations that came later have one text of each kind.

    Any number of cases fit into one cluster: an object that stands in several is the same in all.
    """
    number = 0
    for field, place in _FIELDS.items():
        for attempt, text in HOSTILE_TEXTS:
            number += 1
            yield HostileCase(field=field, attempt=attempt, text=text, objects=place(f"h{number}", text))
    for annotation, before in BRIEF:
        for attempt, text in HOSTILE_TEXTS:
            if attempt in SHORT_LIST:
                number += 1
                yield HostileCase(
                    field=_called(annotation, before),
                    attempt=attempt,
                    text=text,
                    objects=_annotated(annotation, before)(f"h{number}", text),
                )
    for annotation, text in allowed(CANARY):
        number += 1
        yield HostileCase(
            field=f"the annotation {annotation}",
            attempt="a value that its grammar allows",
            text=text,
            objects=_annotated(annotation)(f"h{number}", text),
        )
    for attempt, text in _OTHERS_HOSTS:
        number += 1
        yield HostileCase(
            field="the host of a rule", attempt=attempt, text=text, objects=_rule_host(f"h{number}", text)
        )


def victim_objects() -> tuple[KubeObject, ...]:
    """What must not change: hosts of the namespace ``victim``, older than all hostile objects; our class."""
    return (
        ingress_class(),
        ingress(
            "web",
            {
                "victim.test": {"/": "web", "/api": "api", "=/exact": "api"},
                "*.victim.test": {"/": "api"},
            },
            namespace="victim",
            tls={"tls": ["victim.test"]},
            annotations={"tls-redirect": "false"},
        ),
        ingress("closed", {"closed.test": {"/": "web"}}, namespace="victim", annotations=_CLOSED),
        ingress("default", default="web", namespace="victim"),
        service("web", namespace="victim"),
        service("api", namespace="victim"),
        endpoint_slice("web", "10.1.0.1", namespace="victim"),
        endpoint_slice("api", "10.1.0.2", namespace="victim"),
        tls_secret("victim.test", namespace="victim"),
    )


def victim_asks() -> tuple[Ask, ...]:
    """Requests whose answers must be the same with hostile objects around as without."""
    plain = [
        Ask(host=host, path=path)
        for host in ("victim.test", "a.victim.test", "b.a.victim.test", "closed.test", "nobody.example")
        for path in ("/", "/api", "/api/x", "/apix", "/exact", "/%22%7D", f"/{CANARY}")
    ]
    names = ("victim.test", "a.victim.test", None)
    return (*plain, *(Ask(host="victim.test", path="/", tls=True, server_name=name) for name in names))


_CLOSED = {"allow-sources": "192.0.2.0/24"}
_OTHERS_HOSTS: Final = (
    ("the host of another namespace", "victim.test"),
    ("that host in upper case", "VICTIM.TEST"),
    ("that host with a dot", "victim.test."),
    ("that host with a port", "victim.test:80"),
    ("the wildcard of another namespace", "*.victim.test"),
    ("a wildcard above", "*.test"),
    ("a name that begins with a dot", ".victim.test"),
    ("a regular expression", "~^(.*\\.)?victim\\.test$"),
    ("all hosts", "*"),
    ("nginx's catch-all", "_"),
    ("an address", "127.0.0.1"),
)

_Place = Callable[[str, str], tuple[KubeObject, ...]]


def _host(name: str) -> str:
    return f"{name}.hostile.test"


def _serving(name: str) -> tuple[KubeObject, ...]:
    """A Service with an endpoint, both called *name*."""
    return (
        service(name, namespace=_NAMESPACE),
        endpoint_slice(name, "10.2.0.1", namespace=_NAMESPACE, name=f"{name}-1"),
    )


def _young(name: str, host: str, paths: tuple[HTTPIngressPath, ...]) -> Ingress:
    """An Ingress whose host need not be one."""
    return Ingress(
        metadata=ObjectMeta(name=name, namespace=_NAMESPACE, creation_timestamp=moment(9)),
        spec=IngressSpec(
            ingress_class_name="ingresskit",
            rules=(IngressRule(host=host, http=HTTPIngressRuleValue(paths=paths)),),
        ),
    )


def _to(name: str, text: str = "/", kind: str = "Prefix") -> HTTPIngressPath:
    return HTTPIngressPath(path=text, path_type=kind, backend=backend(name))


def _rule_host(name: str, text: str) -> tuple[KubeObject, ...]:
    return (_young(name, text, (_to(name),)), *_serving(name))


def _tls_host(name: str, text: str) -> tuple[KubeObject, ...]:
    return (
        ingress(name, {_host(name): {"/": name}}, namespace=_NAMESPACE, created=9, tls={f"tls-{name}": [text]}),
        tls_secret(_host(name), name=f"tls-{name}", namespace=_NAMESPACE),
        *_serving(name),
    )


def _path(kind: str, *, rooted: bool) -> _Place:
    def place(name: str, text: str) -> tuple[KubeObject, ...]:
        written = f"/{text}" if rooted else text
        return (_young(name, _host(name), (_to(name, written, kind),)), *_serving(name))

    return place


def _called(annotation: str, before: str) -> str:
    return f"the annotation {annotation}{before and f' after {before!r}'}"


def _annotated(annotation: str, before: str = "") -> _Place:
    def place(name: str, text: str) -> tuple[KubeObject, ...]:
        written = ingress(
            name,
            # A traffic split acts on the paths of the Services it names.
            {_host(name): {"/x": "one" if annotation == "traffic-split" else name}},
            namespace=_NAMESPACE,
            created=9,
            annotations={**COMPANIONS.get(annotation, {}), annotation: before + text},
        )
        return (written, *_serving(name), *_serving("one"), *_serving(CANARY))

    return place


def _annotation_name(name: str, text: str) -> tuple[KubeObject, ...]:
    annotations = {f"ingresskit.dev/{text}": "x", f"nginx.ingress.kubernetes.io/{text}": "x"}
    written = ingress(
        name, {_host(name): {"/": name}}, namespace=_NAMESPACE, created=9, annotations=annotations
    )
    return (written, *_serving(name))


def _service_name(name: str, text: str) -> tuple[KubeObject, ...]:
    odd = f"{name}{text}"
    return (ingress(name, {_host(name): {"/": odd}}, namespace=_NAMESPACE, created=9), *_serving(odd))


def _port_name(name: str, text: str) -> tuple[KubeObject, ...]:
    return (
        ingress(name, {_host(name): {"/": f"{name}:{text}"}}, namespace=_NAMESPACE, created=9),
        service(name, {text: 80}, namespace=_NAMESPACE),
        endpoint_slice(name, "10.2.0.1", ports={text: 8080}, namespace=_NAMESPACE),
    )


def _object_names(name: str, text: str) -> tuple[KubeObject, ...]:
    odd = f"{name}{text}"
    return (
        ingress(odd, {_host(name): {"/": name}}, namespace=_NAMESPACE, created=9, tls={odd: [_host(name)]}),
        tls_secret(_host(name), name=odd, namespace=_NAMESPACE),
        *_serving(name),
    )


def _namespace(name: str, text: str) -> tuple[KubeObject, ...]:
    odd = f"{name}{text}"
    return (
        ingress(name, {_host(name): {"/": name}}, namespace=odd, created=9),
        service(name, namespace=odd),
        endpoint_slice(name, "10.2.0.1", namespace=odd),
    )


def _address(name: str, text: str) -> tuple[KubeObject, ...]:
    return (
        ingress(name, {_host(name): {"/": name}}, namespace=_NAMESPACE, created=9),
        service(name, namespace=_NAMESPACE),
        endpoint_slice(name, "10.2.0.1", endpoint(text), f"10.2.0.1{text}", namespace=_NAMESPACE),
    )


def _zone(name: str, text: str) -> tuple[KubeObject, ...]:
    return (
        ingress(name, {_host(name): {"/": name}}, namespace=_NAMESPACE, created=9),
        service(name, namespace=_NAMESPACE, app_protocol=text),
        endpoint_slice(name, endpoint("10.2.0.1", zone=text), namespace=_NAMESPACE),
    )


def _external_name(name: str, text: str) -> tuple[KubeObject, ...]:
    return (
        ingress(name, {_host(name): {"/": name}}, namespace=_NAMESPACE, created=9),
        service(name, namespace=_NAMESPACE, external_name=text),
    )


def _secret_data(name: str, text: str) -> tuple[KubeObject, ...]:
    """Text around the blocks of a PEM file is a comment, and goes wherever the file goes."""
    made = make_certificate(_host(name))
    loud = text.encode("utf-8", "surrogatepass") + b"\n"
    secret = Secret(
        metadata=ObjectMeta(name=f"tls-{name}", namespace=_NAMESPACE, creation_timestamp=moment(9)),
        type="kubernetes.io/tls",
        data={"tls.crt": loud + made.chain + loud, "tls.key": loud + made.private_key + loud},
    )
    written = ingress(
        name,
        {_host(name): {"/": name}},
        namespace=_NAMESPACE,
        created=9,
        tls={f"tls-{name}": [_host(name)]},
    )
    return (written, secret, *_serving(name))


def _unknown_kind(name: str, text: str) -> tuple[KubeObject, ...]:
    """What is passed on in diagnostics only: class names, labels, JSON inside annotations."""
    labels = {"x": text, text[:60]: "x"}
    annotations = {"kubernetes.io/ingress.class": text, "example.com/json": json.dumps({"x": text})}
    return (
        ingress(
            name,
            {_host(name): {"/": name}},
            namespace=_NAMESPACE,
            created=9,
            ingress_class=text,
            labels=labels,
            annotations=annotations,
        ),
        *_serving(name),
    )


_FIELDS: Final[dict[str, _Place]] = {
    "the host of a rule": _rule_host,
    "the host of a rule, below a good one": lambda name, text: _rule_host(name, f"{text}.{_host(name)}"),
    "the host of a TLS entry": _tls_host,
    **{f"a path of type {kind}": _path(kind, rooted=True) for kind in _PREFIXES},
    "a path that need not begin with a slash": _path("ImplementationSpecific", rooted=False),
    "a path type": lambda name, text: (_young(name, _host(name), (_to(name, "/", text),)), *_serving(name)),
    **{
        _called(annotation, before): _annotated(annotation, before)
        for annotation, before in (
            ("request-headers-set", ""),
            ("request-headers-set", "X-Hostile: "),
            ("response-headers-set", "X-Hostile: "),
            ("request-headers-remove", ""),
            ("redirect", ""),
            ("redirect", "https://else.test/"),
            ("rewrite-prefix", "/"),
            ("traffic-split", "one=1, "),
            ("load-balancing", ""),
            ("read-timeout", "5s"),
            ("allow-sources", "10.0.0.0/8, "),
            ("deny-sources", "10.0.0.0/8, "),
            ("client-ca-secret", ""),
            ("upstream-tls-ca-secret", ""),
            ("upstream-tls-ca-config-map", ""),
            ("upstream-tls-client-secret", ""),
            ("upstream-tls-name", "web.test"),
            ("upstream-tls-ciphers", "ECDHE-RSA-AES128-GCM-SHA256:"),
            ("client-certificate-name", ""),
            ("client-certificate-error-page", "https://else.test/"),
            ("tls-ciphers", "ECDHE-RSA-AES128-GCM-SHA256:"),
            ("cors-origins", ""),
            ("cors-origins", "https://good.test, "),
            ("cors-methods", "GET, "),
            ("cors-headers", "X-Good, "),
            ("cors-expose-headers", "X-Good, "),
        )
    },
    "the name of an annotation": _annotation_name,
    "the name of a Service": _service_name,
    "the name of a port": _port_name,
    "the names of an Ingress and its Secret": _object_names,
    "a namespace": _namespace,
    "the address of an endpoint": _address,
    "the zone of an endpoint and the protocol of a port": _zone,
    "an external name": _external_name,
    "the text around a certificate and its key": _secret_data,
    "a class, a label and an annotation of others": _unknown_kind,
}
