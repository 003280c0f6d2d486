"""The normal form of a path in nginx's own words, without a module: maps, and one internal change of the URI.

nginx matches a location against a path in which every escape is decoded, and hands on the path as the
client sent it. We match and hand on one form, that of `ingresskit.graph.normalise_path`. So the path as
sent (``$request_uri``) is sorted into one of these forms, most frequent first:

``plain``    It is in normal form and has no escape. nginx sees just that.
``escaped``  It is in normal form and has escapes. The URI is set to the text itself, escapes and all, so
             that ``/a%2Fb`` is matched as ``/a%2Fb``; that text is handed on.
``cleaned``  It is not in normal form, and what nginx makes of it is: its decoding loses nothing, for no
             escape stands for a character that could also stand there by itself, and leaves nothing that
             would have to be escaped. What nginx made of it is handed on.
``decoded``  The same, but something would have to be escaped. nginx matches its decoded form, and escapes it
             again when it hands it on, which gives the normal form. Locations whose path has escapes are
             written twice for this, see `decoded_twin`.
``mended``   A few simple faults (slashes, dot elements, an escape in lower case) beside such escapes are
             mended one by one, up to `_PASSES` of them; then as ``escaped``.
``refused``  All else: gets 400.

What is refused although it has a normal form: a path with an escape of a reserved character, of ``%``,
or of a bracket, that needs more mending than that, or escapes a letter or digit besides; and one that
leads above the root once escaped slashes are taken for slashes.

Every capture has a name of its own and is used in its own map only: CVE-2026-42945 and CVE-2026-42533
need captures that one pattern takes from another.
"""

from __future__ import annotations

import re
from typing import Final

from ingresskit.render.nginx.tree import Block, Directive, Node, Value, Variable

__all__ = [
    "BARE_TARGET",
    "FORWARDED_URI",
    "LOCAL_REPLY_PATH",
    "TARGET",
    "decoded_twin",
    "normal_form_checks",
    "normal_form_maps",
    "outside_local_replies",
]

FORWARDED_URI: Final = Variable("ik_uri")
"""What goes behind the upstream's name in ``proxy_pass``: empty where nginx shall write the path itself."""

LOCAL_REPLY_PATH: Final = "//ik-local-reply"
"""The path of the location that responds to requests without a path. No client's path: it is not normal."""

TARGET: Final = Variable("ik_target")
"""Path and query for a redirect to the same place, in normal form; of a ``decoded`` one, as sent."""

BARE_TARGET: Final = Variable("ik_bare_target")
"""The same without a slash at its end, where it has no query."""

_PASSES: Final = 6

_CHARACTERS = r"[A-Za-z0-9._~!$&'()*+,;=:@-]"
# Upper case, not of an unreserved character, not of a control character.
_ESCAPES = r"%(?:2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[BCD]|[89A-F][0-9A-F])"
_HIDDEN_DOTS = r"(?:(?:/|\\|%2f|%5c)(?:\.|%2e){1,2}(?:\\|%2f|%5c|;|%3b)|(?:\\|%2f|%5c)(?:\.|%2e){1,2}(?:/|$))"
_PLAIN = r"^(?=/)(?!.{8001})(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*+)*+/?$"
_NORMAL = rf"^(?:/(?!\.{{1,2}}(?:/|$))(?:{_CHARACTERS}|{_ESCAPES})++)*+/?$"
_REFUSED = rf"(?:^$|^.{{8001}}|[\x80-\xff]|%(?![0-9a-f]{{2}})|%(?:[01][0-9a-f]|7f)|{_HIDDEN_DOTS})"
# Escapes of %, / and the delimiters of RFC 3986 that may stand in a path, and both brackets.
_RESERVED = r"2[1456789abcf]|3[abd]|40|5[bd]"
_DECODABLE = rf"^(?:[^%\[\]]|%(?!{_RESERVED}))*+$"
_DECODED_TWIN = re.compile(rf"(?:[^%\[\]]|%(?!{_RESERVED}))*", re.IGNORECASE)
_UNESCAPED = r"^[A-Za-z0-9._~!$&'()*+,;=:@/-]*+$"
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")


