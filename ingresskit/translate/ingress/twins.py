"""Twins of hosts: the name with ``www.`` for one without, and the reverse, which redirect to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import ANY_HOST, HostRefused, PathMatch, rule_host
from ingresskit.models import ObjectRef
from ingresskit.policies import Origin, Reading, WwwRedirect
from ingresskit.translate.claims import BackendFault, Claim

__all__ = ["Twins"]

_WWW = "www."
_NO_BACKEND = BackendFault(reason=Reason.ANNOTATION_IGNORED, message="it redirects to its twin")


class Twins:
    """The twins that an object asks for.

    Args:
        subject: The object.
        reading: What its annotations mean.
        hosts: The hosts that its rules name.
    """

    def __init__(self, subject: ObjectRef, reading: Reading, hosts: Iterable[str]) -> None:
        self.by_host: dict[str, str] = {}
        """For each host with a twin, that twin."""
        self.diagnostics: list[Diagnostic] = []
        """The hosts that have none."""
        policy = reading.policies.get(WwwRedirect)
        self.origin: Origin = reading.policies.origin(WwwRedirect, "enabled") or Origin(subject, "")
        """The annotation."""
        # A canary takes a part of another object's requests, and has no hosts of its own.
        if policy is None or not policy.enabled or reading.variant is not None:
            return
        named = dict.fromkeys(hosts)
        for host in named:
            twin = _twin(host)
            if twin and twin not in named:
                self.by_host[host] = twin
            elif host.startswith(_WWW) or not twin:
                why = f"the rules name {twin} too" if twin else f"the host {host} has no twin"
                self._warn(f"{why}; it is not redirected")

    @property
    def places(self) -> Mapping[str, Origin]:
        """Each twin, with the annotation that asks for it."""
        return dict.fromkeys(self.by_host.values(), self.origin)

    def claims(self) -> Iterator[Claim]:
        """A claim on everything of each twin."""
        for host, twin in self.by_host.items():
            everything = PathMatch.prefix("/")
            yield Claim(host=twin, match=everything, backend=_NO_BACKEND, origin=self.origin, twin_of=host)

    def of(self, hosts: Iterable[str]) -> tuple[str, ...]:
        """The twins of those of *hosts* that have one."""
        return tuple(twin for host in hosts if (twin := self.by_host.get(host)) is not None)

    def _warn(self, message: str) -> None:
        self.diagnostics.append(
            Diagnostic(
                subject=self.origin.subject,
                field=self.origin.field,
                reason=Reason.ANNOTATION_IGNORED,
                message=message,
                severity=Severity.WARNING,
            )
        )


def _twin(host: str) -> str:
    """The twin of a rule host; empty for wildcards, and where it would be no host."""
    if host == ANY_HOST or host.startswith("*"):
        return ""
    try:
        return rule_host(host[len(_WWW) :] if host.startswith(_WWW) else _WWW + host)
    except HostRefused:
        return ""
