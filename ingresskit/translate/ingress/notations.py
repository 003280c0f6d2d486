"""Paths and hosts that are valid by the letter, or nearly, in a notation that means something elsewhere.

Every rule is read as Kubernetes has it: a path letter by letter, a wildcard as the whole first label. What
other controllers, frameworks and browsers write looks like it and takes no request. So each such notation
is recognised here, with the path or host that means the same, as far as there is one.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from ingresskit.diagnostics import Reason

__all__ = ["Doubt", "host_advice", "path_advice", "path_doubt", "served_otherwise"]


class Doubt(NamedTuple):
    """Why a path that is served is hardly meant as it stands. The message continues "the path … "."""

    reason: Reason
    message: str


# No ".*" between the brackets: its time would grow with the square of what a tenant writes.
_REGEX_SIGNS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\.\*|\.\+|\\|\$$|\^|\||^/~/")
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
# ASCII that stands in no path (RFC 3986, section 3.3). Letters of other scripts are meant as they are.
_ODD = re.compile(r"""[ "<>\\^`{|}\[\]]""")
# What stands at the end of a pattern that takes all below a path, longest first.
_ALL_BELOW = (
    *("(/|$)(.*)", "(/|$)(.*)$", "(?:/|$)(.*)", "(/.*)?$", "(/.*)?", "(/.*)", "/?(.*)", "/(.*)$", "/(.*)"),
    *("(.*)$", "(.*)", "/.*$", "/.*", ".*$", ".*", "/.+", "(/|$)"),
)
_TEMPLATE = re.compile(r"\{[^{}/]*\}|<[^<>/]*>|/:[A-Za-z_][^/]*")


def path_doubt(text: str, kind: str) -> Doubt | None:
    """What is doubtful about a path that can be served; ``None`` when nothing is.

    Args:
        text: The path, as written.
        kind: Its path type.
    """
    literal = Reason.PATH_TAKEN_LITERALLY
    if _REGEX_SIGNS.search(text):
        message = "looks like a regular expression, but is taken letter by letter"
        return Doubt(Reason.PATH_LOOKS_LIKE_REGEX, message + _same(_without_pattern(text, kind)))
    for sign, name in (("?", "query"), ("#", "fragment")):
        if sign in text:
            rest = text.partition(sign)[0]
            message = f"has a {sign}, which begins the {name} of a URL: no path of a request has one"
            return Doubt(literal, message + _same(f"{_shown_kind(kind)} {rest or '/'}", "nearest"))
    if "*" in text:
        return Doubt(literal, _star(text))
    if found := _TEMPLATE.search(text):
        message = f"has {_quoted(found[0].lstrip('/'))}, which stands for itself: paths have no variables"
        return Doubt(literal, message + _same(f"Prefix {text[: found.start()].rstrip('/') or '/'}", "nearest"))
    if (stripped := text.strip()) != text:
        message = "has white space at its end, which is taken for a part of it (%20)"
        return Doubt(literal, message + _same(f"{_shown_kind(kind)} {stripped}"))
    return None


def served_otherwise(text: str, normal: str) -> Doubt | None:
    """The doubt about a path whose normal form is not what its author wrote; ``None`` without one.

    Escapes of letters, merged slashes and the like are said nothing of: they mean the same everywhere.

    Args:
        text: The path, as written.
        normal: The same in normal form.
    """
    if _DOTS.search(text):
        message = "dot elements are resolved, also when they are escaped"
    elif odd := _ODD.search(text):
        message = f"{_quoted(odd[0])} may not stand in a path, and is escaped"
    else:
        return None
    return Doubt(Reason.PATH_SERVED_OTHERWISE, f"is served as {_quoted(normal)}: {message}")


def _star(text: str) -> str:
    message = "has a *, which is taken for itself: paths have no wildcards"
    base = text.rstrip("*")
    if "*" in base:
        return message
    if base.endswith("/"):
        return message + _same(f"Prefix {base.rstrip('/') or '/'}")
    return message + f", and Prefix {_cut(base)} takes no more than {_cut(base)} itself and what is below it"


def _without_pattern(text: str, kind: str) -> str:
    """The path type and path that take the same requests as a simple pattern; empty when it is not simple."""
    bare = text.removeprefix("^")
    for end in _ALL_BELOW:
        if bare.endswith(end):
            return _plain("Prefix", bare.removesuffix(end).rstrip("/"))
    if bare.endswith("$"):
        return _plain("Exact", bare.removesuffix("$"))
    return _plain(_shown_kind(kind), bare)


def _plain(kind: str, path: str) -> str:
    path = path or "/"
    signs = _REGEX_SIGNS.search(path) or set(path) & set("?*+(){}")
    return f"{kind} {path}" if path.startswith("/") and not signs else ""


def path_advice(text: str) -> str:
    """What to do about a path that cannot be served, as the end of a sentence; empty: nothing is known."""
    if "://" in text:
        try:
            path = urlsplit(text).path
        except ValueError:
            path = ""
        return f"; it is a URL, of which only the path belongs here: {_cut(path or '/')}"
    if text.startswith(("=", "~", "^~", "@")) and "/" in text:
        return "; what stands before the path is nginx's notation, which is pathType here"
    if _REGEX_SIGNS.search(text):
        return "; it looks like a regular expression, and none is taken" + _same(
            _without_pattern(text, "Prefix")
        )
    if text and text[0].isalnum() and text.isprintable():
        return f"; write /{_cut(text)}"
    return ""


def host_advice(text: str) -> str:
    """What to do about a host that cannot be served, as the end of a sentence; empty: nothing is known."""
    text = text.strip()
    if text == "*":
        return "; for all hosts, leave the field out"
    if "://" in text or "/" in text:
        name = text.rpartition("://")[2].partition("/")[0]
        return f"; write the name alone: {_cut(name)}" if name else ""
    if re.search(r"[,;\s]", text):
        return "; write a rule for each host"
    if re.search(r"[\\^$()\[\]|+~]", text):
        return "; hosts are no regular expressions"
    if re.fullmatch(r"[^:]+:[0-9]*", text):
        return f"; write it without port: {_cut(text.partition(':')[0])}"
    if text.endswith(".") and len(text) > 1:
        return f"; write it without the dot at its end: {_cut(text.rstrip('.'))}"
    if "*" in text:
        return "; a wildcard stands for the whole first label, and only there: *.example.com"
    if not text.isascii() and len(text) <= 253:
        try:
            return f"; write it in ASCII: {_cut(text.encode('idna').decode('ascii'))}"
        except UnicodeError:
            return ""
    return ""


def _same(path: str, how: str = "same") -> str:
    if not path:
        return ""
    means = "takes the requests that are meant" if how == "same" else "is the nearest"
    return f"; {_cut(path)} {means}"


def _shown_kind(kind: str) -> str:
    return "Exact" if kind == "Exact" else "Prefix"


def _quoted(text: str) -> str:
    return ascii(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