def normal_form_maps() -> tuple[Node, ...]:
    """Maps for the ``http`` block: from ``$request_uri`` to ``$ik_form`` and what follows from it."""
    mended = [_map(_name(step - 1), _name(step), *_mending(step)) for step in range(1, _PASSES + 1)]
    form, uri, path = Variable("ik_form"), Variable("uri"), Variable("ik_path")
    query, last = Variable("ik_query"), Variable(_name(_PASSES))
    whole = Value(uri, query)
    return (
        _map(
            "request_uri",
            "ik_path",
            ("~#", ""),
            (r"~^(?<ik_c_path>/[^?]*+)", Value(Variable("ik_c_path"))),
            ("default", ""),
        ),
        # As sent, with its mark: "/?" is not "/".
        _map(
            "request_uri",
            query.name,
            (r"~^[^?]*+(?<ik_c_query>\?.*)$", Value(Variable("ik_c_query"))),
            ("default", ""),
        ),
        _map(
            "ik_path",
            "ik_form",
            (f"~{_PLAIN}", "plain"),
            (f"~*{_REFUSED}", "refused"),
            (f"~{_NORMAL}", "escaped"),
            (f"~*{_DECODABLE}", Value(Variable("ik_decoded_form"))),
            ("default", Value(Variable("ik_mended_form"))),
        ),
        _map("uri", "ik_decoded_form", (f"~{_UNESCAPED}", "cleaned"), ("default", "decoded")),
        *mended,
        _map(last.name, "ik_mended_form", (f"~{_NORMAL}", "mended"), ("default", "refused")),
        _map(
            "ik_form",
            "ik_normal_uri",
            ("refused", LOCAL_REPLY_PATH),
            ("escaped", Value(path)),
            ("mended", Value(last)),
            ("default", Value(uri)),
        ),
        _map(form.name, FORWARDED_URI.name, ("decoded", ""), ("default", whole)),
        _map(
            form.name,
            TARGET.name,
            ("mended", Value(last, query)),
            ("cleaned", whole),
            ("default", Value(Variable("request_uri"))),
        ),
        _map(
            TARGET.name,
            BARE_TARGET.name,
            ("~^(?<ik_c_bare>[^?]+)/$", Value(Variable("ik_c_bare"))),
            ("default", Value(TARGET)),
        ),
        _map(
            "ik_host_fault",
            "ik_judged_uri",
            ("1", LOCAL_REPLY_PATH),
            ("default", Value(Variable("ik_normal_uri"))),
        ),
        outside_local_replies("ik_start_uri", Value(Variable("ik_judged_uri")), LOCAL_REPLY_PATH),
    )


def normal_form_checks() -> tuple[Node, ...]:
    """What each server does first: match the normal form of the path, and respond 400 where it has none.

    Always the same directive, because each ``if`` would cost every server as much memory as a location.
    No pattern with a capture, and no "?" in what replaces it: the query stays as it is.
    """
    return (Directive("rewrite", ("^", Value(Variable("ik_start_uri")))),)


def outside_local_replies(name: str, value: Value, else_: str = "") -> Block:
    """A map to a variable that is *value*, and *else_* while nginx makes a response of its own.

    For that, nginx goes through the server once more, with another path.
    """
    body = (Directive("volatile"), Directive(LOCAL_REPLY_PATH, (else_,)), Directive("default", (value,)))
    return Block("map", (Variable("uri"), Variable(name)), body)


def decoded_twin(path: str) -> str | None:
    """A path of a rule as nginx decodes it; ``None`` when that is the same, or no ``decoded`` request is its.

    Args:
        path: In normal form. The bytes of the result that are not UTF-8 are surrogates.
    """
    if "%" not in path or not _DECODED_TWIN.fullmatch(path):
        return None
    decoded = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), path.encode("ascii"))
    return decoded.decode("utf-8", "surrogateescape")


def _mending(step: int) -> tuple[tuple[str, str | Value], ...]:
    """One fault mended: the first that is found, in an order in which none hides another."""
    rows: list[tuple[str, str | Value]] = []

    def row(name: str, pattern: str, replacement: str) -> None:
        before, after = Variable(f"ik_c_{name}{step}a"), Variable(f"ik_c_{name}{step}b")
        rows.append(
            (
                rf"~^(?<{before.name}>.*?){pattern}(?<{after.name}>.*)$",
                Value(before, replacement, after),
            )
        )

    row("dot", "%2[Ee]", ".")
    row("slashes", "//+", "/")
    row("same", r"/\.(?:/|$)", "/")
    # The left-most, so that what stands before it is no dot element.
    row("up", r"/(?!\.\.(?:/|$))[^/]+/\.\.(?:/|$)", "/")
    row("dash", "%2[Dd]", "-")
    row("line", "%5[Ff]", "_")
    row("tilde", "%7[Ee]", "~")
    row("open", r"\[", "%5B")
    row("close", r"\]", "%5D")
    for digits in ("2a", "2b", "2c", "2f", "3a", "3b", "3d", "5b", "5d"):
        row(f"h{digits}", f"%{digits}", f"%{digits.upper()}")
    rows.append(("default", Value(Variable(_name(step - 1)))))
    return tuple(rows)


def _name(step: int) -> str:
    return f"ik_mended_{step}" if step else "ik_path"


def _map(source: str, result: str, *rows: tuple[str, str | Value]) -> Block:
    body = tuple(Directive(key, (value,)) for key, value in rows)
    return Block("map", (Variable(source), Variable(result)), body)
