"""Where keys of tokens are fetched from: URLs that Ingresses name and the operator allows.

The data plane fetches nothing: a source fetches the keys of a URL and puts them into the snapshot as a
ConfigMap, whose name (`fetched_name`) no object of a cluster can have.
"""

from __future__ import annotations

import hashlib
import re

__all__ = ["fetched_name", "is_fetched_name", "parse_key_prefix", "parse_key_url"]

_LONGEST = 1000
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_URL = re.compile(
    rf"https://({_LABEL}(?:\.{_LABEL})*)(?::([0-9]{{1,5}}))?(/[A-Za-z0-9._~/=&?%+:,-]*)", re.IGNORECASE
)
_START = "jwks:"


def parse_key_url(text: str) -> str:
    """An https URL in one form: scheme and host in lower case, without the port 443.

    Raises:
        ValueError: It is none, or could lead elsewhere than it looks like: dot elements, escapes of separators.
    """
    found = _URL.fullmatch(text.strip())
    if found is None or len(text) > _LONGEST:
        raise ValueError("must be an https URL with a path, such as https://id.example/keys")
    host, port, rest = found[1].lower(), found[2], found[3]
    path = rest.partition("?")[0]
    doubtful = re.search(r"%(?:2e|2f|5c|00)", path, re.IGNORECASE) or "//" in path
    if doubtful or any(part in (".", "..") for part in path.split("/")) or (port and not 0 < int(port) < 65536):
        raise ValueError("must be an https URL without dot elements, empty ones and escaped separators")
    return f"https://{host}{'' if port in (None, '443') else f':{int(port)}'}{rest}"


def parse_key_prefix(text: str) -> str:
    """The beginning of URLs that keys may be fetched from: a URL without a query.

    Raises:
        ValueError: It is none.
    """
    url = parse_key_url(text)
    if "?" in url:
        raise ValueError("must be the beginning of https URLs, without a query")
    return url


def fetched_name(url: str) -> str:
    """The name of the ConfigMap with the keys of *url*, in the namespace of each Ingress that names it."""
    return _START + hashlib.sha256(url.encode()).hexdigest()


def is_fetched_name(name: str) -> bool:
    """Whether an object of this name is made by whoever fetches, and is in no cluster."""
    return name.startswith(_START)
