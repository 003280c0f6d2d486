"""Values that say what to replace in responses, as nginx writes them.

Source: nginx, ``proxy_cookie_domain``, ``proxy_cookie_path`` and ``proxy_redirect``; ingress-nginx,
``internal/ingress/annotations/proxy``.
"""

from __future__ import annotations

import re
from typing import Final

from ingresskit.policies.text_changes import CLIENT_NAMES, TextChange, pattern_source

__all__ = ["parse_cookie_domain", "parse_cookie_path", "parse_redirect_text", "redirect_change"]

_DOMAIN: Final = re.compile(r"[A-Za-z0-9\-._~:/]{1,253}")
_PATH: Final = re.compile(r"[A-Za-z0-9\-._~:/?&=]{1,1000}")
# What has been written into the directive for years, to add attributes: a path in quotes, a semicolon in it.
_QUOTED: Final = re.compile(r'([A-Za-z0-9\-._~:/?&=]{1,1000})\s+"([A-Za-z0-9\-._~:/?&=; ]{1,1000})"')
_REDIRECT: Final = re.compile(r"[\x21\x23-\x26\x28-\x3a\x3c-\x5b\x5d-\x7a\x7c\x7e]{1,1000}")
_VARIABLE: Final = re.compile(r"\$([A-Za-z_{][A-Za-z0-9_]*)")
_NO_VARIABLE: Final = re.compile(r"\$(?![a-z])")

# What `proxy_redirect default` puts there for the name by which ingress-nginx knows all endpoints.
_DEFAULT: Final = TextChange("http://upstream_balancer/", "/")


def parse_cookie_domain(text: str) -> tuple[TextChange, ...]:
    """``off``, or two domains; the first may be ``~`` and a regular expression."""
    return _pair(text, _DOMAIN, "must be off or two domains")


def parse_cookie_path(text: str) -> tuple[TextChange, ...]:
    """``off``, or two paths; the first may be ``~`` and a regular expression.

    The second may stand in double quotes, with attributes behind it: ``"/; Secure"``.
    """
    if found := _QUOTED.fullmatch(text):
        return (_cookie_change(found[1], found[2]),)
    return _pair(text, _PATH, "must be off or two paths")


def parse_redirect_text(text: str) -> str:
    """``off``, ``default``, or a text without spaces and quotes."""
    if not _REDIRECT.fullmatch(text):
        raise ValueError(
            "must be a text of printable ASCII without spaces, quotes, braces, semicolons and backslashes"
        )
    return text


def redirect_change(source: str, target: str) -> TextChange:
    """The change that ``proxy_redirect`` with these two texts makes.

    Raises:
        ValueError: They have variables that are not read, or a pattern that is not matched in linear time.
    """
    if source == "default":
        return _DEFAULT
    for name in _VARIABLE.findall(source + " " + target):
        if name not in CLIENT_NAMES:
            raise ValueError(f"of nginx's variables only $scheme, $host and $http_host are read, not ${name}")
    if source.startswith("~"):
        return TextChange(pattern_source(source), target, pattern=True)
    if _NO_VARIABLE.search(source + " " + target):
        raise ValueError("a $ that begins no variable stands in a text that is no regular expression")
    return TextChange(source, target)


def _pair(text: str, form: re.Pattern[str], rule: str) -> tuple[TextChange, ...]:
    if text == "off":
        return ()
    words = text.split()
    if len(words) != 2 or not all(map(form.fullmatch, words)):
        raise ValueError(rule)
    return (_cookie_change(*words),)


def _cookie_change(source: str, target: str) -> TextChange:
    if source.startswith("~"):
        return TextChange(pattern_source(source), target, pattern=True)
    return TextChange(source, target)
