"""The ``auth-provider`` of name ``oidc``: an ID token, renewed at its identity provider.

The refresh token and the client secret go to the identity provider and nowhere else: its certificate is
always verified, redirects are not followed, and plain HTTP is refused beyond this machine.

Source: client-go's ``plugin/pkg/client/auth/oidc``; OpenID Connect Discovery 1.0, section 4; RFC 6749,
sections 2.3.1 and 6.
"""

from __future__ import annotations

import base64
import binascii
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, cast
from urllib.parse import quote_plus, urlencode, urlsplit

import anyio
from anyio import to_thread

from ingresskit.errors import CredentialsError
from ingresskit.facts import fact_logger
from ingresskit.kube._trees import as_map, as_text, field_data, field_text
from ingresskit.kube.credentials import authorities_text
from ingresskit.kube.files import RotatedFile
from ingresskit.kube.mapping import client_errors
from ingresskit.kube.proxies import Proxy, environment_proxy
from ingresskit.kube.redaction import without_user

if TYPE_CHECKING:
    import aiohttp

__all__ = ["OidcProvider"]

_logger = fact_logger(__name__)

# A token that ends within this many seconds is not used: clocks differ, and requests take their time.
_MARGIN = 10.0
_LIMIT = 30.0
_MAX_BYTES = 1024 * 1024


