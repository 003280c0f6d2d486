"""The dialect of ingress-nginx: its annotations, defaults and order of effects."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectRef, Secret
from ingresskit.policies.base import Risk
from ingresskit.policies.dialects.base import AnnotationDoc, Dialect, DialectContext, Grants, Reading, Status
from ingresskit.policies.dialects.ingress_nginx.access import read_access
from ingresskit.policies.dialects.ingress_nginx.balancing import read_balancing
from ingresskit.policies.dialects.ingress_nginx.certificates import read_certificates
from ingresskit.policies.dialects.ingress_nginx.cors import read_cors
from ingresskit.policies.dialects.ingress_nginx.credentials import read_credentials
from ingresskit.policies.dialects.ingress_nginx.external_auth import read_external_auth
from ingresskit.policies.dialects.ingress_nginx.globals import RISKS, Fault, Globals
from ingresskit.policies.dialects.ingress_nginx.headers import read_headers
from ingresskit.policies.dialects.ingress_nginx.limits import read_limits
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.redirects import read_redirects
from ingresskit.policies.dialects.ingress_nginx.response_rewrites import read_response_rewrites
from ingresskit.policies.dialects.ingress_nginx.rewrites import read_rewrites
from ingresskit.policies.dialects.ingress_nginx.snippets import read_snippets
from ingresskit.policies.dialects.ingress_nginx.table import TABLE
from ingresskit.policies.dialects.ingress_nginx.traffic import read_traffic
from ingresskit.policies.dialects.ingress_nginx.upstream import read_upstream
from ingresskit.policies.dialects.ingress_nginx.upstream_tls import read_upstream_tls
from ingresskit.policies.dialects.native import NATIVE_PREFIX
from ingresskit.policies.kinds.shadow import Shadow, Shadowed
from ingresskit.policies.order import Order, Stage

__all__ = ["INGRESS_NGINX_ORDER", "INGRESS_NGINX_PREFIX", "IngressNginxDialect"]

INGRESS_NGINX_PREFIX = "nginx.ingress.kubernetes.io"
"""What stands before the ``/`` in the annotations of ingress-nginx."""

INGRESS_NGINX_ORDER: Final = Order(
    (
        Stage.CERTIFICATE,  # nginx judges the handshake before it looks at the request
        Stage.AGENT,  # block-user-agents: of the server, before nginx looks for a location
        Stage.BODY,  # nginx compares Content-Length as soon as it has found the location
        Stage.PLAIN_HTTP,  # of Kubernetes' own dialect: nothing of the route is told over plain HTTP
        Stage.PREFLIGHT,  # before the phases of access
        Stage.ACTION,  # redirects of the location stand in the rewrite phase
        Stage.TLS_REDIRECT,  # Lua, at the end of the rewrite phase
        Stage.RATE,  # the pre-access phase
        Stage.ADDRESS,  # the access phase: addresses first, then credentials
        Stage.AUTHENTICATION,
        Stage.REWRITE,
        Stage.HEADERS,
        Stage.UPSTREAM,
    )
)
"""The order in which ingress-nginx acts on a request.

