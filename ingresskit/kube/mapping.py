"""Maps errors of the API server and exceptions of the HTTP client to our own."""

from __future__ import annotations

import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import cast

from ingresskit.errors import (
    ApiError,
    Conflict,
    CredentialsError,
    Expired,
    Forbidden,
    NotFound,
    RequestTimeout,
    StatusCause,
    TooManyRequests,
    TransportError,
    Unauthorized,
)
from ingresskit.kube._trees import as_list, as_map, as_text
from ingresskit.kube.redaction import without_credentials, without_user

__all__ = ["api_error", "status_error"]

_CLASSES: Mapping[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    429: TooManyRequests,
}
# An error inside a watch may come with reason and no code, or with a code that its reason corrects.
_REASONS: Mapping[str, int] = {
    "Expired": 410,
    "Gone": 410,
    "TooManyRequests": 429,
    "Forbidden": 403,
    "Unauthorized": 401,
}
# The head of the SETTINGS frame that begins an HTTP/2 connection, as the client's error shows it.
_HTTP_2 = r"\x04\x00\x00\x00\x00\x00"
# Longer is not advice but a mistake, or a clock that is off.
_LONGEST_PAUSE = timedelta(minutes=10)


def api_error(
    status: int, headers: Mapping[str, str], body: bytes, *, request: str = "", now: datetime | None = None
) -> ApiError:
    """The error for a response other than 2xx.

    Args:
        status: The HTTP status code.
        headers: By lower-case name; ``retry-after`` is read.
        body: A ``Status`` object, or whatever a proxy in between wrote.
        request: What was asked, for the sentence.
        now: The time to which a ``Retry-After`` date refers; the clock's unless given.

    Returns:
        The subclass that the status code names, or `ApiError` itself.
    """
    tree = _json_object(body)
    if tree is None or tree.get("kind") != "Status":
        text = " ".join(body[:300].decode("utf-8", "replace").split())
        tree = {"message": without_credentials(text) if "<" not in text else "", "code": status}
        if 300 <= status < 400 and (location := headers.get("location", "")):
            # Where to, without what its query may give away.
            shown = without_user(location.partition("?")[0])[:200]
            tree["message"] = f"a redirect to {shown}, which is not followed"
    return _error(tree, status, _retry_after(headers.get("retry-after", ""), now), request)


def status_error(status: Mapping[str, object]) -> ApiError:
    """The error that a ``Status`` object inside a watch stands for."""
    return _error(status, None, None, "")


def _error(
    tree: Mapping[str, object], http_status: int | None, retry_after: timedelta | None, request: str
) -> ApiError:
    reason, message = as_text(tree.get("reason")), as_text(tree.get("message"))
    stated = tree.get("code")
    code = http_status or (stated if isinstance(stated, int) and stated else _REASONS.get(reason, 500))
    details = as_map(tree.get("details"))
    seconds = details.get("retryAfterSeconds")
    if retry_after is None and isinstance(seconds, int) and seconds > 0:
        retry_after = timedelta(seconds=min(seconds, _LONGEST_PAUSE.total_seconds()))
    kind = _CLASSES.get(_REASONS.get(reason, code) if code >= 400 else code, ApiError)
    return kind(
        status=code,
        reason=reason,
        message=message,
        retry_after=retry_after,
        causes=tuple(
            StatusCause(
                as_text(cause.get("field")), as_text(cause.get("reason")), as_text(cause.get("message"))
            )
            for cause in map(as_map, as_list(details.get("causes")))
        ),
        request=request,
    )


def _retry_after(text: str, now: datetime | None) -> timedelta | None:
    """Source: RFC 9110, section 10.2.3: seconds, or a date."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        # Not converted when absurdly long: Python refuses to.
        return _LONGEST_PAUSE if len(text) > 9 else min(timedelta(seconds=int(text)), _LONGEST_PAUSE)
    if not text:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max(date - (now or datetime.now(UTC)), timedelta(0)), _LONGEST_PAUSE)


@contextmanager
def client_errors(what: str, *, proxy: str = "") -> Generator[None, None, None]:
    """Turn what the HTTP client raises inside into `TransportError`.

    Args:
        what: What was asked; it begins the sentence.
        proxy: The address of the proxy that is used, without credentials; empty for none.
    """
    try:
        yield
    except TimeoutError as exc:  # aiohttp's own derive from it too
        raise RequestTimeout(f"{what} got no response in time{_through(proxy)}") from exc
    except Exception as exc:
        import aiohttp  # here, not above: it is loaded in a thread when the first request is made

        if isinstance(exc, aiohttp.ClientConnectorCertificateError):
            cause = without_credentials(str(exc))
            raise CredentialsError(
                f"{what}: the server's certificate is not trusted{_through(proxy)}: {cause}"
            ) from exc
        if isinstance(exc, aiohttp.ClientError | ssl.SSLError | OSError | EOFError):
            raise TransportError(f"{what} failed: {_cause(exc, proxy)}") from exc
        raise


def _cause(exc: Exception, proxy: str) -> str:
    import aiohttp

    match exc:
        case aiohttp.ClientHttpProxyError():
            return f"the proxy {proxy} refused the connection to the API server: {exc.status} {exc.message}"
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy {proxy} cannot be reached: {exc.os_error}"
        case aiohttp.ClientPayloadError():
            # The client's own text speaks of an error 400, which no server sent.
            text = "the connection was cut in the middle of the response"
        case aiohttp.ServerDisconnectedError():
            text = "the server closed the connection before it responded"
        case aiohttp.ClientResponseError() if _HTTP_2 in exc.message:
            text = "the server speaks HTTP/2 only, and HTTP/1.1 is needed"
        case aiohttp.ClientResponseError():
            text = f"the response is malformed: {' '.join(exc.message.split())[:300]}"
        case _:
            text = str(exc) or type(exc).__name__
    return without_credentials(text) + _through(proxy)


def _through(proxy: str) -> str:
    return f" (through the proxy {proxy})" if proxy else ""


def _json_object(body: bytes) -> Mapping[str, object] | None:
    import pydantic_core

    try:
        tree: object = pydantic_core.from_json(body)
    except ValueError:
        return None
    return cast("Mapping[str, object]", tree) if isinstance(tree, dict) else None
