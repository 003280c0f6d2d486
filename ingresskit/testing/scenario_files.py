"""Scenarios as people write them: YAML, with a short form for what every scenario has.

A file is one feature::

    source: KEP-1453, "Path matching"
    services: [foo, bar]                        # a Service and a ready endpoint each
    cases:
    - name: Exact takes no trailing slash
      ingresses:
      - rules: {a.test: {=/foo: foo}}           # as `ingresskit.testing.ingress` takes them
      requests:
      - {host: a.test, path: /foo, to: foo}
      - {host: a.test, path: /foo/, status: 404}

Beside the short forms, ``objects`` takes manifests as the API has them.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from ingresskit.errors import ConfigurationError
from ingresskit.graph import BackendKey
from ingresskit.models import (
    ConfigMap,
    KubeObject,
    Namespace,
    ObjectKey,
    ObjectMeta,
    Secret,
    SliceEndpoint,
    decode_any,
)
from ingresskit.policies import (
    INGRESS_NGINX_PREFIX,
    Dialect,
    IngressNginxDialect,
    KubernetesDialect,
    NativeDialect,
    PolicyRegistry,
)
from ingresskit.policies.values import parse_networks
from ingresskit.testing._scenario_form import (
    NAMESPACE,
    Case,
    File,
    Options,
    Request,
    Slice,
    World,
    WrittenClass,
    WrittenEndpoint,
    WrittenIngress,
    WrittenSecret,
    WrittenService,
)
from ingresskit.testing.authorities import ca_secret, make_authority
from ingresskit.testing.builders import endpoint, endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.certificates import make_certificate, tls_secret
from ingresskit.testing.scenario import Ask, Scenario, Want
from ingresskit.translate import (
    DefaultBackend,
    DestinationPolicy,
    LabelSelector,
    Scope,
    TranslateOptions,
)

__all__ = ["load_annotation_scenarios", "load_scenarios", "read_scenarios"]


@functools.cache
def load_scenarios() -> tuple[Scenario, ...]:
    """Every scenario that comes with ingresskit, by feature and then in the order written.

    Raises:
        ConfigurationError: The extra ``files`` or ``tls`` is not installed.
    """
    return _loaded("scenarios")


@functools.cache
def load_annotation_scenarios() -> tuple[Scenario, ...]:
    """Every scenario about an annotation of ingress-nginx, by feature and then in the order written.

    `Scenario.shows` names the annotations. They need what not every renderer can do without a delegate.

    Raises:
        ConfigurationError: The extra ``files`` or ``tls`` is not installed.
    """
    return _loaded("scenarios/ingress-nginx")


def _loaded(path: str) -> tuple[Scenario, ...]:
    folder = importlib.resources.files("ingresskit.testing") / path
    files = sorted(
        (item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name
    )
    scenarios = [read_scenarios(item.read_text("utf-8"), item.name.removesuffix(".yaml")) for item in files]
    return tuple(scenario for group in scenarios for scenario in group)


def read_scenarios(text: str, feature: str) -> tuple[Scenario, ...]:
    """The scenarios of one file, in its order.

    Args:
        text: YAML in the form this module describes.
        feature: What they belong to.

    Raises:
        ConfigurationError: It is not YAML, not of that form, an object in it cannot be decoded, or two
            scenarios have one name; or the extra ``files`` or ``tls`` is not installed.
        DecodeError: A manifest under ``objects`` cannot be read.
    """
    try:
        import yaml
    except ImportError as exc:
        raise ConfigurationError("scenarios need the extra ingresskit[files]") from exc
    import pydantic

    try:
        written = pydantic.TypeAdapter(File).validate_python(yaml.safe_load(text))
    except (yaml.YAMLError, pydantic.ValidationError) as exc:
        raise ConfigurationError(f"the scenarios of {feature} cannot be read: {exc}") from exc
    names = [case.name for case in written.cases]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two scenarios of {feature} are called {name!r}")
    return tuple(_scenario(written, case, feature) for case in written.cases)


def _scenario(shared: File, case: Case, feature: str) -> Scenario:
    objects = [*_objects(case, shared), *_classes(shared if case.classes is None else case)]
    for world in (shared, case):
        objects += (_ingress(item) for item in world.ingresses)
        objects += (_secret(item) for item in world.secrets)
        if world.authority:
            objects.append(ca_secret(make_authority(), name=world.authority))
        objects += (_namespace(name, labels) for name, labels in world.namespaces.items())
    return Scenario(
        feature=feature,
        name=case.name,
        source=case.source or shared.source,
        objects=tuple(objects),
        options=_translate_options(case.options if case.options != Options() else shared.options),
        now=case.now,
        wants=tuple(_want(item) for item in case.requests),
        endpoints={_backend_key(key): tuple(items) for key, items in case.endpoints.items()},
        diagnostics=tuple(sorted(case.diagnostics)),
        shows={name: frozenset(text.replace(",", " ").split()) for name, text in case.shows.items()},
    )


def _objects(case: Case, shared: File) -> Iterable[KubeObject]:
    """Services with their endpoints; those without any get one, 10.0.0.1 and so on in the order written."""
    number = 0
    for item in (*shared.services, *case.services):
        if isinstance(item, str):
            namespace, _, name = item.rpartition("/")
            item = WrittenService(name=name, namespace=namespace or NAMESPACE)
        yield service(
            item.name,
            item.ports,
            namespace=item.namespace,
            type=item.type,
            external_name=item.external_name,
            app_protocol=item.app_protocol,
        )
        if item.slices is None and item.endpoints is None and item.external_name is None:
            number += 1
            item = dataclasses.replace(item, endpoints=[f"10.0.0.{number}"])
        slices = item.slices or []
        if item.endpoints is not None:
            slices = [*slices, Slice(endpoints=item.endpoints, ports=item.target)]
        for index, part in enumerate(slices, 1):
            yield endpoint_slice(
                item.name,
                *map(_endpoint, part.endpoints),
                ports=part.ports,
                namespace=item.namespace,
                name=f"{item.name}-{index}",
            )
    settings = (case.options if case.options != Options() else shared.options).settings
    if settings:
        yield ConfigMap(metadata=ObjectMeta(namespace=_SETTINGS.namespace, name=_SETTINGS.name), data=settings)
    for index, manifest in enumerate((*shared.objects, *case.objects)):
        decoded = decode_any(manifest, location=f"{case.name}, object {index + 1}")
        if decoded is None:
            raise ConfigurationError(f"{case.name}: object {index + 1} is of a kind that is not read")
        yield decoded


def _endpoint(item: str | WrittenEndpoint) -> SliceEndpoint:
    if isinstance(item, str):
        return endpoint(item)
    return endpoint(
        item.address, ready=item.ready, serving=item.serving, terminating=item.terminating, zone=item.zone
    )


def _classes(world: World) -> Iterable[KubeObject]:
    for item in world.classes if world.classes is not None else [WrittenClass()]:
        yield ingress_class(item.name, controller=item.controller, default=item.default, created=item.created)


def _ingress(item: WrittenIngress) -> KubeObject:
    return ingress(
        item.name,
        cast("Mapping[str, Mapping[str, str] | None]", item.rules),
        namespace=item.namespace,
        created=item.created,
        ingress_class=item.ingress_class,
        default=item.default,
        tls=item.tls,
        annotations={
            **item.annotations,
            **{f"{INGRESS_NGINX_PREFIX}/{name}": text for name, text in item.nginx.items()},
        },
        labels=item.labels,
    )


def _secret(item: WrittenSecret) -> Secret:
    """``fault``: what is wrong with it: mismatched, encrypted, no-key, no-certificate or garbage."""
    good = tls_secret(
        *item.hosts,
        name=item.name,
        namespace=item.namespace,
        salt=item.salt,
        not_before=item.not_before,
        not_after=item.not_after,
    )
    match item.fault:
        case "":
            return good
        case "mismatched":
            data = {**good.data, "tls.key": make_certificate("other.test").private_key}
        case "encrypted":
            data = {**good.data, "tls.key": _encrypted_key()}
        case "no-key":
            data = {"tls.crt": good.data["tls.crt"]}
        case "no-certificate":
            data = {"tls.key": good.data["tls.key"]}
        case "garbage":
            data = {**good.data, "tls.crt": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}
        case _:
            raise ConfigurationError(f"a Secret cannot have the fault {item.fault!r}")
    return dataclasses.replace(good, data=data)


@functools.cache
def _encrypted_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


def _namespace(name: str, labels: Mapping[str, str]) -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name, labels=labels))


def _translate_options(item: Options) -> TranslateOptions:
    made = TranslateOptions(
        controller_name=item.controller_name,
        ingress_class=item.ingress_class,
        watch_ingress_without_class=item.watch_ingress_without_class,
        default_backend=_default_backend(item.default_backend),
        default_certificate=_key(item.default_certificate) if item.default_certificate else None,
        host_ownership=item.host_ownership,
        host_fallthrough=item.host_fallthrough,
        destinations=DestinationPolicy(
            allow=parse_networks(item.allow) if item.allow else (), external_names=item.external_names
        ),
        scope=Scope(
            namespaces=frozenset(item.namespaces),
            namespace_selector=LabelSelector.parse(item.namespace_selector)
            if item.namespace_selector
            else None,
            ingress_selector=LabelSelector.parse(item.ingress_selector) if item.ingress_selector else None,
        ),
    )
    return made if item.dialects == ["native"] else replace(made, policies=_registry(item))


_SETTINGS = ObjectKey("ops", "settings")


def _registry(item: Options) -> PolicyRegistry:
    """The dialects in the order in which the later one wins, and Kubernetes' own behind them."""
    made: list[Dialect] = []
    for name in item.dialects:
        match name:
            case "native":
                made.append(NativeDialect())
            case "ingress-nginx":
                made.append(
                    IngressNginxDialect(
                        settings=_SETTINGS if item.settings else None, passthrough=item.passthrough
                    )
                )
            case _:
                raise ConfigurationError(f"there is no dialect {name!r}")
    return PolicyRegistry([*made, KubernetesDialect()])


