"""Reads one Ingress in isolation: its claims and its own faults.

Everything here depends on one Ingress (and the classes) only, so that its result can be kept for
as long as that Ingress does not change, and so that a bad Ingress can cost nobody but itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from sys import intern

from ingresskit._quoting import quoted
from ingresskit.diagnostics import Diagnostic, Reason, Severity, printable
from ingresskit.graph import (
    ANY_HOST,
    DEFAULT_PATHS,
    HostRefused,
    PathMatch,
    PathOptions,
    PathRefused,
    Unserved,
    normalise_path,
    rule_host,
)
from ingresskit.models import (
    HTTPIngressPath,
    Ingress,
    IngressBackend,
    IngressRule,
    ObjectKey,
    age_order,
)
from ingresskit.policies import (
    ForeignAnnotations,
    Objects,
    Origin,
    PolicyRegistry,
    PolicySet,
    Reading,
    RulePath,
    TrafficSplit,
    UpstreamProtocol,
    no_objects,
)
from ingresskit.translate.claims import BackendFault, Claim, Claimant, ServiceRef, TlsClaim
from ingresskit.translate.ingress.aliases import alias_claims, alias_hosts
from ingresskit.translate.ingress.external_auth import external_auth_faults
from ingresskit.translate.ingress.notations import (
    host_advice,
    path_advice,
    path_doubt,
    served_otherwise,
)
from ingresskit.translate.ingress.promises import promise_of
from ingresskit.translate.ingress.twins import Twins
from ingresskit.translate.pattern_hosts import pattern_match

__all__ = ["not_ours", "read_ingress", "rule_paths"]

CLASS_NOT_OURS = "ClassNotOurs"

# nginx reads at most 4,096 bytes as one token and HAProxy's map rows have a like bound: a longer
# path would be a fault of the whole configuration there. One limit for all, so that a path which
# one renderer serves is served by every renderer.
MAX_RULE_PATH_BYTES = 3000
# Of a path, in a message.
_MOST_SHOWN = 200
_ALB_PORT = "use-annotation"
_FORBIDDEN_IN_PATH = ("//", "/./", "/../", "%2f", "%2F")


def not_ours(
    ingress: Ingress,
    why: str,
    diagnostics: tuple[Diagnostic, ...],
    undecided: frozenset[tuple[str, str]] = frozenset(),
) -> Claimant:
    """The claimant of an Ingress that is not ours: nothing but a note per host for `explain`."""
    hosts = {rule.host or ANY_HOST: index for index, rule in reversed(list(enumerate(ingress.spec.rules)))}
    unserved = tuple(
        Unserved(
            origin=Origin(ingress.ref, f"spec.rules[{index}].host"),
            host=host,
            reason=CLASS_NOT_OURS,
            message=f"the Ingress is not ours: {why}",
        )
        for host, index in sorted(hosts.items(), key=lambda item: item[1])
    )
    return Claimant(
        ref=ingress.ref,
        age=age_order(ingress),
        not_ours=why,
        diagnostics=diagnostics,
        unserved=unserved,
        undecided=undecided,
    )


def rule_paths(ingress: Ingress) -> tuple[RulePath, ...]:
    """The paths of its rules, as written."""
    return tuple(
        RulePath(path.path_type or "", path.path or "")
        for rule in ingress.spec.rules
        for path in (rule.http.paths if rule.http else ())
    )


def read_ingress(
    ingress: Ingress,
    registry: PolicyRegistry,
    foreign: ForeignAnnotations | None = None,
    *,
    host_fallthrough: bool = False,
    paths: PathOptions = DEFAULT_PATHS,
    objects: Objects = no_objects,
) -> Claimant:
    """What *ingress*, which is ours, claims.

    Args:
        ingress: The Ingress.
        registry: Which annotations are understood.
        foreign: Judges those that are not; ``None``: nothing is said of them.
        host_fallthrough: Rules without a host take what those with one leave: see `TranslateOptions`.
        paths: How paths are brought into normal form.
        objects: Finds what annotations name.
    """
    annotations = ingress.metadata.annotations
    policies = registry.read(annotations, ingress.ref, objects, paths=rule_paths(ingress))
    reader = _Reader(ingress, host_fallthrough=host_fallthrough, paths=paths, reading=policies)
    canary = policies.variant is not None
    if annotations and foreign is not None:
        policies = policies.and_also(foreign.judge(annotations, ingress.ref))
        canary = canary or foreign.is_canary(annotations)
    if policies.variant is not None:
        reader.judge_variant(policies.policies)
    paths_claimed = tuple(reader.claims())
    if policies.aliases:
        aliases, faults = alias_hosts(ingress.ref, policies.aliases, reader.hosts)
        reader.diagnostics += faults
        paths_claimed = (*paths_claimed, *alias_claims(paths_claimed, aliases))
        if reader.hosts:
            reader.hosts.update(dict.fromkeys(aliases, Origin(ingress.ref, "metadata.annotations")))
    claims = (*paths_claimed, *reader.fallbacks())
    reader.judge_split(policies.policies, claims)
    reader.diagnostics += external_auth_faults(ingress.ref, policies.policies, claims)
    tls = tuple(reader.tls())
    twins = Twins(ingress.ref, policies, reader.hosts)
    if twins.by_host:
        reader.hosts.update(twins.places)
        claims = (*claims, *twins.claims())
        tls = tuple(replace(claim, twins=twins.of(claim.hosts)) for claim in tls)
    return Claimant(
        ref=ingress.ref,
        age=age_order(ingress),
        hosts=reader.hosts,
        claims=claims,
        catch_all=claims[0] if claims and not ingress.spec.rules else None,
        tls=tls,
        promise=promise_of(annotations),
        policies=policies,
        canary=canary,
        diagnostics=(*reader.diagnostics, *policies.diagnostics, *twins.diagnostics),
        unserved=tuple(reader.unserved),
    )


class _Reader:
    """Walks one Ingress and gathers what is wrong on the way."""

    def __init__(
        self, ingress: Ingress, *, host_fallthrough: bool, paths: PathOptions, reading: Reading
    ) -> None:
        self.ingress = ingress
        self._host_fallthrough = host_fallthrough
        self._paths = paths
        self._regex_paths = reading.regex_paths
        asked = reading.policies.get(UpstreamProtocol)
        self._protocol = "" if asked is None else str(asked.protocol)
        self.hosts: dict[str, Origin] = {}
        self.diagnostics: list[Diagnostic] = []
        self.unserved: list[Unserved] = []

    def claims(self) -> Iterator[Claim]:
        spec = self.ingress.spec
        if spec.backend is not None and spec.default_backend is None:
            self._fault(
                "spec.backend",
                Reason.INVALID_BACKEND,
                "it is v1beta1's name; v1 calls it spec.defaultBackend: it is not served",
            )
        if not spec.rules and spec.default_backend is None:
            self._fault(
                "spec", Reason.EMPTY_INGRESS, "it has neither rules nor a default backend; nothing is served"
            )
        for number, rule in enumerate(spec.rules):
            place = f"spec.rules[{number}]"
            try:
                host = rule_host(rule.host)
            except HostRefused as exc:
                advice = host_advice(rule.host or "")
                message = f"the host {quoted(rule.host or '')} {exc}; its paths are not served{advice}"
                self._refuse(f"{place}.host", Reason.INVALID_HOST, message, host=rule.host or "")
                continue
            self.hosts.setdefault(host, Origin(self.ingress.ref, f"{place}.host" if rule.host else place))
            self._judge_rule(rule, place)
            for index, path in enumerate(rule.http.paths if rule.http else ()):
                claim = self._claim(host, path, f"{place}.http.paths[{index}]")
                if claim is not None:
                    yield claim

    def judge_variant(self, policies: PolicySet) -> None:
        """Report the policies of a canary: its requests have those of its main path."""
        for policy in policies:
            kind = type(policy)
            message = f"a canary has the policies of its main path; {kind.__name__} of this Ingress is ignored"
            # What holds by default was not asked for.
            for place in sorted({origin.field for origin in policies.origins(kind).values()}):
                self._fault(place, Reason.ANNOTATION_IGNORED, message, Severity.WARNING)

    def judge_split(self, policies: PolicySet, claims: Sequence[Claim]) -> None:
        """Report a split none of whose Services is the backend of a path: it acts on those paths only."""
        split = policies.get(TrafficSplit)
        if split is None or not claims:
            return
        names = {name for name, _ in split.shares}
        if any(
            isinstance(claim.backend, ServiceRef) and claim.backend.service.name in names for claim in claims
        ):
            return
        origin = policies.origin(TrafficSplit, "shares")
        message = "none of its Services is the backend of a path of this Ingress, so that nothing is shared"
        self._fault(origin.field if origin else "", Reason.ANNOTATION_IGNORED, message, Severity.WARNING)

    def _judge_rule(self, rule: IngressRule, place: str) -> None:
        """What a rule takes that its author can hardly want, and a rule that takes nothing."""
        spec = self.ingress.spec
        if rule.host == "":
            message = (
                "its host is empty, as if a template had no value for it: it takes requests for every host that"
                " no rule names; leave the field out if that is meant"
            )
            self._fault(f"{place}.host", Reason.RULE_WITHOUT_HOST, message, Severity.WARNING)
        elif not rule.host and not self._host_fallthrough and any(other.host for other in spec.rules):
            message = (
                "it has no host, while other rules of this Ingress have one: it takes no request for their"
                " hosts, and those for every host that no rule names"
            )
            self._fault(place, Reason.RULE_WITHOUT_HOST, message, Severity.WARNING)
        if not (rule.http and rule.http.paths) and spec.default_backend is None:
            which = f"the host {quoted(rule.host)}" if rule.host else "it"
            message = (
                f"{which} has no paths, and the Ingress no default backend: nothing is served by this rule"
            )
            self._fault(place, Reason.RULE_WITHOUT_PATHS, message, Severity.WARNING)

    def fallbacks(self) -> Iterator[Claim]:
        spec = self.ingress.spec
        if spec.default_backend is None:
            return
        origin = Origin(self.ingress.ref, "spec.defaultBackend")
        backend = self._backend(spec.default_backend, "spec.defaultBackend")
        # With rules whose hosts are all invalid it serves nothing: it must not become a catch-all.
        for host in self.hosts if spec.rules else (ANY_HOST,):
            yield Claim(host=host, match=PathMatch.prefix("/"), backend=backend, origin=origin, fallback=True)

    def tls(self) -> Iterator[TlsClaim]:
        for number, entry in enumerate(self.ingress.spec.tls):
            place = f"spec.tls[{number}]"
            hosts: dict[str, str] = {}
            for index, text in enumerate(entry.hosts):
                try:
                    host = rule_host(text)
                except HostRefused as exc:
                    advice = host_advice(text)
                    message = f"the host {quoted(text)} {exc}; no certificate is served for it{advice}"
                    self._fault(f"{place}.hosts[{index}]", Reason.INVALID_HOST, message)
                    continue
                if host != ANY_HOST:
                    # Thousands of Ingresses have the same few places.
                    hosts.setdefault(host, intern(f"{place}.hosts[{index}]"))
            if entry.hosts and not hosts:
                continue
            if not entry.hosts:
                hosts = {host: place for host in self.hosts if host != ANY_HOST}
            secret = (
                ObjectKey(self.ingress.metadata.namespace, entry.secret_name) if entry.secret_name else None
            )
            yield TlsClaim(
                hosts=tuple(hosts),
                fields=tuple(hosts.values()),
                secret=secret,
                origin=Origin(self.ingress.ref, place),
            )

    def _claim(self, host: str, path: HTTPIngressPath, place: str) -> Claim | None:
        read = self._match(host, path, place)
        if read is None:
            return None
        match, doubt = read
        backend = self._backend(path.backend, f"{place}.backend")
        written = ""
        if self._regex_paths or (path.path_type, path.path) != (match.kind, match.value):
            written = printable(f"{path.path_type} {path.path or '/'}", _MOST_SHOWN)
        return Claim(
            host=host,
            match=match,
            backend=backend,
            origin=Origin(self.ingress.ref, place),
            written=written,
            pattern=path.path or "/",
            doubt=doubt,
        )

    def _match(
        self, host: str, path: HTTPIngressPath, place: str
    ) -> tuple[PathMatch, Diagnostic | None] | None:
        """How the path is matched, and what is doubtful about that; ``None``, and reported: not at all."""
        text, kind = path.path or "", path.path_type
        if kind not in ("Exact", "Prefix", "ImplementationSpecific"):
            said = (
                "is missing"
                if kind is None
                else f"{quoted(kind)} is not Exact, Prefix or ImplementationSpecific"
            )
            message = f"the path type {said}; the path is not served"
            self._refuse(f"{place}.pathType", Reason.INVALID_PATH_TYPE, message, host=host, path=text)
            return None
        specific = kind == "ImplementationSpecific"
        try:
            if self._regex_paths:
                return pattern_match(text or "/"), None
            if not specific:
                _check_as_the_api_does(text)
            normal = normalise_path(text or "/" if specific else text, self._paths)
            if kind != "Exact" and normal.endswith("//"):
                # A trailing slash of a Prefix means nothing, and without one this would be another path.
                raise PathRefused("ends with an empty element")
            if len(normal) > MAX_RULE_PATH_BYTES:
                raise PathRefused(f"is longer than {MAX_RULE_PATH_BYTES} bytes")
        except PathRefused as exc:
            message = f"the path {quoted(text)} {exc}; it is not served{path_advice(text)}"
            self._refuse(f"{place}.path", Reason.INVALID_PATH, message, host=host, path=f"{kind} {text}")
            return None
        match = PathMatch.exact(normal) if kind == "Exact" else PathMatch.prefix(normal)
        if (doubt := path_doubt(text, kind) or served_otherwise(text, normal)) is None:
            return match, None
        message = f"the path {quoted(text)} {doubt.message}"
        return match, self._diagnostic(f"{place}.path", doubt.reason, message, Severity.WARNING)

    def _backend(self, backend: IngressBackend, place: str) -> ServiceRef | BackendFault:
        service = backend.service
        if service is not None and backend.resource is None:
            port: str | int | None = service.port.name or service.port.number
            if service.port.name == _ALB_PORT:
                what = f"is {_ALB_PORT!r}, which the AWS Load Balancer Controller replaces by an annotation"
                return self._backend_fault(f"{place}.service.port.name", what)
            if service.port.name and service.port.number:
                return self._backend_fault(f"{place}.service.port", "has both a name and a number")
            if not service.name:
                return self._backend_fault(f"{place}.service.name", "is empty")
            if not port:
                return self._backend_fault(f"{place}.service.port", "has neither a name nor a number")
            return ServiceRef(
                service=ObjectKey(self.ingress.metadata.namespace, service.name),
                port=port,
                protocol=self._protocol,
            )
        if backend.resource is not None and service is None:
            message = f"a {quoted(backend.resource.kind)} cannot be a backend here, only a Service can"
            self._fault(f"{place}.resource", Reason.RESOURCE_BACKEND, f"{message}; the route responds 503")
            return BackendFault(reason=Reason.RESOURCE_BACKEND, message=message)
        if service is not None:
            return self._backend_fault(place, "has both a service and a resource")
        if backend.service_name is not None or backend.service_port is not None:
            what = (
                "has serviceName and servicePort, which v1 does not know: write service.name and service.port"
            )
            return self._backend_fault(place, what)
        return self._backend_fault(place, "has neither a service nor a resource")

    def _backend_fault(self, place: str, what: str) -> BackendFault:
        self._fault(place, Reason.INVALID_BACKEND, f"it {what}; the route responds 503")
        return BackendFault(reason=Reason.INVALID_BACKEND, message=f"{place} {what}")

    def _fault(self, place: str, reason: Reason, message: str, severity: Severity = Severity.ERROR) -> None:
        self.diagnostics.append(self._diagnostic(place, reason, message, severity))

    def _diagnostic(self, place: str, reason: Reason, message: str, severity: Severity) -> Diagnostic:
        return Diagnostic(
            subject=self.ingress.ref, field=place, reason=reason, message=message, severity=severity
        )

    def _refuse(self, place: str, reason: Reason, message: str, *, host: str, path: str = "") -> None:
        self._fault(place, reason, message)
        self.unserved.append(
            Unserved(
                origin=Origin(self.ingress.ref, place), host=host, path=path, reason=reason, message=message
            )
        )


def _check_as_the_api_does(path: str) -> None:
    """The rules for Exact and Prefix that newer API servers enforce and older objects may break.

    Source: Kubernetes ``validateIngressBackend``/``validateHTTPIngressPath``: invalid path sequences.
    """
    if not path.startswith("/"):
        return  # which is worse, and is said below
    for sequence in _FORBIDDEN_IN_PATH:
        if sequence in path:
            raise PathRefused(f"has {sequence!r}, which only ImplementationSpecific paths may have")
    if path.endswith(("/.", "/..")):
        raise PathRefused("ends in a dot element, which only ImplementationSpecific paths may")
