"""What becomes of everything that ingress-nginx is told, value by value, before it is replaced.

Nothing is decided here a second time: annotations and settings are read by the dialect, objects by the
translator, and what they report is what is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import RouteGraph
from ingresskit.migrate.findings import Analysis, Finding, Outcome, Proposal
from ingresskit.migrate.flags import FLAGS, ControllerFlags
from ingresskit.migrate.probes import probes_of
from ingresskit.migrate.streams import stream_entries
from ingresskit.models import (
    ConfigMap,
    Ingress,
    IngressClass,
    IngressClassSpec,
    KubeObject,
    ObjectKey,
    ObjectMeta,
    ObjectRef,
    Snapshot,
)
from ingresskit.policies import (
    AnnotationDoc,
    IngressNginxDialect,
    KubernetesDialect,
    PolicyRegistry,
    Risk,
    Status,
)
from ingresskit.render import Restricted
from ingresskit.translate import HostOwnership, TranslateOptions, translate

__all__ = ["analyse", "options_for", "served_by_ingress_nginx"]

K = TypeVar("K", bound=KubeObject)


# What ingress-nginx does in the same way: 503 without endpoints, its own certificate without a Secret, and
# of two rules for one path that of the older Ingress.
_SAME_THERE: Final = frozenset(
    {
        *(Reason.NO_ENDPOINTS, Reason.SERVICE_NOT_FOUND, Reason.SERVICE_PORT_NOT_FOUND),
        *(Reason.SECRET_NOT_FOUND, Reason.CERTIFICATE_INVALID, Reason.CERTIFICATE_EXPIRED),
        *(Reason.CERTIFICATE_HOST_MISMATCH, Reason.TLS_HOST_WITHOUT_RULE, Reason.DEFAULT_BACKEND_UNUSED),
        *(Reason.CONFIG_MAP_NOT_FOUND, Reason.ROUTE_CONFLICT),
    }
)
_MOST_VALUE: Final = 200


class _Objects:
    """A snapshot that remembers what was asked for and is not in it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.missing: set[ObjectKey] = set()

    def __call__(self, kind: type[K], key: ObjectKey, /) -> K | None:
        found = self._snapshot.get(kind, key)
        if found is None:
            self.missing.add(key)
        return found


def analyse(
    objects: Iterable[KubeObject],
    flags: ControllerFlags | None = None,
    *,
    restrict: Callable[[RouteGraph], Restricted] | None = None,
) -> Analysis:
    """What becomes of everything that ingress-nginx is told.

    Args:
        objects: Ingresses, IngressClasses, Services, Secrets and ConfigMaps, as far as they are known. A
            class of ingress-nginx that is not among them is taken to be there.
        flags: Those that ingress-nginx is run with; ``None``: its defaults.
        restrict: That of the renderer whose limits count; ``None``: nothing limits.
    """
    flags = flags or ControllerFlags()
    snapshot, settings = served_by_ingress_nginx(objects, flags)
    options = options_for(flags, settings)
    translation = translate(snapshot, options, now=datetime.now(UTC))
    graph, diagnostics = translation.graph, translation.diagnostics
    if restrict is not None:
        diagnostics = (*diagnostics, *restrict(graph).diagnostics)
    by_subject: dict[ObjectRef, list[Diagnostic]] = {}
    for item in diagnostics:
        by_subject.setdefault(item.subject, []).append(item)
    ingresses = snapshot.by_key(Ingress)
    ours = [item for item in ingresses.values() if item.ref not in translation.not_ours]
    table = {doc.name: doc for doc in IngressNginxDialect().table()}
    findings: list[Finding] = [
        *_of_flags(flags),
        *_of_settings(snapshot, settings, by_subject),
        *_of_streams(flags, snapshot),
    ]
    closed: dict[ObjectRef, str] = {}
    for ingress in ours:
        found = tuple(
            _of_ingress(ingress, by_subject.get(ingress.ref, []), table, flags, snapshot, options, graph)
        )
        findings += found
        lost = [item for item in by_subject.get(ingress.ref, ()) if item.severity is Severity.ERROR]
        closing = next((item for item in lost if "respond 503" in item.message), None)
        if closing is not None:
            closed[ingress.ref] = f"{closing.field}: {closing.message}"
    return Analysis(
        ingresses=len(ingresses),
        ours=len(ours),
        findings=tuple(findings),
        proposals=tuple(_proposals(flags, ours, settings)),
        closed=closed,
    )


