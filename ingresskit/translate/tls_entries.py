"""The TLS claims of all claimants, found by server name and by Secret."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from typing import NamedTuple

from ingresskit._ledger import Ledger
from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Certificate, HostRefused, rule_host, wildcard_above
from ingresskit.models import ObjectKey, ObjectRef, Secret
from ingresskit.policies import Origin
from ingresskit.translate.certificates import CertificateTable, covers
from ingresskit.translate.claim_index import ClaimIndex
from ingresskit.translate.claims import Age, Claimant, TlsClaim

__all__ = ["TlsEntries", "TlsEntry", "look_up", "tls_fault"]

_EFFECT = "the default certificate is served in its place"
_NONE: Collection[str] = frozenset()


class TlsEntry(NamedTuple):
    """A TLS claim on one server name, and its place among those on the same name.

    Attributes:
        written: The claim names it; else it is a name of the certificate.
    """

    place: tuple[tuple[bool, Age, str], int]
    claimant: Claimant
    claim: TlsClaim
    written: bool


class TlsEntries:
    """The TLS claims on each server name.

    Args:
        index: The claims of the snapshot at hand.
        certificates: The certificates; a claim without hosts is for the names of its own.
        notes: Gets the faults of Secrets.

    Attributes:
        by_name: For each name that is claimed, the claims on it, oldest first.
    """

    def __init__(
        self, index: ClaimIndex, certificates: CertificateTable, notes: Ledger[ObjectRef, Diagnostic]
    ) -> None:
        self._index = index
        self._certificates = certificates
        self._notes = notes
        self.by_name: dict[str, tuple[TlsEntry, ...]] = {}
        self._claims: dict[ObjectRef, tuple[tuple[TlsClaim, tuple[str, ...]], ...]] = {}
        self._below: dict[str, set[str]] = {}
        self._by_secret: dict[ObjectKey, set[ObjectRef]] = {}

    def naming(self, secret: ObjectKey) -> Collection[ObjectRef]:
        """The claimants that name a Secret."""
        return self._by_secret.get(secret, ())

    def below(self, wildcard: str) -> Collection[str]:
        """The claimed names directly below a wildcard, in no order."""
        return self._below.get(wildcard, _NONE)

    def concerned(self, touched: Set[str]) -> set[ObjectRef]:
        """The claimants with a certificate for one of these hosts, or above or below it."""
        names = set(touched)
        for host in touched:
            names.add(wildcard_above(host))
            names.update(self._below.get(host, ()))
        return {item.claimant.ref for name in names for item in self.by_name.get(name, ()) if item.written}

    def read(self, refs: Set[ObjectRef]) -> set[str]:
        """Take in the TLS claims of these claimants; the names that they had and have now."""
        removed: dict[str, set[ObjectRef]] = {}
        added: dict[str, list[TlsEntry]] = {}
        for ref in refs:
            for claim, names in self._claims.pop(ref, ()):
                if claim.secret is not None and ref in (users := self._by_secret.get(claim.secret, set())):
                    users.discard(ref)
                    if not users:
                        del self._by_secret[claim.secret]
                for name in names:
                    removed.setdefault(name, set()).add(ref)
            resolved = self._index.by_claimant.get(ref)
            if resolved is None or not resolved.claimant.tls:
                self._notes.put(("tls", ref))
                continue
            claimant = resolved.claimant
            faults: list[Diagnostic] = []
            found: list[tuple[TlsClaim, tuple[str, ...]]] = []
            for number, claim in enumerate(claimant.tls):
                names = claim.hosts
                if claim.secret is not None:
                    self._by_secret.setdefault(claim.secret, set()).add(ref)
                    origin = Origin(claim.origin.subject, f"{claim.origin.field}.secretName")
                    certificate = look_up(
                        self._certificates, claim.secret, origin, _EFFECT, claimant.promise, faults
                    )
                    names = names or _own_names(certificate)
                    if claim.twins and certificate is not None:
                        names = (*names, *(twin for twin in claim.twins if covers(certificate, twin)))
                found.append((claim, names))
                for name in names:
                    entry = TlsEntry(
                        (claimant.precedence, number),
                        claimant,
                        claim,
                        bool(claim.hosts) and name not in claim.twins,
                    )
                    added.setdefault(name, []).append(entry)
            self._claims[ref] = tuple(found)
            self._notes.put(("tls", ref), faults)
        dirty = removed.keys() | added.keys()
        for name in dirty:
            self._place(name, removed.get(name, set()), added.get(name, []))
        return dirty

    def _place(self, name: str, removed: Set[ObjectRef], added: Sequence[TlsEntry]) -> None:
        items = [item for item in self.by_name.get(name, ()) if item.claimant.ref not in removed]
        items += added
        above = wildcard_above(name)
        if items:
            items.sort(key=_place_of)
            self.by_name[name] = tuple(items)
            if above:
                self._below.setdefault(above, set()).add(name)
            return
        self.by_name.pop(name, None)
        if (names := self._below.get(above)) is not None:
            names.discard(name)
            if not names:
                del self._below[above]


def look_up(
    certificates: CertificateTable,
    key: ObjectKey,
    origin: Origin,
    effect: str,
    promise: str,
    faults: list[Diagnostic],
) -> Certificate | None:
    """The certificate of a Secret. Adds its fault to *faults*.

    Args:
        certificates: The certificates.
        key: The Secret.
        origin: The field that names it.
        effect: What is served in its place, as a clause.
        promise: Who will create the Secret; empty when nothing says so.
        faults: Gets the fault.
    """
    parsed = certificates.get(key)
    related: tuple[ObjectRef, ...] = (ObjectRef(Secret.kind, key),)
    if parsed is not None:
        if parsed.fault:
            kept = "its last good certificate is still served" if parsed.certificate else effect
            message = f"Secret {key} {parsed.fault}; {kept}"
            faults.append(tls_fault(origin, Reason.CERTIFICATE_INVALID, message, related=related))
        return parsed.certificate
    severity = Severity.ERROR
    message = f"Secret {key} does not exist; {effect}"
    if "/" in key.name:
        message = (
            f"{key.name!r} is no name of a Secret: no namespace can be named, Secrets are of"
            f" the Ingress's own, {key.namespace}; {effect}"
        )
        related = ()
    elif promise:
        message = f"Secret {key} does not exist yet; {promise} is expected to create it; until then {effect}"
        severity = Severity.WARNING
    faults.append(tls_fault(origin, Reason.SECRET_NOT_FOUND, message, severity, related))
    return None


def tls_fault(
    origin: Origin,
    reason: Reason,
    message: str,
    severity: Severity = Severity.ERROR,
    related: tuple[ObjectRef, ...] = (),
) -> Diagnostic:
    """A Diagnostic for the object that *origin* is a field of."""
    return Diagnostic(
        subject=origin.subject,
        field=origin.field,
        reason=reason,
        message=message,
        severity=severity,
        related=related,
    )


def _own_names(certificate: Certificate | None) -> tuple[str, ...]:
    """The names of a certificate that a claimant wants served for whatever it is for."""
    names: dict[str, None] = {}
    for name in certificate.names if certificate is not None else ():
        try:
            names[rule_host(name)] = None
        except HostRefused:
            continue
    return tuple(names)


def _place_of(entry: TlsEntry) -> tuple[tuple[bool, Age, str], int]:
    return entry.place
