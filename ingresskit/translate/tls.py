"""Which certificate is served for which TLS server name.

Each server name is decided by itself, from the TLS claims on it (the oldest claimant that names it wins),
the certificates that these name, and the holder of the host. A name is decided again only when one of
these is another one. So are the hosts that a rule names, for which nobody claims a certificate: where hosts
have owners, a wildcard certificate is served for hosts of its own namespace only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from ingresskit._ledger import Ledger
from ingresskit._sorted_map import SortedMap
from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.graph import ANY_HOST, Certificate
from ingresskit.models import ObjectKey, ObjectRef, Secret
from ingresskit.policies import Origin
from ingresskit.translate.certificates import CertificateTable, covers
from ingresskit.translate.claim_index import ClaimIndex
from ingresskit.translate.claims import TlsClaim
from ingresskit.translate.holders import HolderTable
from ingresskit.translate.tls_entries import TlsEntries, TlsEntry, look_up, tls_fault
from ingresskit.translate.tls_rules import missing_rules

__all__ = ["TlsChanges", "TlsTable"]


class TlsChanges(NamedTuple):
    """What `TlsTable.advance` changed.

    Attributes:
        server_names: The names that another Secret is served for, new, or gone.
        certificates: By Secret, the certificates that are served anew; ``None``: no longer.
        hosts: Rule hosts that have TLS settings now and had none, or the reverse.
    """

    server_names: frozenset[str]
    certificates: Mapping[ObjectKey, Certificate | None]
    hosts: frozenset[str]


class _Winner(NamedTuple):
    """The claim that decides a server name, and what is served for it; ``None``: the default certificate."""

    claim: TlsClaim
    secret: ObjectKey | None


class _Wildcard(NamedTuple):
    """What names below a wildcard depend on.

    Attributes:
        decided: Whose claim on it won, as a namespace; ``None``: no claim did.
        secret: What is served for it.
        own: For each namespace, the Secret that its oldest claim on the wildcard comes to.
    """

    decided: str | None
    secret: ObjectKey | None
    own: Mapping[str, ObjectKey | None]


_NO_WILDCARD = _Wildcard(None, None, {})


class TlsTable:
    """Decides server names, snapshot after snapshot.

    Args:
        index: The claims of the snapshot at hand.
        holders: Who holds each host.
        certificates: The certificates.
        default: The Secret of the default certificate.
        notes: Gets the faults.
    """

    def __init__(
        self,
        index: ClaimIndex,
        holders: HolderTable,
        certificates: CertificateTable,
        default: ObjectKey | None,
        notes: Ledger[ObjectRef, Diagnostic],
    ) -> None:
        self._index = index
        self._holders = holders
        self._certificates = certificates
        self._default_secret = default
        self._notes = notes
        self._entries = TlsEntries(index, certificates, notes)
        self._decided: dict[str, _Winner] = {}
        self._wildcards: dict[str, _Wildcard] = {}
        self._names: SortedMap[str, ObjectKey | None] = SortedMap(_one)
        self._served: SortedMap[ObjectKey, Certificate] = SortedMap(_itself)
        self._uses: dict[ObjectKey, int] = {}
        self._moved: set[ObjectKey] = set()  # Secrets whose content or use may have changed in this pass
        self._catch_all: str | None = None
        self._started = False
        self.default: ObjectKey | None = None

    @property
    def server_names(self) -> Mapping[str, ObjectKey | None]:
        """Which Secret is served for which name; ``None``: the default one, although a wildcard would fit."""
        return self._names.mapping()

    @property
    def certificates(self) -> Mapping[ObjectKey, Certificate]:
        """Those that a server name or the default refers to."""
        return self._served.mapping()

    def has_tls(self, host: str, owner: str | None) -> bool:
        """Whether a rule host has TLS settings: its own, or those of the wildcard above it.

        Where hosts have owners, only its owner's wildcard counts. As in ingress-nginx.
        """
        if host in self._decided:
            return True
        wildcard = self._wildcards.get(_wildcard(host), _NO_WILDCARD)
        return wildcard.decided is not None if owner is None else owner in wildcard.own

    def advance(
        self,
        changed: Collection[ObjectRef],
        secrets: Collection[ObjectKey],
        touched: Set[str],
        *,
        everything: bool,
    ) -> TlsChanges:
        """Decide again what changed.

        Args:
            changed: The claimants whose claims changed, came, or went.
            secrets: The Secrets that changed.
            touched: The hosts that rules name since or no longer, and those on which the hold changed.
            everything: Decide every name again, since reservations changed.
        """
        refs = set(changed)
        for secret in secrets:
            refs.update(self._entries.naming(secret))
        dirty = self._entries.read(refs)
        self._moved.update(secrets)
        if not self._started or self._default_secret in secrets:
            self._started = True
            self._decide_default()
        catch_all = self._holders.named_owner(ANY_HOST)
        if everything or catch_all != self._catch_all:
            self._catch_all = catch_all
            dirty.update(self._entries.by_name)
        dirty.update(host for host in touched if host in self._entries.by_name)
        for host in touched:
            if host.startswith("*."):
                dirty.update(self._entries.below(host))
        judged = refs | self._entries.concerned(touched)
        hosts: set[str] = set()
        owned = set(touched)
        for name in dirty:
            before = (name in self._decided, self._wildcards.get(name))
            self._decide(name)
            after = (name in self._decided, self._wildcards.get(name))
            if before[0] != after[0]:
                hosts.add(name)
                judged.update(item.claimant.ref for item in self._index.by_host.get(name, ()))
            if before[1] != after[1]:
                hosts.add(name)
                hosts.update(self._index.below(name))
                owned.update(self._index.below(name))
        owned |= dirty
        names = frozenset(name for name in owned if self._serve(name))
        for ref in judged:
            self._notes.put(("tls rules", ref), self._missing_rules(ref))
        return TlsChanges(names, self._settle(), frozenset(hosts))

    def _decide_default(self) -> None:
        key, self.default = self._default_secret, None
        if key is None:
            return
        self._moved.add(key)
        faults: list[Diagnostic] = []
        effect = "the proxy's own certificate is served in its place"
        if (
            look_up(self._certificates, key, Origin(ObjectRef(Secret.kind, key), ""), effect, "", faults)
            is not None
        ):
            self.default = key
        self._notes.put("default certificate", faults)

    def _decide(self, name: str) -> None:
        """Decide between the claims on *name*."""
        self._decided.pop(name, None)
        self._wildcards.pop(name, None)
        faults: list[Diagnostic] = []
        own: dict[str, ObjectKey | None] = {}
        entries = self._entries.by_name.get(name, ())
        owner = self._holders.owner(name) or self._owner_by_catch_all(entries)
        winner: _Winner | None = None
        for entry in entries:
            namespace, claim = entry.claimant.namespace, entry.claim
            secret = self._covering(name, claim, faults)
            own.setdefault(namespace, secret)
            if not self._admits(name, claim, namespace, owner, faults):
                continue
            if winner is None:
                winner = self._decided[name] = _Winner(claim, secret)
            elif winner.claim.secret != claim.secret:
                faults.append(_second(name, winner.claim, claim))
        if own and name.startswith("*."):
            by = None if winner is None else winner.claim.origin.subject.key.namespace
            self._wildcards[name] = _Wildcard(by, None if winner is None else winner.secret, own)
        self._notes.put(("server name", name), faults)

    def _owner_by_catch_all(self, entries: Sequence[TlsEntry]) -> str | None:
        """The holder of the catch-all, where it names a server name; ``None`` where it does not.

        The rules without a host serve requests for a name that no rule has: an older claimant of another
        namespace must not replace the certificate of their holder.
        """
        named = any(item.written and item.claimant.namespace == self._catch_all for item in entries)
        return self._catch_all if named else None

    def _covering(self, name: str, claim: TlsClaim, faults: list[Diagnostic]) -> ObjectKey | None:
        """The Secret of *claim*, where its certificate is good, and is for *name*."""
        parsed = None if claim.secret is None else self._certificates.get(claim.secret)
        certificate = None if parsed is None else parsed.certificate
        if certificate is None:
            return None
        if covers(certificate, name):
            return certificate.secret
        names = ", ".join(certificate.names[:5]) or "no DNS name"
        message = (
            f"the certificate of {certificate.secret} is for {names}, not for {name};"
            " the default certificate is served for it"
        )
        related = (ObjectRef(Secret.kind, certificate.secret),)
        faults.append(tls_fault(claim.origin, Reason.CERTIFICATE_HOST_MISMATCH, message, related=related))
        return None

    def _admits(
        self, name: str, claim: TlsClaim, namespace: str, owner: str | None, faults: list[Diagnostic]
    ) -> bool:
        if why := self._holders.why_not(namespace, name):
            message = (
                f"namespace {namespace} may not claim host {name}: {why}; this certificate is not served for it"
            )
            faults.append(tls_fault(claim.origin, Reason.HOST_NOT_ALLOWED, message))
            return False
        if owner is not None and owner != namespace:
            message = f"host {name} is owned by namespace {owner}; this certificate is not served for it"
            faults.append(tls_fault(claim.origin, Reason.CERTIFICATE_CONFLICT, message))
            return False
        return True

    def _serve(self, name: str) -> bool:
        """Let what was decided be served for *name*; whether that is something else than before."""
        if (winner := self._decided.get(name)) is not None:
            return self._put(name, winner.secret)
        owner = self._holders.named_owner(name)
        wildcard = self._wildcards.get(_wildcard(name), _NO_WILDCARD)
        if owner is not None and wildcard.decided != owner:
            # Whoever has the wildcard takes no certificate away from the holder of a name below it, and
            # its certificate is not served for that name.
            if (own := wildcard.own.get(owner)) is not None:
                return self._put(name, own)
            if wildcard.secret is not None:
                return self._put(name, None)
        if name not in self._names:
            return False
        self._count(self._names.get(name), -1)
        self._names.drop(name)
        return True

    def _put(self, name: str, secret: ObjectKey | None) -> bool:
        known, before = name in self._names, self._names.get(name)
        if known and before == secret:
            return False
        self._count(before, -1)
        self._count(secret, 1)
        self._names.put(name, secret)
        return True

    def _count(self, secret: ObjectKey | None, more: int) -> None:
        if secret is None:
            return
        self._moved.add(secret)
        count = self._uses.get(secret, 0) + more
        if count:
            self._uses[secret] = count
        else:
            del self._uses[secret]

    def _settle(self) -> Mapping[ObjectKey, Certificate | None]:
        """The certificates that are served anew or no longer."""
        changed: dict[ObjectKey, Certificate | None] = {}
        for key in self._moved:
            parsed = self._certificates.get(key) if key in self._uses or key == self.default else None
            certificate = None if parsed is None else parsed.certificate
            if certificate == self._served.get(key):
                continue
            changed[key] = certificate
            if certificate is None:
                self._served.drop(key)
            else:
                self._served.put(key, certificate)
        self._moved.clear()
        return changed

    def _missing_rules(self, ref: ObjectRef) -> Iterable[Diagnostic]:
        resolved = self._index.by_claimant.get(ref)
        if resolved is None or not resolved.claimant.tls:
            return ()
        return missing_rules(resolved.claimant, self._index, self._holders, self._decided.keys())


def _second(name: str, winner: TlsClaim, claim: TlsClaim) -> Diagnostic:
    named = f"Secret {winner.secret}" if winner.secret else "the default certificate"
    own = winner.origin.subject == claim.origin.subject
    first = winner.origin.field if own else winner.origin.subject
    message = f"{name} is served with {named}, which {first} names first"
    return tls_fault(claim.origin, Reason.CERTIFICATE_CONFLICT, message, related=(winner.origin.subject,))


def _wildcard(host: str) -> str:
    """The wildcard that a TLS server name falls under: of a wildcard, itself; empty for one label."""
    _, dot, parent = host.partition(".")
    return f"*.{parent}" if dot else ""


def _one(name: str) -> tuple[str]:
    return (name,)


def _itself(key: ObjectKey) -> ObjectKey:
    return key