def served_by_ingress_nginx(
    objects: Iterable[KubeObject], flags: ControllerFlags
) -> tuple[Snapshot, ObjectKey | None]:
    """*objects* with the class of ingress-nginx, and its ConfigMap where that is among them."""
    given = list(objects)
    classes = {item.metadata.name for item in given if isinstance(item, IngressClass)}
    if flags.ingress_class not in classes:
        meta = ObjectMeta(name=flags.ingress_class)
        given.append(IngressClass(metadata=meta, spec=IngressClassSpec(controller=flags.controller_class)))
    snapshot, settings = Snapshot.of(given), flags.configmap
    if settings is not None and snapshot.get(ConfigMap, settings) is None:
        settings = None
    return snapshot, settings


def options_for(flags: ControllerFlags, settings: ObjectKey | None) -> TranslateOptions:
    """The options that come nearest to *flags* of ingress-nginx.

    Args:
        flags: Those that it is run with.
        settings: Its ConfigMap, where that is known.
    """
    dialect = IngressNginxDialect(
        prefix=flags.prefix, settings=settings, passthrough=flags.on("enable-ssl-passthrough")
    )
    return TranslateOptions(
        controller_name=flags.controller_class,
        ingress_class=flags.ingress_class,
        watch_ingress_without_class=flags.on("watch-ingress-without-class"),
        policies=PolicyRegistry((dialect, KubernetesDialect())),
        # As ingress-nginx: rules of all namespaces are merged.
        host_ownership=HostOwnership.SHARED,
    )


def _of_flags(flags: ControllerFlags) -> Iterator[Finding]:
    subject = ObjectRef("Deployment", ObjectKey(flags.namespace, "ingress-nginx-controller"))
    for name, value in flags.values.items():
        doc = FLAGS.get(name)
        if doc is None:
            outcome, message = Outcome.UNNEEDED, "ingress-nginx has no such flag"
        elif not ControllerFlags.asks(name, value):
            outcome, message = Outcome.SAME, ""
        elif doc.lost:
            outcome, message = Outcome.DIFFERENT if doc.here else Outcome.LOST, doc.note
        elif doc.here:
            outcome, message = Outcome.SAME, f"give {doc.here.format(value)}"
        else:
            outcome, message = Outcome.UNNEEDED, doc.note
        yield Finding(
            subject=subject,
            field=f"--{name}",
            name=name,
            value=value[:_MOST_VALUE],
            outcome=outcome,
            message=message,
        )


def _of_settings(
    snapshot: Snapshot, settings: ObjectKey | None, by_subject: Mapping[ObjectRef, list[Diagnostic]]
) -> Iterator[Finding]:
    config = None if settings is None else snapshot.get(ConfigMap, settings)
    if config is None:
        return
    subject = ObjectRef(ConfigMap.kind, config.key)
    reported = {item.field: item for item in by_subject.get(subject, ())}
    for key, value in sorted(config.data.items()):
        fault = reported.get(f"data[{key}]")
        outcome = Outcome.SAME if fault is None else Outcome.LOST
        yield Finding(
            subject=subject,
            field=f"data[{key}]",
            name=key,
            value=value[:_MOST_VALUE],
            outcome=outcome,
            message="" if fault is None else fault.message,
        )


def _of_streams(flags: ControllerFlags, snapshot: Snapshot) -> Iterator[Finding]:
    for entry in stream_entries(flags, snapshot):
        if entry.unread:
            outcome, message = Outcome.UNKNOWN, f"--{entry.flag} names it, and it was not given"
        elif entry.fault:
            outcome, message = Outcome.UNNEEDED, f"{entry.fault}: ingress-nginx leaves it out"
        elif entry.lost:
            outcome, message = Outcome.LOST, entry.lost
        elif entry.missing:
            outcome, message = Outcome.UNKNOWN, "the Service is not among the objects"
        else:
            outcome, message = Outcome.SAME, ""
        yield Finding(
            subject=entry.subject,
            field=f"data[{entry.port}]" if entry.port else "data",
            name=entry.port,
            value=entry.value[:_MOST_VALUE],
            outcome=outcome,
            message=message,
        )