class OidcProvider:
    """Gives ID tokens. Runs on asyncio only, like the transport."""

    def __init__(self, config: Mapping[str, object], directory: str) -> None:
        """Ask nothing yet.

        Args:
            config: ``auth-provider.config`` of the kubeconfig.
            directory: Where files it names are looked for: that of the kubeconfig.

        Raises:
            CredentialsError: A field is missing, of another type, or not base64.
        """
        self._issuer = field_text(config, "idp-issuer-url").removesuffix("/")
        self._client = field_text(config, "client-id")
        self._secret = field_text(config, "client-secret")
        self._token = field_text(config, "id-token")
        self._refresh_token = field_text(config, "refresh-token")
        self._authorities = field_data(config, "idp-certificate-authority-data")
        path = field_text(config, "idp-certificate-authority")
        self._file = RotatedFile(str(Path(directory, path))) if path and not self._authorities else None
        self._lock = anyio.Lock()
        if self._token:
            _expiry(self._token)

    async def token(self) -> str:
        """An ID token that is valid for some time yet; asks the identity provider only if it must.

        Raises:
            CredentialsError: There is none to be had; the message says why, and holds no secret.
        """
        async with self._lock:
            if not self._token or _expiry(self._token) <= time() + _MARGIN:
                await self._renew()
            return self._token

    async def renew(self, refused: str) -> None:
        """Ask for another token next time, unless that was done since *refused* was given, or cannot be."""
        async with self._lock:
            if self._token == refused and self._refresh_token:
                self._token = ""

    async def _renew(self) -> None:
        if not self._refresh_token:
            raise _fault("it has no valid id-token, and no refresh-token to get one")
        for name, value in (("idp-issuer-url", self._issuer), ("client-id", self._client)):
            if not value:
                raise _fault(f"it has no {name} to renew its token with")
        context = self._context()
        await to_thread.run_sync(_load_client)
        import aiohttp

        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
            with anyio.fail_after(_LIMIT + 5):
                discovery = f"{self._issuer}/.well-known/openid-configuration"
                metadata = _object(
                    *await self._asked(session, "GET", discovery),
                    "the discovery document of its identity provider",
                )
                endpoint = as_text(metadata.get("token_endpoint"))
                if not endpoint:
                    raise _fault("the discovery document of its identity provider names no token_endpoint")
                tokens = await self._refreshed(session, endpoint)
        token = as_text(tokens.get("id_token"))
        if not token:
            raise _fault("its identity provider sent no id_token: was the scope openid asked for at login?")
        _expiry(token)
        self._token = token
        if (following := as_text(tokens.get("refresh_token"))) and following != self._refresh_token:
            self._refresh_token = following
            _logger.warning(
                "the identity provider replaced the refresh token, it is kept in memory only",
                extra={"issuer": without_user(self._issuer)},
            )

    async def _refreshed(self, session: aiohttp.ClientSession, endpoint: str) -> Mapping[str, object]:
        form = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        public = {**form, "client_id": self._client}
        if not self._secret:
            return _object(*await self._asked(session, "POST", endpoint, public), "its identity provider")
        # In the header first, as the specification demands of every provider; some take it in the form only.
        pair = f"{quote_plus(self._client)}:{quote_plus(self._secret)}".encode()
        header = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        status, body = await self._asked(session, "POST", endpoint, form, header)
        if status in (400, 401):
            both = {**public, "client_secret": self._secret}
            status, body = await self._asked(session, "POST", endpoint, both)
        return _object(status, body, "its identity provider")

    async def _asked(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        import aiohttp

        _check_address(url)
        proxy = environment_proxy(url)
        what = f"{method} {without_user(url).partition('?')[0]} of the identity provider"
        sent = {"Accept": "application/json", **(headers or {})}
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        with client_errors(what, proxy=proxy.url if proxy else ""):
            async with session.request(
                method,
                url,
                data=urlencode(form) if form is not None else None,
                headers=sent,
                allow_redirects=False,
                proxy=proxy.url if proxy else None,
                proxy_headers=_proxy_headers(proxy),
                timeout=aiohttp.ClientTimeout(total=_LIMIT),
            ) as response:
                body = await response.content.read(_MAX_BYTES)
                while len(body) < _MAX_BYTES and (more := await response.content.read(_MAX_BYTES)):
                    body += more
                return response.status, body

    def _context(self) -> ssl.SSLContext:
        authorities = self._file.read() if self._file is not None else self._authorities
        try:
            context = ssl.create_default_context(cadata=authorities_text(authorities))
        except (ValueError, OSError) as exc:
            raise _fault(f"the authorities of the identity provider cannot be used: {exc}") from exc
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as for API servers: Go does not ask for it
        return context


def _proxy_headers(proxy: Proxy | None) -> Mapping[str, str] | None:
    return {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else None


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    near = parts.hostname in ("localhost", "::1") or (parts.hostname or "").startswith("127.")
    if parts.scheme != "https" and not (parts.scheme == "http" and near):
        shown = without_user(url)
        raise _fault(f"{shown!r} is not an https address, and secrets are not sent in the clear")


def _load_client() -> None:
    import aiohttp

    _ = aiohttp


def _expiry(token: str) -> float:
    """When an ID token ends, in seconds since 1970. Its signature is for the API server to check."""
    parts = token.split(".")
    try:
        if len(parts) != 3:
            raise ValueError(token)
        payload = parts[1]
        claims: object = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expiry = as_map(claims).get("exp")
        if isinstance(expiry, bool) or not isinstance(expiry, int | float):
            raise ValueError(token)
    except (ValueError, binascii.Error):
        # Not `from` the fault, whose text may hold the token.
        raise _fault("its id-token is not a JWT with an expiry (exp)") from None
    return float(expiry)


def _object(status: int, body: bytes, what: str) -> Mapping[str, object]:
    try:
        tree: object = json.loads(body)
    except ValueError:
        tree = None
    if status != 200:
        # RFC 6749, section 5.2: a word, and maybe a sentence. Other text is not repeated.
        words = [as_text(as_map(tree).get(key))[:200] for key in ("error", "error_description")]
        cause = ": ".join(word for word in words if word.isprintable() and word)
        raise _fault(f"{what} responded with {status}{f' ({cause})' if cause else ''}")
    if not isinstance(tree, dict):
        raise _fault(f"{what} did not respond with a JSON object")
    return cast("Mapping[str, object]", tree)


def _fault(cause: str) -> CredentialsError:
    return CredentialsError(f"the kubeconfig's auth-provider failed: {cause}")