def _default_backend(text: str | None) -> DefaultBackend | None:
    if not text:
        return None
    name, _, port = text.partition(":")
    return DefaultBackend(_key(name), int(port) if port else None)


def _key(text: str) -> ObjectKey:
    namespace, _, name = text.rpartition("/")
    return ObjectKey(namespace or NAMESPACE, name)


def _backend_key(text: str) -> BackendKey:
    name, _, port = text.partition(":")
    return BackendKey(*_key(name), int(port or 80))


def _want(item: Request) -> Want:
    services = [item.to] if isinstance(item.to, str) else item.to
    name = item.server_name
    if item.tls and name is None:
        name = item.host.partition(":")[0]
    return Want(
        ask=Ask(
            host=item.host,
            path=item.path,
            tls=item.tls,
            server_name=name or None,
            method=item.method,
            headers=item.headers,
            size=item.size,
            chunked=item.chunked,
            client=item.client,
            ciphers=item.ciphers,
        ),
        times=item.times,
        keeps_cookies=item.keeps_cookies,
        together=item.together,
        statuses=frozenset(item.statuses),
        sticks=item.sticks,
        has=item.has,
        sees=item.sees,
        size=item.received,
        copies=frozenset(str(_key(text)) for text in item.copies),
        status=item.status,
        services=frozenset(str(_key(text)) for text in services),
        endpoints=frozenset(item.endpoints),
        location=item.location,
        certificate=str(_key(item.certificate)) if item.certificate else item.certificate,
        forwarded=item.forwarded,
        request_headers=item.request_headers,
        response_headers=item.response_headers,
    )
