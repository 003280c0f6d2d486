"""What a delegate must know of the program in front of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.policies.values import Network

__all__ = ["DelegateSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegateSettings:
    """Settings of the in-process data plane as a delegate: those of the program in front that matter to it.

    Attributes:
        https_port: The port of the program's first TLS listener; ``None``: it has none.
        public_http_port: As `ingresskit.proxy.ProxySettings`, like the two below.
        public_https_port: The port that redirects to TLS lead to.
        destination_fault: Why an address may not be connected to. A function or a method of a value that can be
            pickled.
        ports_address: As `ingresskit.proxy.ProxySettings`, and so the next one.
        trusted_proxies: Whose PROXY headers at further ports are believed.
        connect_timeout: For connections to endpoints, where no policy says otherwise; so the next two.
        read_timeout: Between two reads of a response.
        send_timeout: Between two writes to an endpoint.
        drain_grace: How long requests under way may take when the delegate is ended.
    """

    https_port: int | None = None
    public_http_port: int = 80
    public_https_port: int | None = None
    destination_fault: Callable[[str], str | None] | None = None
    ports_address: str = ""
    trusted_proxies: tuple[Network, ...] = ()
    connect_timeout: timedelta = timedelta(seconds=5)
    read_timeout: timedelta = timedelta(seconds=60)
    send_timeout: timedelta = timedelta(seconds=60)
    drain_grace: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        check_settings(self)
