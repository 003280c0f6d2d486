"""The shapes of a file of scenarios: what may be written where, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from ingresskit.translate import HostOwnership

if TYPE_CHECKING:
    from pydantic import ConfigDict

__all__ = [
    "NAMESPACE",
    "Case",
    "File",
    "Options",
    "Request",
    "Slice",
    "World",
    "WrittenClass",
    "WrittenEndpoint",
    "WrittenIngress",
    "WrittenSecret",
    "WrittenService",
]

NAMESPACE = "default"
"""The namespace of objects that name none."""


class Strict:
    """Base of the shapes below: a field that they do not have is a mistake of the author."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class WrittenEndpoint(Strict):
    """As `ingresskit.testing.scenario_files` shows."""

    address: str
    ready: bool | None = True
    serving: bool | None = None
    terminating: bool | None = None
    zone: str | None = None


@dataclass(frozen=True, kw_only=True)
class Slice(Strict):
    """As `ingresskit.testing.scenario_files` shows."""

    endpoints: list[str | WrittenEndpoint]
    ports: int | dict[str, int] = 8080


@dataclass(frozen=True, kw_only=True)
class WrittenService(Strict):
    """As `ingresskit.testing.scenario_files` shows."""

    name: str
    namespace: str = NAMESPACE
    ports: int | dict[str, int] = 80
    type: str | None = None
    external_name: str | None = None
    app_protocol: str | None = None
    endpoints: list[str | WrittenEndpoint] | None = None
    target: int | dict[str, int] = 8080
    slices: list[Slice] | None = None


@dataclass(frozen=True, kw_only=True)
class WrittenIngress(Strict):
    """As `ingresskit.testing.scenario_files` shows."""

    name: str = "web"
    namespace: str = NAMESPACE
    created: float | None = 0
    ingress_class: str | None = "ingresskit"
    rules: dict[str, dict[str, str] | None] = field(default_factory=dict[str, "dict[str, str] | None"])
    default: str | None = None
    tls: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    annotations: dict[str, str] = field(default_factory=dict[str, str])
    nginx: dict[str, str] = field(default_factory=dict[str, str])
    labels: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class WrittenSecret(Strict):
    """As `ingresskit.testing.scenario_files` shows."""

    name: str = "tls"
    namespace: str = NAMESPACE
    hosts: list[str] = field(default_factory=list[str])
    salt: str = ""
    not_before: float = 0
    not_after: float = 36500
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class WrittenClass(Strict):
    """As `ingresskit.testing.scenario_files` shows."""

    name: str = "ingresskit"
    controller: str = "ingresskit.dev/ingress-controller"
    default: bool = False
    created: float = 0


@dataclass(frozen=True, kw_only=True)
class Options(Strict):
    """As `ingresskit.testing.scenario_files` shows."""

    controller_name: str = "ingresskit.dev/ingress-controller"
    ingress_class: str = "ingresskit"
    watch_ingress_without_class: bool = False
    default_backend: str | None = None
    default_certificate: str | None = None
    host_ownership: HostOwnership = HostOwnership.STRICT
    host_fallthrough: bool = False
    external_names: bool = False
    allow: str = ""
    namespaces: list[str] = field(default_factory=list[str])
    namespace_selector: str = ""
    ingress_selector: str = ""
    dialects: list[str] = field(default_factory=lambda: ["native"])
    settings: dict[str, str] = field(default_factory=dict[str, str])
    passthrough: bool = False


@dataclass(frozen=True, kw_only=True)
class Request(Strict):
    """As `ingresskit.testing.scenario_files` shows."""

    host: str = "a.test"
    path: str = "/"
    tls: bool = False
    server_name: str | None = None
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    size: int = 0
    chunked: bool = False
    client: str | None = None
    ciphers: str = ""
    times: int = 1
    keeps_cookies: bool = False
    together: bool = False
    statuses: list[int] = field(default_factory=list[int])
    sticks: bool = False
    has: dict[str, str] = field(default_factory=dict[str, str])
    sees: dict[str, str] = field(default_factory=dict[str, str])
    received: int | None = None
    copies: list[str] = field(default_factory=list[str])
    to: str | list[str] = field(default_factory=list[str])
    endpoints: list[str] = field(default_factory=list[str])
    status: int = 200
    location: str | None = None
    certificate: str | None = None
    forwarded: str | None = None
    request_headers: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    response_headers: dict[str, str | None] = field(default_factory=dict[str, "str | None"])


@dataclass(frozen=True, kw_only=True)
class World(Strict):
    """As `ingresskit.testing.scenario_files` shows."""

    services: list[str | WrittenService] = field(default_factory=list["str | WrittenService"])
    ingresses: list[WrittenIngress] = field(default_factory=list[WrittenIngress])
    secrets: list[WrittenSecret] = field(default_factory=list[WrittenSecret])
    classes: list[WrittenClass] | None = None
    authority: str = ""
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    objects: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    options: Options = Options()


@dataclass(frozen=True, kw_only=True)
class Case(World):
    """As `ingresskit.testing.scenario_files` shows."""

    name: str
    source: str = ""
    now: datetime | None = None
    requests: list[Request] = field(default_factory=list[Request])
    endpoints: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    diagnostics: list[str] = field(default_factory=list[str])
    shows: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class File(World):
    """As `ingresskit.testing.scenario_files` shows."""

    source: str = ""
    cases: list[Case]
