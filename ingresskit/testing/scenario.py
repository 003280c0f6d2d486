"""A scenario: objects of a cluster, requests, and the answers that are right.

One scenario is true of the route graph, of every renderer and of every proxy alike, so it says
nothing about how any of them works.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ingresskit.diagnostics import Diagnostic
from ingresskit.graph import BackendKey, RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.render import Renderer, Support
from ingresskit.render.base import ArtifactT
from ingresskit.render.delegate import DelegatingRenderer
from ingresskit.translate import TranslateOptions, Translation, translate

__all__ = ["Answer", "Ask", "Scenario", "Want", "diagnostic_line", "endpoint_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request.

    Attributes:
        host: The ``Host`` field; may have a port.
        path: The target as it goes on the wire, query included.
        tls: Whether it is sent over TLS.
        server_name: The TLS server name; ``None`` sends none. Means nothing without *tls*.
        method: Its method.
        headers: Further fields.
        size: Octets of its body.
        chunked: The body does not say its size before it is sent.
        client: The common name of the certificate that the client shows, issued by `make_authority`; ``None``:
            it shows none.
        ciphers: The ciphers of TLS 1.2 that the client offers, and no newer version; empty: its own choice.
    """

    host: str
    path: str = "/"
    tls: bool = False
    server_name: str | None = None
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    size: int = 0
    chunked: bool = False
    client: str | None = None
    ciphers: str = ""

    def __str__(self) -> str:
        """``GET http://shop.test/cart``."""
        return f"{self.method} {'https' if self.tls else 'http'}://{self.host}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a request. What a way of asking cannot know is ``None`` and is not judged.

    Attributes:
        status: The status; 200 when an endpoint answered.
        services: The Services that may answer, ``"namespace/name"``: one, unless a graph was asked.
        endpoints: The same of the endpoints: ``"10.0.0.1:8080"``, ``"[2001:db8::1]:8080"``.
        location: The ``Location`` field.
        certificate: The Secret whose certificate was shown, ``"namespace/name"``; empty: another one.
        forwarded: The target that the endpoint saw.
        request_headers: The fields that the endpoint saw, names in lower case.
        response_headers: The fields that the client saw, names in lower case.
        size: Octets of the body that the endpoint saw.
        copies: The Services that saw the request beside the one that answered.
    """

    status: int
    services: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()
    location: str | None = None
    certificate: str | None = None
    forwarded: str | None = None
    request_headers: Mapping[str, str] | None = None
    response_headers: Mapping[str, str] | None = None
    size: int | None = None
    copies: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A request and its right answer; what is ``None`` or empty may be anything.

    Attributes:
        ask: The request.
        times: How often to send it. What is wanted of *services* and *endpoints* is wanted of all the
            answers together.
        keeps_cookies: The client sends the cookies that it got before; else each request is another client's.
        together: All are sent at once.
        status: The status.
        statuses: The answers together have exactly these, in place of *status*; empty: *status* counts.
        sticks: One endpoint answers all of them.
        services: Exactly these Services answer, ``"namespace/name"``.
        endpoints: Exactly these endpoints answer.
        location: The ``Location`` field.
        certificate: The Secret whose certificate is shown; empty: none of a Secret.
        forwarded: The target the endpoint sees.
        request_headers: Fields the endpoint sees, names in lower case; ``None``: it does not see it.
        response_headers: The same of the client.
        has: Patterns that fields of the client match, names in lower case.
        sees: The same of the endpoint.
        size: Octets of the body that the endpoint sees.
        copies: The Services that see the request too.
    """

    ask: Ask
    times: int = 1
    keeps_cookies: bool = False
    together: bool = False
    status: int = 200
    statuses: frozenset[int] = frozenset()
    sticks: bool = False
    services: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()
    location: str | None = None
    certificate: str | None = None
    forwarded: str | None = None
    request_headers: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    response_headers: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    has: Mapping[str, str] = field(default_factory=dict[str, str])
    sees: Mapping[str, str] = field(default_factory=dict[str, str])
    size: int | None = None
    copies: frozenset[str] = frozenset()

    def faults(self, answers: Iterable[Answer]) -> tuple[str, ...]:
        """What is wrong with *answers*, each as a sentence; empty when they are right."""
        seen = tuple(answers)
        faults: dict[str, None] = {}
        if self.statuses and (statuses := frozenset(answer.status for answer in seen)) != self.statuses:
            faults[f"the statuses are {sorted(statuses)}, not {sorted(self.statuses)}"] = None
        if self.sticks and len(found_at := frozenset[str]().union(*(item.endpoints for item in seen))) > 1:
            faults[f"the endpoints {_set_text(found_at)} answered, not one"] = None
        for answer in seen:
            faults.update(dict.fromkeys(self._faults_of(answer)))
        for what, wanted, found in (
            ("Services", self.services, [answer.services for answer in seen]),
            ("endpoints", self.endpoints, [answer.endpoints for answer in seen]),
        ):
            together = frozenset[str]().union(*found)
            if wanted and together != wanted and not faults:
                faults[f"the {what} {_set_text(together)} answered, not {_set_text(wanted)}"] = None
        return tuple(f"{self.ask}: {fault}" for fault in faults)

    def _faults_of(self, answer: Answer) -> Iterable[str]:
        if self.statuses:
            return
        if answer.status != self.status:
            by = f" (by {_set_text(answer.services)})" if answer.services else ""
            yield f"the status is {answer.status}{by}, not {self.status}"
            return
        for what, wanted, found in (
            ("Location", self.location, answer.location),
            ("certificate", self.certificate, answer.certificate),
            ("forwarded target", self.forwarded, answer.forwarded),
        ):
            if wanted is not None and found is not None and found != wanted:
                yield f"the {what} is {found!r}, not {wanted!r}"
        for side, fields_wanted, fields_found in (
            ("endpoint", self.request_headers, answer.request_headers),
            ("client", self.response_headers, answer.response_headers),
        ):
            for name, value in fields_wanted.items():
                if fields_found is not None and fields_found.get(name) != value:
                    yield f"the {side} sees {name}: {fields_found.get(name)!r}, not {value!r}"
        for who, patterns, fields in (
            ("client", self.has, answer.response_headers),
            ("endpoint", self.sees, answer.request_headers),
        ):
            for name, pattern in patterns.items():
                value = None if fields is None else fields.get(name, "")
                if value is not None and not re.search(pattern, value):
                    yield f"the {who} sees {name}: {value!r}, which {pattern!r} does not match"
        if self.size is not None and answer.size not in (None, self.size):
            yield f"the endpoint sees {answer.size} octets, not {self.size}"
        if answer.services and not self.copies <= answer.copies:
            yield f"the Services {_set_text(answer.copies)} see a copy, not {_set_text(self.copies)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Objects, requests and right answers.

    Attributes:
        feature: What it belongs to: the name of the file it was read from.
        name: What it shows, as a claim; unique within the feature.
        source: Where the claim comes from; may be empty.
        objects: What the cluster holds.
        options: How to translate.
        now: To judge the validity of certificates; ``None`` judges none.
        wants: The requests, in order; they do not depend on each other.
        endpoints: For some backends, exactly the endpoints they have, in order.
        diagnostics: Exactly what is reported, each as `diagnostic_line`; sorted.
        shows: For each annotation that it is about, without prefix, what it shows of it: ``positive``,
            ``negative``, ``interaction``.
    """

    feature: str
    name: str
    source: str = ""
    objects: tuple[KubeObject, ...] = ()
    options: TranslateOptions = field(default_factory=TranslateOptions)
    now: datetime | None = None
    wants: tuple[Want, ...] = ()
    endpoints: Mapping[BackendKey, tuple[str, ...]] = field(default_factory=dict[BackendKey, tuple[str, ...]])
    diagnostics: tuple[str, ...] = ()
    shows: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def __str__(self) -> str:
        """``path-types: Exact does not take another case``."""
        return f"{self.feature}: {self.name}"

    def snapshot(self) -> Snapshot:
        """What the cluster holds, as a snapshot."""
        return Snapshot.of(self.objects, revision=1)

    def translate(self) -> Translation:
        """The route graph of the scenario and what is wrong in it."""
        return translate(self.snapshot(), self.options, now=self.now)

    def translation_faults(self, translation: Translation) -> tuple[str, ...]:
        """What is wrong with its endpoints and diagnostics, each as a sentence; empty when all is right."""
        faults: list[str] = []
        reported = sorted(map(diagnostic_line, translation.diagnostics))
        faults += [f"not reported: {line}" for line in self.diagnostics if line not in reported]
        faults += [f"reported: {line}" for line in reported if line not in self.diagnostics]
        for key, wanted in self.endpoints.items():
            backend = translation.graph.backends.get(key)
            found = (
                tuple(endpoint_text(item.address, item.port) for item in backend.endpoints) if backend else ()
            )
            if found != wanted:
                faults.append(f"the endpoints of {key} are {', '.join(found)}, not {', '.join(wanted)}")
        return tuple(faults)

    def missing(self, renderer: Renderer[ArtifactT], graph: RouteGraph | None = None) -> tuple[str, ...]:
        """What the scenario needs and *renderer* cannot do: names of policies and protocols, sorted.

        What a renderer leaves to a delegate, it can do with one only.

        A proxy behind such a renderer is not asked this scenario; say so where the result is shown.
        """
        graph = graph or self.translate().graph
        policies = {
            type(policy).__name__
            for host in graph.virtual_hosts
            for route in host.routes
            for policy in route.policies
            if type(policy) not in renderer.supports
        }
        policies |= {
            type(policy).__name__
            for backend in graph.backends.values()
            for policy in backend.policies
            if type(policy) not in renderer.supports
        }
        held = [host.policies_of(route) for host in graph.virtual_hosts for route in host.routes]
        held += (backend.policies for backend in graph.backends.values())
        judged = map(renderer.handlers.judge, () if isinstance(renderer, DelegatingRenderer) else held)
        policies |= {
            kind.__name__
            for judgement in judged
            for kind, loss in judgement.losses
            if loss.support is Support.DELEGATED and not loss.field
        }
        protocols = {
            str(item.protocol) for item in graph.backends.values() if item.protocol not in renderer.protocols
        }
        return tuple(sorted(policies | protocols))


def diagnostic_line(diagnostic: Diagnostic) -> str:
    """A diagnostic without its message: ``"RouteConflict Ingress shop/late spec.rules[0].http.paths[0]"``."""
    return f"{diagnostic.reason} {diagnostic.subject} {diagnostic.field}".rstrip()


def endpoint_text(address: str, port: int) -> str:
    """An endpoint as text: ``10.0.0.1:8080``, ``[2001:db8::1]:8080``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _set_text(items: frozenset[str]) -> str:
    return ", ".join(sorted(items)) or "none"
