"""What an integrator decides about translation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from ingresskit.errors import ConfigurationError
from ingresskit.graph import DEFAULT_PATHS, PathOptions
from ingresskit.models import ObjectKey
from ingresskit.policies import ForeignProtections, PolicyRegistry, default_policies
from ingresskit.translate.budgets import Budgets
from ingresskit.translate.destinations import DestinationPolicy
from ingresskit.translate.places import NOWHERE, Place
from ingresskit.translate.selectors import LabelSelector

__all__ = ["DefaultBackend", "HostOwnership", "Scope", "TranslateOptions"]

_CONTROLLER_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*/[A-Za-z0-9/._-]+")


class HostOwnership(StrEnum):
    """Whether namespaces may share a host."""

    STRICT = "strict"
    """The namespace that first claimed a host, or the wildcard above it, keeps it while it claims it."""
    EXACT = "exact"
    """The same for exactly that host: a name below the wildcard of one namespace may belong to another."""
    SHARED = "shared"
    """Rules for one host from all namespaces are merged; conflicts are decided path by path."""


class DefaultBackend(NamedTuple):
    """A Service for requests that no rule takes. ``port`` ``None``: its first port."""

    service: ObjectKey
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which Ingresses are looked at, before their class is.

    Attributes:
        namespaces: Only these; empty means all.
        namespace_selector: Only namespaces with these labels; ``None`` means all.
        ingress_selector: Only Ingresses with these labels; ``None`` means all.
    """

    namespaces: frozenset[str] = frozenset()
    namespace_selector: LabelSelector | None = None
    ingress_selector: LabelSelector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslateOptions:
    """What an integrator decides about translation; the defaults are those of the reference controller.

    Attributes:
        controller_name: The ``spec.controller`` of the IngressClasses that are ours.
        ingress_class: The value of the legacy annotation ``kubernetes.io/ingress.class`` that is ours.
        watch_ingress_without_class: Also take Ingresses with neither field nor annotation.
        policies: Which annotations are understood.
        foreign_protections: Whether a route closes (503) that an annotation of another controller, or one
            under a slip of our own prefix, would protect.
        default_backend: For requests that nothing else takes; ``None``: they get 404.
        tcp_services: The ConfigMap with further ports and the Services that their connections go to, in the
            form of ingress-nginx; ``None``: there are none.
        udp_services: The same for UDP, of which every entry is reported: none is served.
        own_ports: The ports that the proxy listens at itself: no entry of *tcp_services* can have one.
        default_certificate: The Secret with the certificate for server names that have none.
        host_ownership: Whether namespaces may share a host.
        host_claim_grace: How long a host stays held after the last claim of its namespace went; 0 or more.
            Counted by the ``now`` of a translation, so 0 where none is given.
        require_namespace_hosts: A namespace may claim the hosts in the annotation ``ingresskit.dev/hosts``
            of its Namespace only, and without the annotation none.
        guard_wide_hosts: The catch-all and wildcards of a top-level domain (``*.test``) may be claimed only
            by namespaces with that annotation.
        host_fallthrough: See `ingresskit.graph.RouteGraph`.
        paths: How the paths of rules and requests are brought into normal form.
        destinations: Which endpoint addresses are let through.
        place: Where the proxy runs, for endpoints near by; nothing is known by default, and all are used.
        scope: Which Ingresses are looked at.
        budgets: How much one Ingress and one namespace may ask for.

    Raises:
        ConfigurationError: *controller_name* is not a domain-prefixed path, a name is empty, or
            *host_claim_grace* is negative.
    """

    controller_name: str = "ingresskit.dev/ingress-controller"
    ingress_class: str = "ingresskit"
    watch_ingress_without_class: bool = False
    policies: PolicyRegistry = field(default_factory=default_policies)
    foreign_protections: ForeignProtections = ForeignProtections.CLOSE
    default_backend: DefaultBackend | None = None
    tcp_services: ObjectKey | None = None
    udp_services: ObjectKey | None = None
    own_ports: frozenset[int] = frozenset()
    default_certificate: ObjectKey | None = None
    host_ownership: HostOwnership = HostOwnership.STRICT
    host_claim_grace: timedelta = timedelta(0)
    require_namespace_hosts: bool = False
    guard_wide_hosts: bool = False
    host_fallthrough: bool = False
    paths: PathOptions = DEFAULT_PATHS
    destinations: DestinationPolicy = field(default_factory=DestinationPolicy)
    place: Place = NOWHERE
    scope: Scope = field(default_factory=Scope)
    budgets: Budgets = field(default_factory=Budgets)

    def __post_init__(self) -> None:
        if not _CONTROLLER_NAME.fullmatch(self.controller_name):
            raise ConfigurationError(
                f"the controller name {self.controller_name!r} is not of the form example.com/name"
            )
        if not self.ingress_class:
            raise ConfigurationError("the ingress class has no name")
        if self.host_claim_grace < timedelta(0):
            raise ConfigurationError(f"host_claim_grace must be 0 or more, not {self.host_claim_grace}")


def in_scope(
    scope: Scope, namespace: str, labels: Mapping[str, str], namespace_labels: Mapping[str, str]
) -> str:
    """Why an Ingress is not looked at, as a clause; empty when it is."""
    if scope.namespaces and namespace not in scope.namespaces:
        return f"the namespace {namespace} is not watched"
    if scope.namespace_selector is not None and not scope.namespace_selector.matches(namespace_labels):
        return f"the labels of the namespace {namespace} do not match {scope.namespace_selector}"
    if scope.ingress_selector is not None and not scope.ingress_selector.matches(labels):
        return f"its labels do not match {scope.ingress_selector}"
    return ""
