"""Write the pages on annotations from the dialects themselves: `python scripts/annotations.py`."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ingresskit.policies import (
    FOREIGN_FAMILIES,
    INGRESS_NGINX_ORDER,
    INGRESS_NGINX_PREFIX,
    NATIVE_PREFIX,
    AnnotationDoc,
    AppRoot,
    Canary,
    EndpointPreference,
    IngressNginxDialect,
    NativeDialect,
    PermanentRedirect,
    PlainHttp,
    Policy,
    ServiceUpstream,
    Status,
    TlsPassthrough,
    TrafficSplit,
    UpstreamProtocol,
    WwwRedirect,
)
from ingresskit.policies.dialects.ingress_nginx.meanings import MEANINGS
from ingresskit.render import Loss, Renderer, Support
from ingresskit.render.haproxy import HaproxyRenderer
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.render.nginx import NginxRenderer
from ingresskit.render.nginx.dynamic.renderer import DynamicRenderer
from ingresskit.render.nginx.static.renderer import StaticRenderer

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "annotations.md"
INGRESS_NGINX_PAGE = DOCS / "ingress-nginx.md"

_INGRESS_NGINX = f"""\
<!-- Written by scripts/annotations.py from the dialect; do not edit. -->

# Annotations of ingress-nginx

With `--dialect ingress-nginx` the annotations under `{INGRESS_NGINX_PREFIX}/` are read as ingress-nginx reads \
them; in a program, put an `IngressNginxDialect` into the registry:

```python
from ingresskit import TranslateOptions
from ingresskit.policies import IngressNginxDialect, KubernetesDialect, PolicyRegistry

options = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(), KubernetesDialect()]))
```

