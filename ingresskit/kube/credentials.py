"""Who we are to the API server, and how we know that it is the API server.

Everything here may change while we run: tokens live an hour or a day, authorities are rotated, plugins
hand out certificates that expire. So nothing is read once: `Credentials.access` is asked before every
request, and looks at the files behind it each time (a ``stat`` each; requests are rare).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ingresskit.errors import CredentialsError
from ingresskit.kube.files import RotatedFile

__all__ = ["Access", "Credentials", "InClusterCredentials", "StaticCredentials", "TrustMaterial"]

# Source: Kubernetes documentation, "Accessing the Kubernetes API from a Pod".
SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustMaterial:
    """What a TLS connection is made of. Connections are made anew when any of it changes.

    Attributes:
        authorities: PEM of the authorities to trust; empty for those of the system.
        certificate: PEM of our certificate and its chain; empty for none.
        key: PEM of its key.
        server_name: The name to expect in the server's certificate; empty for the host of the address.
        insecure: Trust any server. For laboratories.
        proxy: The address of an HTTP proxy; empty for what the environment says.
    """

    authorities: bytes = b""
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    server_name: str = ""
    insecure: bool = False
    proxy: str = field(default="", repr=False)  # it may hold a password


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to make one request.

    Attributes:
        server: ``"https://10.0.0.1:443"``, without a slash at its end; may hold a path.
        authorization: The value of the header of that name; empty for none.
        impersonation: The ``Impersonate-*`` headers, in their order; a name may occur more than once.
    """

    server: str
    authorization: str = field(default="", repr=False)
    impersonation: tuple[tuple[str, str], ...] = ()
    trust: TrustMaterial = field(default_factory=TrustMaterial)


class Credentials(Protocol):
    """Gives the access to one cluster, and a new one when the old is refused."""

    async def access(self) -> Access:
        """What is valid now; cheap.

        Raises:
            CredentialsError: There is nothing to go by. Trying again later is allowed.
        """
        ...

    async def renew(self, refused: Access) -> None:
        """Renew *refused*, to which the server responded 401, unless that was done already.

        Raises:
            CredentialsError: There are no others to be had.
        """
        ...


class StaticCredentials:
    """Credentials that are what they are."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def access(self) -> Access:
        """The access it was made with."""
        return self._access

    async def renew(self, refused: Access) -> None:
        """Does nothing."""


class InClusterCredentials:
    """The service account of the pod we run in: its token and authority are read again when replaced."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        directory: str | os.PathLike[str] = SERVICE_ACCOUNT_DIRECTORY,
    ) -> None:
        """Read nothing yet.

        Args:
            environ: Where ``KUBERNETES_SERVICE_HOST`` and ``…_PORT`` are looked up, on each use.
            directory: Where ``token`` and ``ca.crt`` lie.
        """
        self._environ = os.environ if environ is None else environ
        self._token = RotatedFile(str(Path(directory) / "token"))
        self._authority = RotatedFile(str(Path(directory) / "ca.crt"))

    @classmethod
    def available(cls) -> bool:
        """Whether this process runs in a pod with a service account."""
        return "KUBERNETES_SERVICE_HOST" in os.environ and Path(SERVICE_ACCOUNT_DIRECTORY, "token").exists()

    async def access(self) -> Access:
        """The access as of the files now.

        Raises:
            CredentialsError: This is not a pod, or its service account is not mounted.
        """
        host, port = self._environ.get("KUBERNETES_SERVICE_HOST"), self._environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port:
            raise CredentialsError("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: no pod?")
        return Access(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            authorization=bearer(self._token.read()),
            trust=TrustMaterial(authorities=self._authority.read()),
        )

    async def renew(self, refused: Access) -> None:
        """Read the files again, also if they look the same."""
        self._token.forget()
        self._authority.forget()


def authorities_text(pem: bytes) -> str | None:
    """The authorities as `ssl.create_default_context` takes them; ``None`` (those of the system) for none.

    What is not ASCII is left out: it can only be a comment between certificates, which Go skips too.

    Raises:
        ValueError: There is something, but no certificate. (An empty text would mean those of the system.)
    """
    if not pem:
        return None
    text = pem.decode("ascii", "ignore")
    if "-----BEGIN" not in text:
        raise ValueError("there is no certificate among the authorities")
    return text


def bearer(token: bytes | str) -> str:
    """The header value for a token.

    Raises:
        CredentialsError: It holds what no token holds, such as a line break in its middle.
    """
    text = (token.decode("latin-1") if isinstance(token, bytes) else token).strip()
    if not text or not text.isascii() or any(char.isspace() or not char.isprintable() for char in text):
        raise CredentialsError("what should be a bearer token holds spaces or control characters")
    return f"Bearer {text}"
