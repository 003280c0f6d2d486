"""A controller that runs, asked through its admin API: one request at a time, and no redirect is followed."""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import cast
from urllib.parse import urlencode, urlsplit

from ingresskit.errors import ConfigurationError, IngressKitError

__all__ = ["AdminApi", "ApiError", "read_admin_url"]

_SECONDS = 30.0
_MOST_BYTES = 1 << 30


class ApiError(IngressKitError):
    """Raised when a controller cannot be asked. Its text is one line that names the URL."""


def read_admin_url(text: str) -> str:
    """The URL of an admin API, without a path.

    Raises:
        ValueError: *text* is none.
    """
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as exc:
        raise ValueError(f"{text!r} is not a URL: {exc}") from None
    if not named or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{text!r} is not the URL of an admin API, such as http://127.0.0.1:8580")
    return f"{parts.scheme}://{parts.netloc}"


class AdminApi:
    """Asks the admin API of one controller.

    Args:
        url: As `read_admin_url` gives it.
        token_file: Whose first line is sent as the bearer token; ``None``: no credentials.

    Raises:
        ConfigurationError: The file cannot be read, or has no token in its first line.
    """

    def __init__(self, url: str, token_file: Path | None = None) -> None:
        self._url = url
        self._headers = {"Accept": "application/json", "User-Agent": "ingresskit"}
        if token_file is not None:
            self._headers["Authorization"] = f"Bearer {_token(token_file)}"

    def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> dict[str, object]:
        """The JSON object at *path*.

        Raises:
            ApiError: Nobody responds, the response is no JSON, or the status is 400 or more.
        """
        status, body = self._exchange(f"{path}?{urlencode(query)}" if query else path)
        try:
            value: object = json.loads(body)
        except ValueError:
            value = None
        if status == 200 and isinstance(value, dict):
            return cast("dict[str, object]", value)
        raise ApiError(f"{self._url}{path} responds {status}: {_said(value)}")

    def _exchange(self, target: str) -> tuple[int, bytes]:
        parts = urlsplit(self._url)
        host, port = parts.hostname or "", parts.port
        connection = (
            HTTPSConnection(host, port, timeout=_SECONDS, context=ssl.create_default_context())
            if parts.scheme == "https"
            else HTTPConnection(host, port, timeout=_SECONDS)
        )
        try:
            connection.request("GET", target, headers=self._headers)
            response = connection.getresponse()
            return response.status, response.read(_MOST_BYTES)
        except (OSError, HTTPException) as exc:
            raise ApiError(f"{self._url} cannot be asked: {str(exc) or type(exc).__name__}") from None
        finally:
            connection.close()


def _said(value: object) -> str:
    """What an error of the API says; of others it is not shown, for it may be a whole page."""
    error = cast("dict[str, object]", value).get("error") if isinstance(value, dict) else None
    if isinstance(error, dict):
        return str(cast("dict[str, object]", error).get("message"))
    return "this is not the admin API of ingresskit"


def _token(path: Path) -> str:
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"the token in {path} cannot be read: {exc}") from None
    if not lines:
        raise ConfigurationError(f"{path} holds no token")
    return lines[0]