Source: nginx, "Phases"; ingress-nginx at dbb11b92d, ``rootfs/etc/nginx/template/nginx.tmpl``.
"""

# Read by the readers of the themes, which judge their values.
_JUDGED: Final = frozenset({Status.HONOURED, Status.PARTLY, Status.WITHOUT_EFFECT})


class IngressNginxDialect(Dialect):
    """Reads the annotations of ingress-nginx with its defaults, also for Ingresses without annotations.

    Args:
        prefix: What stands before the slash: ingress-nginx's ``--annotations-prefix``.
        settings: Its ConfigMap; ``None``: every setting has its default.
        close_protections: Whether routes respond 503 that an annotation protects which is not built.
        shadow: Policies that refuse no request, and only count and log those that they would refuse.
        passthrough: Whether hosts may have their TLS connections passed on: ingress-nginx's
            ``--enable-ssl-passthrough``. Without it the annotation has no effect, as there.
        native_prefix: What messages name annotations of the native dialect by.
    """

    prefix: str
    globals_ref: ObjectKey | None
    kinds: frozenset[type[KubeObject]] = frozenset({ConfigMap, Secret})

    def __init__(
        self,
        *,
        prefix: str = INGRESS_NGINX_PREFIX,
        settings: ObjectKey | None = None,
        close_protections: bool = True,
        shadow: tuple[Shadowed, ...] = (),
        passthrough: bool = False,
        native_prefix: str = NATIVE_PREFIX,
    ) -> None:
        self.prefix = prefix
        self.globals_ref = settings
        self._close = close_protections
        self._native = native_prefix
        self._shadow = shadow
        self._passthrough = passthrough

    def grants(self, settings: Mapping[str, str], /) -> Grants:
        """What the ConfigMap itself names; with ``allow-cross-namespace-resources: "true"`` everything."""
        known = _globals(tuple(settings.items()))
        named = (known.request_fields, known.response_fields)
        return Grants(
            other_namespaces=known.cross_namespace,
            objects=frozenset(ObjectRef(ConfigMap.kind, key) for key in named if key is not None),
        )

    def table(self) -> tuple[AnnotationDoc, ...]:
        """All 138 annotations, sorted by name."""
        return tuple(row.doc for row in TABLE.values())

    def read(self, context: DialectContext, /) -> Reading:
        """The policies that the annotations and the ConfigMap ask for."""
        settings = _globals(tuple(context.globals.items()))
        annotations = Annotations(
            context, self.prefix, settings, close=self._close, passthrough=self._passthrough
        )
        faults = tuple(self._global_faults(settings.faults))
        self._refuse(annotations)
        for read in (
            read_upstream,
            read_balancing,
            read_redirects,
            read_rewrites,
            read_headers,
            read_response_rewrites,
            read_cors,
            read_access,
            read_credentials,
            read_certificates,
            read_upstream_tls,
            read_external_auth,
            read_limits,
            read_traffic,
        ):
            read(annotations)
        if self._shadow:
            annotations.add(Shadow(on_trial=self._shadow))
        read_snippets(annotations, self._native)
        for name in annotations.values:
            self._judge(annotations, name)
        closing = [fault for fault in faults if fault.severity is Severity.ERROR]
        return Reading(
            policies=annotations.policies(),
            aliases=tuple(annotations.aliases),
            regex_paths=annotations.regex_paths,
            slash_redirects=True,
            variant=annotations.variant,
            order=INGRESS_NGINX_ORDER,
            protection_fault=annotations.protection_fault or next(iter(closing), None),
            host_faults=tuple(annotations.host_faults),
            diagnostics=(
                *faults,
                *self._global_faults(tuple(annotations.operator_faults)),
                *annotations.diagnostics,
            ),
        )

    def _refuse(self, annotations: Annotations) -> None:
        """Take out what the operator forbids: annotations above a risk, and values with certain words."""
        settings = annotations.settings
        for name, text in list(annotations.values.items()):
            row = TABLE.get(name)
            word = next((word for word in settings.blocked_words if word in text), None)
            if word is not None:
                message = f"its value has {word!a}, which annotation-value-word-blocklist forbids"
            elif row is None or not text or row.doc.risk is Risk.CRITICAL:
                continue  # snippets are judged by themselves
            elif RISKS.index(row.doc.risk) > RISKS.index(settings.risk):
                message = f"its risk is {row.doc.risk}, above annotations-risk-level {settings.risk}"
            else:
                continue
            annotations.refuse(name, Reason.ANNOTATION_INVALID, message)
            del annotations.values[name]

    def _judge(self, annotations: Annotations, name: str) -> None:
        """Report an annotation that is not known or not built, if it asks for something."""
        row = TABLE.get(name)
        if row is None:
            annotations.warn(name, Reason.ANNOTATION_UNKNOWN, self._unknown(name))
            return
        if row.doc.status in _JUDGED or row.doc.risk is Risk.CRITICAL:
            return
        if not annotations.asks(row):
            return
        note = row.doc.note.format(native=self._native)
        if row.doc.status is Status.CLOSED:
            message = "this protection is not built"
            annotations.close(name, Reason.ANNOTATION_UNSUPPORTED, f"{message}; {note}" if note else message)
        else:
            message = "it is not built and has no effect"
            annotations.warn(name, Reason.ANNOTATION_UNSUPPORTED, f"{message}; {note}" if note else message)

    def _unknown(self, name: str) -> str:
        message = f"ingress-nginx has no annotation {name[:100]!a}; it has no effect there either"
        near = difflib.get_close_matches(name[:100], TABLE, 1)
        return f"{message}; did you mean {self.prefix}/{near[0]}?" if near else message

    def _global_faults(self, faults: tuple[Fault, ...]) -> tuple[Diagnostic, ...]:
        if self.globals_ref is None:
            return ()
        subject = ObjectRef(ConfigMap.kind, self.globals_ref)
        return tuple(
            Diagnostic(
                subject=subject,
                field=f"data[{fault.key}]",
                reason=Reason.ANNOTATION_UNSUPPORTED,
                message=fault.message,
                severity=Severity.ERROR if fault.protects and self._close else Severity.WARNING,
            )
            for fault in faults
        )


@lru_cache(maxsize=8)
def _globals(data: tuple[tuple[str, str], ...]) -> Globals:
    return Globals.parse(dict(data))