Its defaults hold for every Ingress, also for one without annotations: bodies of 1 MiB at most, 5 seconds to \
connect, 60 between two reads or writes, three tries, and HSTS of a year with subdomains over TLS.
Booleans are read as Go reads them, numbers of seconds have no unit, and lines of text are trimmed.
A value that cannot be read leaves the default, and is reported as \
[AnnotationInvalid](diagnostics.md#annotationinvalid); an unreadable allow list closes the routes (503).

Policies act in the order of the phases of nginx:

{{order}}

With `--dialect native --dialect ingress-nginx` both are read; where they set the same, the native annotation \
wins and a Diagnostic says so.

## Status

| status | what becomes of the annotation |
|---|---|
| honoured | it does what it does in ingress-nginx |
| partly | some of its values do; a Diagnostic reports the others |
| reported | it is not built and has no effect; a Diagnostic says so |
| closed | it protects and is not built: the routes of the Ingress respond 503, and a Diagnostic says so |
| without effect | nothing is lost without it: it is a detail of another one, or has no meaning here |

`--foreign-protections warn` serves routes whose protection is not built, without it.
Paths at or below `/.well-known/acme-challenge` stay open, so that certificates can be made.

Snippets are never executed.
They close the routes, for one may protect them, and the Diagnostic names the native annotations that do what \
the common directives did.
With `annotations-risk-level: Critical` and `allow-snippet-annotations: "false"` in the ConfigMap they are \
left out, as ingress-nginx leaves them out.

## The ConfigMap

`--configmap NS/NAME` names it; `IngressNginxDialect(settings=ObjectKey(...))` does in a program.
Read are the keys that set an annotation for every Ingress (the table names them), and \
`annotations-risk-level`, `allow-snippet-annotations`, `annotation-value-word-blocklist`, \
`allow-cross-namespace-resources` and `global-allowed-response-headers`.
`proxy-set-headers` and `add-headers` name ConfigMaps of the operator, in any namespace, whose fields every \
request to an endpoint and every response of one gets; variables of nginx in their values are not read. \
`hide-headers` names fields of endpoints that clients do not get.
`block-user-agents` and `block-referers` are lists of texts and of regular expressions (`~`, `~*`) that can be \
matched in linear time; one that cannot closes all routes.
`enable-modsecurity` protects every route and is not built: it closes all of them \
([why](decisions/0027-firewalls-close-routes.md)).
`global-auth-url` and the keys that begin with `global-auth-` hold for every Ingress without `auth-url` and \
`enable-global-auth: "false"`; `no-auth-locations` names the rules, by their own paths, that ask nobody.
Any other key that would change how a route is served is reported once.

An annotation may name Secrets and ConfigMaps of its own namespace only, unless the ConfigMap has \
`allow-cross-namespace-resources: "true"`.
"""

_INTRODUCTION = f"""\
---
search:
  boost: 4
---

<!-- Written by scripts/annotations.py from the policies; do not edit. -->

# Annotations

An annotation of an Ingress says how its paths are served.
All of them begin with `{NATIVE_PREFIX}/`:

```yaml
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations:
    {NATIVE_PREFIX}/read-timeout: 30s
    {NATIVE_PREFIX}/body-limit: 8m
```

Nothing is ignored silently.
An annotation under this prefix that nobody knows is reported as
[AnnotationUnknown](diagnostics.md#annotationunknown), with the nearest name that is known.
A value that is not of the form given below is reported as
[AnnotationInvalid](diagnostics.md#annotationinvalid);
the annotation is then ignored, and the rest of the Ingress is served.
A renderer that cannot honour a policy says so with
[PolicyUnsupported](diagnostics.md#policyunsupported).

A policy that **protects** its routes fails closed:
when it cannot be read or the renderer cannot honour it, they respond 503 instead of being served without it.

Values are read as a whole, by the grammar in the table and nothing more.
*Scope* is what the annotation acts on: the routes of its Ingress, their host, or the Service behind them.
*Risk* is what it lets its author do: **low** changes how their own paths are served, **medium** reaches other
paths or objects of their namespace or host, **high** what lies outside.
White space around them does not matter.
"""

_OTHERS = f"""\
## Plain HTTP refused

`kubernetes.io/ingress.allow-http: "false"` is an annotation of Kubernetes' own name, and is honoured:
requests over plain HTTP for the paths of that Ingress get 403, and no redirect to HTTPS either.
A request that a trusted proxy took over TLS is served.
The value is read as Go reads it (`true`, `1`, `t`; `false`, `0`, `f`); with any other value the routes \
respond 503.

This policy **protects** its routes.
Honoured by every renderer.

## Annotations of other controllers

With `--dialect ingress-nginx` [its annotations](ingress-nginx.md) are read.
Those under the prefixes of other ingress controllers are not, and none is dropped in silence:
each that asks for something is reported as [AnnotationForeign](diagnostics.md#annotationforeign), with the \
native annotation that does the same, where there is one.
Where it **protects**, the routes of the Ingress respond 503 until it is replaced or removed; \
`--foreign-protections warn` (in a program, \
`TranslateOptions(foreign_protections=ForeignProtections.WARN)`) serves them open.
A snippet, plugin, middleware or policy protects, since its content is unknown; a rate limit does not.
A path at or below `/.well-known/acme-challenge` stays open, as other controllers leave it.
Where the native annotation stands beside the foreign one, nothing is said, so that an Ingress can serve \
two controllers.

Some controllers read annotations of Services too.
Here no annotation of a Service is read, and the same is reported for them: routes to a Service that asks \
for a protection respond 503.

Known are {{controllers}}.
Annotations of other tools (cert-manager, external-dns, Helm, Argo CD, kubectl) and of anybody else are \
left alone.

A prefix that is a slip of `{NATIVE_PREFIX}/` is reported as \
[AnnotationUnknown](diagnostics.md#annotationunknown), and closes like a foreign one where the annotation \
looks like a protection.
""".format(controllers=", ".join(sorted({item.controller for item in FOREIGN_FAMILIES}, key=str.lower)))


def page() -> str:
    """The whole page, as it stands in docs/annotations.md."""
    dialect = NativeDialect()
    tables: dict[type[Policy], list[AnnotationDoc]] = {}
    for row in dialect.table():
        tables.setdefault(row.policies[0], []).append(row)
    lines = [_INTRODUCTION]
    for policy in dialect.policies:
        lines += [f"## {policy.__name__}", "", *_about(policy), ""]
        lines += ["| annotation | value | default | meaning | scope | risk |", "|---|---|---|---|---|---|"]
        lines += [_row(row) for row in tables[policy]]
        lines.append("")
    return "\n".join([*lines, *_support(dialect.policies), "", _OTHERS])


_RENDERERS: Mapping[str, type[Renderer[Any]]] = {
    "in-process proxy": InProcessRenderer,
    "HAProxy": HaproxyRenderer,
    "nginx, dynamic mode": DynamicRenderer,
    "nginx, static mode": StaticRenderer,
}
_WORDS = {Support.NATIVE: "native", Support.DELEGATED: "delegated", Support.NONE: "no"}


def _support(policies: Iterable[type[Policy]]) -> Iterator[str]:
    """The matrix of policies and renderers, from their tables of handlers."""
    yield "## Support by renderer"
    yield ""
    yield "*Native*: the proxy does it by itself."
    yield "*Delegated*: it hands the requests over to the delegate, an in-process proxy in a process beside it."
    yield "*No*: the policy is reported as [PolicyUnsupported](diagnostics.md#policyunsupported), and so is a \
delegated one where there is no delegate."
    yield ""
    yield f"| policy | {' | '.join(_RENDERERS)} |"
    yield f"|{'---|' * (len(_RENDERERS) + 1)}"
    notes: list[str] = []
    for policy in (*policies, PlainHttp):
        if policy in _IN_THE_GRAPH:
            yield f"| {policy.__name__} |{' native |' * len(_RENDERERS)}"
            continue
        found = {name: _supported(renderer, policy) for name, renderer in _RENDERERS.items()}
        yield f"| {policy.__name__} | {' | '.join(_WORDS[whole] for whole, _ in found.values())} |"
        for field in dict.fromkeys(item.field for _, losses in found.values() for item in losses if item.field):
            annotation = f"`{policy.annotations()[field].name}`"
            cells: list[str] = []
            for name, (whole, losses) in found.items():
                lost = [item for item in losses if item.field == field]
                cells.append(" and ".join(dict.fromkeys(f"{_WORDS[item.support]}, in part" for item in lost)))
                cells[-1] = cells[-1] or _WORDS[whole]
                notes += (f"- {annotation}, {name}: {item.message}; {item.effect}." for item in lost)
            yield f"| {annotation} | {' | '.join(cells)} |"
    flags = {"variants of a path": "matches_variants", "regular expressions as paths": "matches_patterns"}
    for words, flag in flags.items():
        cells = ["native" if getattr(renderer, flag) else "delegated" for renderer in _RENDERERS.values()]
        yield f"| {words} | {' | '.join(cells)} |"
    if notes:
        yield ""
        yield "What *in part* means, without a delegate:"
        yield ""
        yield from notes


def _supported(renderer: type[Renderer[Any]], policy: type[Policy]) -> tuple[Support, tuple[Loss, ...]]:
    """How a renderer supports a policy, and what it does not do of it."""
    if policy is TlsPassthrough:
        # The graph has it as streams, for which renderers have no handlers.
        return (Support.NATIVE if renderer.passes_tls else Support.NONE), ()
    return renderer.handlers.support(policy)


def ingress_nginx_page() -> str:
    """The whole page, as it stands in docs/ingress-nginx.md."""
    rows = IngressNginxDialect().table()
    order = "\n".join(f"{place}. {stage}" for place, stage in enumerate(INGRESS_NGINX_ORDER.stages, 1))
    counts = Counter(row.status for row in rows)
    lines = [_INGRESS_NGINX.format(order=order), "## All annotations", ""]
    shown = ", ".join(f"{counts[status]} {status}" for status in Status)
    lines += [f"{len(rows)} annotations: {shown}.", ""]
    lines += ["| annotation | value | default | status | meaning | scope | risk | ConfigMap |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row in rows:
        note = f" ({row.note.format(native=NATIVE_PREFIX)})" if row.note else ""
        key = f"`{row.global_key}`" if row.global_key else ""
        default = f"`{row.default}`" if row.default else ""
        cells = (f"`{row.name}`", row.value, default, f"{row.status}{note}", row.summary)
        lines.append(f"| {' | '.join((*cells, str(row.scope), str(row.risk), key))} |")
    return "\n".join([*lines, "", *_matrix(rows), ""])


def _matrix(rows: Iterable[AnnotationDoc]) -> Iterator[str]:
    """Each annotation on each renderer, or why it is not honoured."""
    yield "## Support by renderer"
    yield ""
    yield "*Native*: the proxy does it by itself."
    yield "*Delegated*: it hands the requests over to the [delegate](delegate.md)."
    yield "*In part*: some values of the annotation, which the [page of the native annotations]\
(annotations.md#support-by-renderer) names; the others as the word before says."
    yield ""
    yield f"| annotation | {' | '.join(_RENDERERS)} | what is not honoured, and why |"
    yield f"|{'---|' * (len(_RENDERERS) + 2)}"
    for row in rows:
        note = row.note.format(native=NATIVE_PREFIX)
        cells = [_cell(row, renderer) for renderer in _RENDERERS.values()]
        yield f"| `{row.name}` | {' | '.join(cells)} | {note} |"


def _cell(row: AnnotationDoc, renderer: type[Renderer[Any]]) -> str:
    match row.status:
        case Status.WITHOUT_EFFECT:
            return "nothing to do"
        case Status.REPORTED:
            return "no"
        case Status.CLOSED:
            return "no: closed"
        case Status.HONOURED | Status.PARTLY:
            partly = row.status is Status.PARTLY
    if (meaning := MEANINGS.get(row.name)) is None:
        sys.exit(f"{row.name} is {row.status}: say in ingress_nginx/meanings.py which fields it sets")
    words: list[str] = []
    if meaning.variants or meaning.patterns:
        does = renderer.matches_variants if meaning.variants else renderer.matches_patterns
        words.append(_WORDS[Support.NATIVE if does else Support.DELEGATED])
    for kind, field in meaning.fields:
        if kind in _IN_THE_GRAPH:
            words.append(_WORDS[Support.NATIVE])
            continue
        whole, losses = _supported(renderer, kind)
        word = _WORDS[whole]
        if whole is Support.NATIVE:
            lost = dict.fromkeys(_WORDS[loss.support] for loss in losses if loss.field == field)
            word += "".join(f", in part {support}" for support in lost)
        words.append(word)
    text = " or ".join(dict.fromkeys(words)) or _WORDS[Support.NATIVE]
    return f"partly: {text}" if partly and text != _WORDS[Support.NONE] else text


def _about(policy: type[Policy]) -> Iterator[str]:
    text = (inspect.getdoc(policy) or "").partition("\nAttributes:")[0].strip().replace("``", "`")
    for paragraph in text.split("\n\n"):
        sentence = " ".join(paragraph.split())
        yield sentence.replace(". ", ".\n")
        yield ""
    protects = "This policy **protects** its routes.\n" if policy.protects else ""
    yield protects + f"Honoured by {_honoured_by(policy)}."


# These say what a route does rather than how: the translator turns them into actions of the graph.
_IN_THE_GRAPH = frozenset(
    {
        AppRoot,
        Canary,
        EndpointPreference,
        PermanentRedirect,
        ServiceUpstream,
        TrafficSplit,
        UpstreamProtocol,
        WwwRedirect,
    }
)


def _honoured_by(policy: type[Policy]) -> str:
    if policy in _IN_THE_GRAPH:
        return "every renderer, for it is part of the route graph itself"
    renderers = {
        "in-process proxy": InProcessRenderer.supports,
        "HAProxy": HaproxyRenderer.supports,
        "nginx": NginxRenderer.supports,
    }
    names = [name for name, supported in renderers.items() if policy in supported]
    if policy is TlsPassthrough:
        passing = {"in-process proxy": InProcessRenderer, "HAProxy": HaproxyRenderer, "nginx": NginxRenderer}
        names = [name for name, renderer in passing.items() if renderer.passes_tls]
    return "every renderer" if len(names) == len(renderers) else ", ".join(names) or "no renderer yet"


def _row(row: AnnotationDoc) -> str:
    default = f"`{row.default}`" if row.default else "none"
    cells = (
        f"`{NATIVE_PREFIX}/{row.name}`",
        row.value,
        default,
        row.summary,
        str(row.scope),
        str(row.risk),
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    INGRESS_NGINX_PAGE.write_text(ingress_nginx_page(), encoding="utf-8")
