"""Which HTTP proxy leads to the API server: the kubeconfig's, else the environment's as kubectl reads it.

Source: Go's ``golang.org/x/net/http/httpproxy``, from which kubectl and every controller in Go take theirs.
Python's own reading differs: no CIDR, no ports, lower case first, loopback addresses through the proxy.
"""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from ingresskit.errors import CredentialsError
from ingresskit.kube.credentials import Access
from ingresskit.kube.redaction import without_user

__all__ = ["Proxy", "environment_proxy", "proxy_for"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        url: ``"http://proxy.example:3128"``, never with user or password.
        authorization: The value of ``Proxy-Authorization``; empty for none.
    """

    url: str
    authorization: str = field(default="", repr=False)


def proxy_for(access: Access, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy for requests to this server; ``None`` to connect directly.

    Raises:
        CredentialsError: The proxy is of a kind that is not supported, or its address cannot be read. The
            message never repeats the user and password in it.
    """
    if access.trust.proxy:
        return _read(access.trust.proxy, "the kubeconfig's proxy-url")
    return environment_proxy(access.server, environ)


def environment_proxy(url: str, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy that the environment names for *url*; ``None`` to connect directly.

    ``HTTPS_PROXY`` counts for https, ``HTTP_PROXY`` for http, either in lower case too if the upper-case
    variable is unset or empty. Hosts in ``NO_PROXY``, ``localhost`` and loopback addresses are direct.

    Args:
        url: An http or https address.
        environ: The variables.

    Raises:
        CredentialsError: As `proxy_for`; also for http in a CGI environment, where a client sets
            ``HTTP_PROXY`` by sending a header.
    """
    parts = urlsplit(url)
    name = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
    text = _variable(environ, name)
    if not text:
        return None
    if name == "HTTP_PROXY" and environ.get("REQUEST_METHOD"):
        raise CredentialsError("HTTP_PROXY is not used in a CGI environment (REQUEST_METHOD is set)")
    if not _uses_proxy(parts, _variable(environ, "NO_PROXY")):
        return None
    parsed = _split(text)
    if parsed is None or not parsed.scheme or not parsed.netloc:
        text = f"http://{text}"
    return _read(text, name)


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.lower()) or ""


def _read(text: str, source: str) -> Proxy:
    parts = _split(text)
    shown = without_user(text)
    if parts is None or (parts.scheme in _PORTS and not parts.hostname):
        raise CredentialsError(f"{source} {shown!r} is not the address of a proxy")
    if parts.scheme not in _PORTS:
        raise CredentialsError(
            f"{source} {shown!r} is not an http or https address; other kinds of proxies are not supported"
        )
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = f"Basic {base64.b64encode(pair).decode()}"
    url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return Proxy(url=url, authorization=authorization)


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises for what is no port
    except ValueError:
        return None
    return parts


def _uses_proxy(parts: SplitResult, no_proxy: str) -> bool:
    host = _ascii(parts.hostname or "")
    port = str(parts.port or _PORTS.get(parts.scheme, ""))
    address = _address(host.partition("%")[0])
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    entries = [entry for part in no_proxy.split(",") if (entry := part.strip().lower())]
    return "*" not in entries and not any(_matches(entry, host, port, address) for entry in entries)


def _matches(entry: str, host: str, port: str, address: _Address | None) -> bool:
    """Whether an entry of ``NO_PROXY`` is about this host: CIDR, address, or name; the last two with a port."""
    if (network := _network(entry)) is not None:
        return address is not None and address.version == network.version and address in network
    split = _host_and_port(entry)
    name, wanted = split if split is not None else (entry, "")
    if not name or (wanted and wanted != port):
        return False
    if (named := _address(name)) is not None:
        return named == address
    if address is not None:
        return False
    name = name.removeprefix("*")  # *.example.com is .example.com
    suffix = _ascii(name if name.startswith(".") else f".{name}")
    return host.endswith(suffix) or (not name.startswith(".") and host == suffix[1:])


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    address, slash, length = text.partition("/")
    if not slash or not (length.isascii() and length.isdigit()) or _address(address) is None:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _address(text: str) -> _Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _host_and_port(text: str) -> tuple[str, str] | None:
    """``host:port`` or ``[v6]:port``; ``None`` for anything else, such as a bare IPv6 address."""
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        return None
    if host.startswith("["):
        return (host[1:-1], port) if host.endswith("]") and "[" not in host[1:] else None
    return None if set(host) & set(":[]") else (host, port)


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host
