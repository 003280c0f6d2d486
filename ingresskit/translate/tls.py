"""Which certificate answers for which TLS server name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import ANY_HOST, Certificate, HostRefused, host_candidates, rule_host
from ingresskit.models import ObjectKey, ObjectRef, Secret
from ingresskit.policies import Origin
from ingresskit.translate.certificates import CertificateTable, covers
from ingresskit.translate.claims import Claimant, TlsClaim
from ingresskit.translate.holders import Holders

__all__ = ["TlsPlane", "build_tls", "expiries"]

_MOST_NAMES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPlane:
    """The certificates of a graph.

    Attributes:
        hosts: Rule hosts with TLS settings of their own, whether or not their certificate is good.
        wildcards: Namespaces and the wildcards they have TLS settings for, whoever holds those.
    """

    certificates: dict[ObjectKey, Certificate] = field(default_factory=dict[ObjectKey, Certificate])
    server_names: dict[str, ObjectKey | None] = field(default_factory=dict[str, ObjectKey | None])
    default: ObjectKey | None = None
    hosts: frozenset[str] = frozenset()
    wildcards: frozenset[tuple[str, str]] = frozenset()
    diagnostics: tuple[Diagnostic, ...] = ()

    def has_tls(self, host: str, owner: str | None) -> bool:
        """Whether a rule host has TLS settings: its own, or those of the wildcard above it.

        Where hosts have owners, only its owner's wildcard counts. As in ingress-nginx.
        """
        _, dot, parent = host.partition(".")
        wildcard = f"*.{parent}" if dot else ""
        above = wildcard in self.hosts if owner is None else (owner, wildcard) in self.wildcards
        return host in self.hosts or above


def build_tls(
    claimants: Iterable[Claimant],
    holders: Holders,
    table: CertificateTable,
    default: ObjectKey | None,
) -> TlsPlane:
    """Decide server name by server name; the oldest Ingress that names one decides it.

    Args:
        claimants: Those that are ours, oldest first.
        holders: Who holds each host.
        table: The certificates.
        default: The Secret of the default certificate.
    """
    builder = _Builder(holders, table)
    if default is not None:
        builder.default(default)
    claimants = tuple(claimants)
    builder.protect_catch_all(claim for item in claimants for claim in item.tls)
    for item in claimants:
        for claim in item.tls:
            builder.claim(claim, promise=item.promise)
    ruled = _Ruled(claimants, holders)
    for item in claimants:
        # Rules of its own for any host, or none, take requests for whatever its certificates are for.
        if item.tls and ANY_HOST not in item.hosts and not item.catch_all:
            builder.judge_hosts(item, *ruled.by(item.namespace))
    builder.keep_strangers_out()
    names = builder.names
    used = {key for key in names.values() if key is not None} | {key for key in (builder.chosen,) if key}
    return TlsPlane(
        certificates={key: builder.usable[key] for key in sorted(used)},
        server_names={name: names[name] for name in sorted(names)},
        default=builder.chosen,
        hosts=frozenset(builder.hosts),
        wildcards=frozenset(builder.own_wildcards),
        diagnostics=tuple(builder.diagnostics),
    )


class _Ruled:
    """The hosts that rules name, as far as a namespace's certificates are served for them.

    Those that another namespace holds are not among them: what others claim changes nothing of what a
    namespace is told.
    """

    def __init__(self, claimants: Iterable[Claimant], holders: Holders) -> None:
        self._owned: dict[str | None, set[str]] = {}
        self._known: dict[str, tuple[Set[str], Set[str]]] = {}
        for item in claimants:
            for host in item.hosts:
                if host != ANY_HOST:
                    self._owned.setdefault(holders.owners.get(host), set()).add(host)

    def by(self, namespace: str) -> tuple[Set[str], Set[str]]:
        """The hosts of *namespace* and those without an owner, as where hosts are shared.

        Returns:
            The hosts, and the same less their first label.
        """
        known = self._known.get(namespace)
        if known is None:
            hosts = self._owned.get(namespace, set()) | self._owned.get(None, set())
            known = self._known[namespace] = hosts, {host.partition(".")[2] for host in hosts}
        return known


class _Builder:
    def __init__(self, holders: Holders, table: CertificateTable) -> None:
        self._holders = holders
        self._catch_all: dict[str, str] = {}
        self._table = table
        self._decided: dict[str, TlsClaim] = {}
        # What each namespace's own oldest claim on a wildcard comes to, whoever the wildcard went to.
        self.own_wildcards: dict[tuple[str, str], Certificate | None] = {}
        self.usable: dict[ObjectKey, Certificate] = {}
        self.names: dict[str, ObjectKey | None] = {}
        self.hosts: set[str] = set()
        self.chosen: ObjectKey | None = None
        self.diagnostics: list[Diagnostic] = []

    def default(self, key: ObjectKey) -> None:
        origin = Origin(ObjectRef(Secret.kind, key), "")
        certificate = self._certificate(key, origin, "the proxy's own certificate is served in its place")
        if certificate is not None:
            self.usable[key] = certificate
            self.chosen = key

    def judge_hosts(self, claimant: Claimant, ruled: Set[str], parents: Set[str]) -> None:
        """Report each host of its TLS entries that no rule names.

        Args:
            claimant: The object with the TLS entries.
            ruled: The hosts of rules that its namespace may serve.
            parents: Those, less their first label.
        """
        for claim in claimant.tls:
            for host in claim.hosts:
                if host in ruled or any(map(ruled.__contains__, host_candidates(host))):
                    continue
                if host.removeprefix("*.") in parents and host.startswith("*."):
                    continue
                bare = [name for name in claimant.hosts if name not in self._decided]
                message = f"no rule names the host {host}"
                if bare:
                    message += f"; the rules of this Ingress are for {_some(bare)}, without a certificate"
                self._tell(claim.names(host), Reason.TLS_HOST_WITHOUT_RULE, message, Severity.WARNING)

    def protect_catch_all(self, claims: Iterable[TlsClaim]) -> None:
        """Keep the names that the holder of the catch-all has certificates for, and nobody a rule, its own.

        Requests for such a name are served by its rules without a host: an older Ingress of another
        namespace that names it in ``spec.tls`` must not replace its certificate.
        """
        owner = self._holders.owners.get(ANY_HOST)
        if owner is None:
            return
        for claim in claims:
            if claim.origin.subject.key.namespace == owner:
                self._catch_all.update((host, owner) for host in claim.hosts)

    def claim(self, claim: TlsClaim, *, promise: str = "") -> None:
        namespace = claim.origin.subject.key.namespace
        if claim.secret is None:
            for host in claim.hosts:
                self._decide(host, claim, namespace, None)
            return
        effect = "the default certificate is served in its place"
        certificate = self._certificate(
            claim.secret, Origin(claim.origin.subject, f"{claim.origin.field}.secretName"), effect, promise
        )
        for host in claim.hosts or _own_names(certificate):
            if certificate is not None and not covers(certificate, host):
                self._mismatch(claim, host, certificate)
                self._decide(host, claim, namespace, None)
            elif self._decide(host, claim, namespace, certificate) and certificate is not None:
                self.usable[certificate.secret] = certificate

    def keep_strangers_out(self) -> None:
        """Where hosts have owners, a wildcard certificate answers for hosts of its own namespace only.

        And for those it does even if the wildcard itself went to another namespace: whoever claims
        ``*.shop.test`` takes no certificate away from somebody's ``www.shop.test``.
        """
        for host, owner in self._holders.owners.items():
            _, dot, parent = host.partition(".")
            wildcard = f"*.{parent}"
            if not dot or host in self.names:
                continue
            holder = self._decided.get(wildcard)
            if holder is not None and holder.origin.subject.key.namespace == owner:
                continue
            own = self.own_wildcards.get((owner, wildcard))
            if own is not None:
                self.names[host] = own.secret
                self.usable[own.secret] = own
            elif self.names.get(wildcard) is not None:
                self.names[host] = None

    def _decide(self, host: str, claim: TlsClaim, namespace: str, certificate: Certificate | None) -> bool:
        if host.startswith("*."):
            self.own_wildcards.setdefault((namespace, host), certificate)
        if why := self._holders.why_not(namespace, host):
            message = (
                f"namespace {namespace} may not claim host {host}: {why}; this certificate is not served for it"
            )
            self._tell(claim.origin, Reason.HOST_NOT_ALLOWED, message)
            return False
        owner = self._holders.owner(host) or self._catch_all.get(host)
        if owner is not None and owner != namespace:
            message = f"host {host} is owned by namespace {owner}; this certificate is not served for it"
            self._tell(claim.origin, Reason.CERTIFICATE_CONFLICT, message)
            return False
        key = certificate.secret if certificate is not None else None
        if (winner := self._decided.get(host)) is not None:
            if winner.secret != claim.secret:
                named = f"Secret {winner.secret}" if winner.secret else "the default certificate"
                own = winner.origin.subject == claim.origin.subject
                first = winner.origin.field if own else winner.origin.subject
                message = f"{host} is served with {named}, which {first} names first"
                self._tell(claim.origin, Reason.CERTIFICATE_CONFLICT, message, related=(winner.origin.subject,))
            return False
        self._decided[host] = claim
        self.names[host] = key
        self.hosts.add(host)
        return True

    def _certificate(
        self, key: ObjectKey, origin: Origin, effect: str, promise: str = ""
    ) -> Certificate | None:
        parsed = self._table.get(key)
        secret = ObjectRef(Secret.kind, key)
        if parsed is None:
            if "/" in key.name:
                message = f"{key.name!r} is no name of a Secret: no namespace can be named, Secrets are of"
                self._tell(
                    origin, Reason.SECRET_NOT_FOUND, f"{message} the Ingress's own, {key.namespace}; {effect}"
                )
                return None
            if promise:
                message = (
                    f"Secret {key} does not exist yet; {promise} is expected to create it; until then {effect}"
                )
                self._tell(origin, Reason.SECRET_NOT_FOUND, message, Severity.WARNING, related=(secret,))
                return None
            message = f"Secret {key} does not exist; {effect}"
            self._tell(origin, Reason.SECRET_NOT_FOUND, message, related=(secret,))
            return None
        if parsed.fault:
            kept = "its last good certificate is still served" if parsed.certificate else effect
            message = f"Secret {key} {parsed.fault}; {kept}"
            self._tell(origin, Reason.CERTIFICATE_INVALID, message, related=(secret,))
        return parsed.certificate

    def _mismatch(self, claim: TlsClaim, host: str, certificate: Certificate) -> None:
        names = ", ".join(certificate.names[:5]) or "no DNS name"
        effect = "the default certificate is served for it"
        message = f"the certificate of {certificate.secret} is for {names}, not for {host}; {effect}"
        related = (ObjectRef(Secret.kind, certificate.secret),)
        self._tell(claim.origin, Reason.CERTIFICATE_HOST_MISMATCH, message, related=related)

    def _tell(
        self,
        origin: Origin,
        reason: Reason,
        message: str,
        severity: Severity = Severity.ERROR,
        related: tuple[ObjectRef, ...] = (),
    ) -> None:
        self.diagnostics.append(
            Diagnostic(
                subject=origin.subject,
                field=origin.field,
                reason=reason,
                message=message,
                severity=severity,
                related=related,
            )
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else shown


def expiries(certificates: Iterable[Certificate], now: datetime) -> Iterable[Diagnostic]:
    """A warning for each certificate that is not valid at *now*.

    Such a certificate is served all the same: the client decides, and the default one would fit no better.
    """
    for certificate in certificates:
        if certificate.not_after <= now:
            what = f"expired at {certificate.not_after:%Y-%m-%dT%H:%M:%SZ}"
        elif certificate.not_before > now:
            what = f"is not valid before {certificate.not_before:%Y-%m-%dT%H:%M:%SZ}"
        else:
            continue
        yield Diagnostic(
            subject=ObjectRef(Secret.kind, certificate.secret),
            field="data[tls.crt]",
            reason=Reason.CERTIFICATE_EXPIRED,
            message=f"the certificate {what}; it is served all the same",
            severity=Severity.WARNING,
        )


def _own_names(certificate: Certificate | None) -> tuple[str, ...]:
    """The names of a certificate that an Ingress without host names wants served for what it is for."""
    names: list[str] = []
    for name in certificate.names if certificate is not None else ():
        try:
            names.append(rule_host(name))
        except HostRefused:
            continue
    return tuple(names)
