"""The rules that read a request: is it one, for which host, for which path in normal form.

They say the same as `ingresskit.graph.normalise_host` and `ingresskit.graph.normalise_path`; a test holds
both to each other through a running HAProxy. Nearly all requests are in normal form already, and skip
most of it after one regular expression.

Order matters: characters that may not stand in a path are escaped before escapes are judged, hidden dot
elements are looked for while dots are still there, slashes are merged before dots are resolved.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ingresskit.graph import PathOptions
from ingresskit.render.error_bodies import sentence
from ingresskit.render.haproxy.capabilities import Capabilities
from ingresskit.render.haproxy.lines import Lines, plain_text, refused, substituted
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.settings import HaproxySettings
from ingresskit.render.haproxy.spellings import ALIASES

__all__ = ["HOST", "NUL", "add_asterisk", "add_bodied", "add_host", "add_names", "add_path", "add_request_line"]

_PORT: Final = "[0-9]{1,4}|[0-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"  # 0 to 65535
HOST: Final = rf"^(\[[0-9A-Fa-f:.]{{2,45}}\]|[A-Za-z0-9._-]{{0,254}}[A-Za-z0-9_-])\.?(:({_PORT})?)?$"
"""A regular expression for a ``Host`` field that can be one."""

_NORMAL_HOST: Final = "^[a-z0-9_-]+([.][a-z0-9_-]+)*$"
_DOT_BEFORE_PORT: Final = r"\.(:[0-9]*)?$"
_PORT_ALONE: Final = r"\1"

_NORMAL_PATH: Final = r"^(/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)*/?$"
NUL: Final = r"\x00"
"""A regular expression for what no header field may have."""
_NOT_IN_A_TARGET: Final = "[^!-~]|#"
_WHOLE_URL: Final = "^https?://[^/?]"
_NO_PATH: Final = "^([*]|https?://[^/?*]+)$"
_LONGEST_METHOD: Final = 32
_CONTROL: Final = "%(0[0-9A-Fa-f]|1[0-9A-Fa-f]|7[Ff])"
_WRONG_ESCAPE: Final = "%([^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?$)"
_DOUBTFUL: Final = "(;|%3B|%2F|%5C)"
_HIDDEN_DOTS: Final = r"(/|%2F|%5C)\.{1,2}(%2F|%5C|;|%3B)|(%2F|%5C)\.{1,2}(/|$)"
# What HAProxy lets through and RFC 3986 does not: as a regular expression, and as it is escaped.
_ESCAPED: Final = (
    ('"', "%22"),
    ("<", "%3C"),
    (">", "%3E"),
    (r"\[", "%5B"),
    (r"\\", "%5C"),
    (r"\]", "%5D"),
    (r"\^", "%5E"),
    ("`", "%60"),
    (r"[{]", "%7B"),
    (r"[|]", "%7C"),
    (r"[}]", "%7D"),
)
_HAS_UNESCAPED: Final = r'["<>\[\\^`{|}]|\]'


def add_request_line(section: Lines, settings: HaproxySettings, capabilities: Capabilities) -> None:
    """Refuse what is no request for a reverse proxy."""
    section.note("What is not a request for a reverse proxy is refused.")
    coded = "{ req.fhdr(transfer-encoding) -m found }"
    section.request(
        f"return status 505 {plain_text(sentence(505))} if {{ fc_http_major 1 }} !{{ req.ver 1.0 1.1 }}",
        "deny deny_status 405 if METH_CONNECT or METH_TRACE",
        f"deny deny_status 400 unless {{ method -m len 1:{_LONGEST_METHOD} }}",
        f"return status 414 {plain_text(sentence(414))}"
        f" if {{ url,length gt {settings.max_request_line_bytes} }}",
        f"deny deny_status 400 if {{ url -m reg {quote(_NOT_IN_A_TARGET)} }}",
        # Endpoints read other forms in other ways, and would take the body for the next request.
        f"deny deny_status 400 if {coded} !{{ req.fhdr(transfer-encoding) -m str -i chunked }}",
        f"deny deny_status 400 if {coded} {{ req.fhdr_cnt(transfer-encoding) gt 1 }}",
        f"deny deny_status 400 if {coded} {{ req.ver 1.0 }}",
        *(
            ()
            if capabilities.refuses_nul
            else (rf"deny deny_status 400 if {{ req.hdrs -m reg {quote(NUL)} }}",)
        ),
        f"return status 417 {plain_text(sentence(417))}"
        " if { req.fhdr(expect) -m found } !{ req.fhdr(expect) -m str -i 100-continue }"
        " or { req.fhdr_cnt(expect) gt 1 }",
    )


def add_names(section: Lines, settings: HaproxySettings) -> None:
    """Take out fields whose names some applications cannot tell from others."""
    section.note("Names that some applications cannot tell from others (X_Real_IP, X.Real.IP) go no further.")
    section.request(
        *(() if settings.underscores_in_headers else ("del-header _ -m sub",)),
        *(f"del-header {quote(alias)} -m reg" for alias in ALIASES),
    )


def add_host(section: Lines) -> None:
    """Leave the host in ``txn.host``, lower case, without port and trailing dot; ``Host`` with the port."""
    tidy = f"%[req.fhdr(host),lower,{substituted(':$', '')},{substituted(_DOT_BEFORE_PORT, _PORT_ALONE)}]"
    odd = "{ var(txn.odd_host) -m found }"
    section.note("The host, in normal form: txn.host. HAProxy has seen to it that there is one at most.")
    section.request(
        "set-var(txn.host) req.fhdr(host)",
        f"set-var(txn.odd_host) bool(true) unless {{ var(txn.host) -m reg {quote(_NORMAL_HOST)} }}"
        " { var(txn.host) -m len 1:255 }",
        f"deny deny_status 400 if {odd} !{{ var(txn.host) -m reg {quote(HOST)} }}",
        f"set-header Host {quote(tidy)} if {odd}",
        f"set-var(txn.host) {quote('req.fhdr(host),' + substituted(':[0-9]*$', ''))} if {odd}",
    )


def add_asterisk(section: Lines, capabilities: Capabilities) -> None:
    """Respond to OPTIONS requests for the server as a whole (RFC 9110, section 9.3.7), without any route."""
    section.note(
        'OPTIONS of "*", or of a URL without a path, is about this proxy. HTTP/2 has the second for both.'
    )
    asked = f"METH_OPTIONS {{ url -m reg -i {quote(_NO_PATH)} }} !{{ path -m found }}"
    section.request(
        f"set-var(txn.path) str(*) if {asked}",
        *refused("return status 200", "{ var(txn.path) -m found }", capabilities),
    )


def add_path(section: Lines, options: PathOptions) -> None:
    """Bring the path of the request itself into normal form, and leave it in ``txn.path``."""
    section.note(
        "A target that is a whole URL becomes a path; HAProxy has seen to it that its host is that of Host."
    )
    section.request(
        # In HTTP/2, an authority is optional: HAProxy takes Host for it.
        f"deny deny_status 400 unless {{ url -m beg / }} or {{ url -m reg -i {quote(_WHOLE_URL)} }}",
        # Over HTTP/2 it is "*" that looks like a URL without a path.
        "set-uri / if { url -m reg -i ^https?://[^/?*]+$ } !{ path -m found } !{ req.ver 2.0 }",
        "set-uri %[pathq] unless { url -m beg / }",
        "deny deny_status 400 unless { path -m beg / }",
    )
    section.note("The path, in normal form. The query is set aside, and stays as it is.")
    odd = "{ var(txn.odd) -m found }"
    section.request(
        f"set-var(txn.odd) bool(true) unless {{ path -m reg {quote(_NORMAL_PATH)} }}",
        f"deny deny_status 400 if {odd} {{ path -m reg {quote(_CONTROL)} }}",
        f"deny deny_status 400 if {odd} {{ path -m reg {quote(_WRONG_ESCAPE)} }}",
        f"set-var(txn.query) {quote('pathq,' + substituted('^[^?]*', ''))} if {odd}",
        f"set-uri %[path] if {odd}",
    )
    unescaped = f"{{ path -m reg {quote(_HAS_UNESCAPED)} }}"
    escaped = ",".join(("%[path", *(substituted(pattern, escape, "g") for pattern, escape in _ESCAPED)))
    section.request(
        f"set-uri {quote(escaped + ']')} if {odd} {unescaped}",
        # HAProxy 2.6 forgets what to do when a condition follows and the optional word is not there.
        f"normalize-uri percent-decode-unreserved strict if {odd}",
        f"normalize-uri percent-to-uppercase strict if {odd}",
        f"deny deny_status 400 if {odd} {{ path -m reg {quote(_HIDDEN_DOTS)} }}",
        *((f"deny deny_status 400 if {{ path -m reg {quote(_DOUBTFUL)} }}",) if options.strict else ()),
        *((f"normalize-uri path-merge-slashes if {odd}",) if options.merge_slashes else ()),
        f"normalize-uri path-strip-dot if {odd}",
        "normalize-uri path-strip-dotdot",
        # What is left of ".." at the beginning leads above the root.
        f"deny deny_status 400 if {odd} {{ path -m beg /../ }}",
        f"deny deny_status 400 if {odd} {{ path -m str /.. }}",
        "deny deny_status 400 if { path,length gt 8000 }",
        "set-var(txn.path) path",
        f"set-uri %[path]%[var(txn.query)] if {odd}",
    )


def add_bodied(section: Lines, flags: Iterable[str]) -> None:
    """Note that a request has a body, for `BODIED`, where its route has one of *flags*.

    Most requests have none, and are spared the rules on bodies.
    """
    judged = f"{{ var(txn.flags) -m sub {' '.join(sorted(flags))} }}"
    section.note("What is judged of bodies concerns requests that have one.")
    section.request(
        f"set-var(txn.bodied) bool(true) unless !{judged} or {{ internal.htx.has_eom }} {{ req.body_len eq 0 }}"
    )