def _of_ingress(
    ingress: Ingress,
    diagnostics: list[Diagnostic],
    table: Mapping[str, AnnotationDoc],
    flags: ControllerFlags,
    snapshot: Snapshot,
    options: TranslateOptions,
    graph: RouteGraph,
) -> Iterator[Finding]:
    objects = _Objects(snapshot)
    options.policies.read(ingress.metadata.annotations, ingress.ref, objects)
    start = f"{flags.prefix}/"
    reported: dict[str, list[Diagnostic]] = {}
    for item in diagnostics:
        reported.setdefault(item.field, []).append(item)
    for key, value in sorted(ingress.metadata.annotations.items()):
        if key.startswith(start):
            name, place = key.removeprefix(start), f"metadata.annotations[{key}]"
            faults = reported.pop(place, [])
            finding = _of_annotation(ingress, place, name, value, table.get(name), faults)
            if faults and _names_missing(value, objects.missing):
                finding = replace(finding, outcome=Outcome.UNKNOWN)
            yield _with_example(finding, ingress, graph)
    for place, faults in reported.items():
        worst = max(faults, key=lambda item: item.severity is Severity.ERROR)
        if worst.reason in _SAME_THERE or place.startswith("metadata.annotations["):
            continue
        outcome = Outcome.LOST if worst.severity is Severity.ERROR else Outcome.DIFFERENT
        finding = Finding(subject=ingress.ref, field=place, outcome=outcome, message=worst.message)
        yield _with_example(finding, ingress, graph)


def _of_annotation(
    ingress: Ingress, place: str, name: str, value: str, doc: AnnotationDoc | None, faults: list[Diagnostic]
) -> Finding:
    errors = [item for item in faults if item.severity is Severity.ERROR]
    message = (errors or faults)[0].message if faults else ""
    if doc is None:
        outcome = Outcome.UNNEEDED
    elif errors:
        outcome = Outcome.LOST
    elif faults:
        outcome = Outcome.LOST if doc.status is Status.REPORTED else Outcome.DIFFERENT
    elif doc.status is Status.WITHOUT_EFFECT:
        outcome, message = Outcome.UNNEEDED, doc.note
    else:
        outcome = Outcome.SAME
    return Finding(
        subject=ingress.ref,
        field=place,
        name=name,
        value=value[:_MOST_VALUE],
        outcome=outcome,
        message=message,
        risk=Risk.LOW if doc is None else doc.risk,
    )


def _names_missing(value: str, missing: set[ObjectKey]) -> bool:
    return any(key.name and key.name in value for key in missing)


def _with_example(finding: Finding, ingress: Ingress, graph: RouteGraph) -> Finding:
    """A request for the rule that the finding is about, or for the first rule of the Ingress."""
    if finding.outcome not in (Outcome.DIFFERENT, Outcome.LOST):
        return finding
    rules = ingress.spec.rules
    place = finding.field.removeprefix("spec.rules[").partition("]")[0]
    rule = rules[int(place)] if place.isdecimal() and int(place) < len(rules) else next(iter(rules), None)
    if rule is None:
        return finding
    host = (rule.host or "*").lower()
    request = next(iter(probes_of(graph, host)))
    paths = rule.http.paths if rule.http is not None else ()
    path = next((item.path for item in paths if item.path and item.path.startswith("/")), "/")
    return replace(finding, example=replace(request, path=path))


def _proposals(flags: ControllerFlags, ours: list[Ingress], settings: ObjectKey | None) -> Iterator[Proposal]:
    yield Proposal(flag="--dialect ingress-nginx", why="annotations are read as ingress-nginx reads them")
    if "controller-class" not in flags.values:
        yield Proposal(
            flag=f"--controller-name {flags.controller_class}", why="the controller of its IngressClasses"
        )
    if "ingress-class" not in flags.values:
        yield Proposal(flag=f"--ingress-class {flags.ingress_class}", why="the class of older Ingresses")
    for name, value in flags.values.items():
        doc = FLAGS.get(name)
        if doc is None or not doc.here or not ControllerFlags.asks(name, value):
            continue
        if name == "configmap" and settings is None:
            yield Proposal(flag=doc.here.format(value), why="its ConfigMap was not given, and is not judged")
        elif name == "publish-status-address":
            for address in value.split(","):
                yield Proposal(flag=doc.here.format(address.strip()), why=f"--{name}")
        else:
            yield Proposal(flag=doc.here.format(value), why=f"--{name}")
    if shared := _shared_hosts(ours):
        named = ", ".join(shared[:3]) + (f" and {len(shared) - 3} more" if len(shared) > 3 else "")
        why = f"namespaces share hosts: {named}"
        yield Proposal(flag="--host-ownership shared", why=why)


def _shared_hosts(ours: list[Ingress]) -> list[str]:
    namespaces: dict[str, set[str]] = {}
    for ingress in ours:
        for rule in ingress.spec.rules:
            namespaces.setdefault((rule.host or "*").lower(), set()).add(ingress.metadata.namespace)
    return sorted(host for host, found in namespaces.items() if len(found) > 1)
