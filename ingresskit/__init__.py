"""A typed SDK for writing Kubernetes ingress controllers.

The names here are those that most programs need; each room (``ingresskit.graph``,
``ingresskit.policies``, …) has the rest of its own. They are loaded on first use, so that
``import ingresskit`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingresskit.app import run, serve
    from ingresskit.apply import Applier, Dynamic, InProcessApplier, NoOp, Plan, Reload
    from ingresskit.controller import Controller, ControllerSettings, Outcome, reconcile
    from ingresskit.diagnostics import Diagnostic, Reason, Severity
    from ingresskit.errors import (
        ApplyError,
        CheckFailed,
        ConfigurationError,
        DecodeError,
        IngressKitError,
        RenderError,
        SourceError,
    )
    from ingresskit.filters import Explanation
    from ingresskit.graph import (
        Action,
        Backend,
        BackendKey,
        Certificate,
        Endpoint,
        Forward,
        PathKind,
        PathMatch,
        Protocol,
        Redirect,
        Request,
        Respond,
        Route,
        RouteGraph,
        VirtualHost,
        WeightedBackend,
    )
    from ingresskit.models import Ingress, IngressClass, ObjectKey, ObjectRef, Snapshot
    from ingresskit.policies import (
        NativeDialect,
        Origin,
        Policy,
        PolicyRegistry,
        PolicySet,
        annotated,
        default_policies,
    )
    from ingresskit.proxy import Proxy, ProxySettings
    from ingresskit.render import RenderedFile, Renderer, Rendering
    from ingresskit.render.inprocess import InProcessRenderer
    from ingresskit.sources import FileSource, MemorySource, Source
    from ingresskit.translate import (
        DefaultBackend,
        DestinationPolicy,
        HostOwnership,
        Scope,
        TranslateOptions,
        Translation,
        Translator,
    )

__all__ = [
    "Action",
    "Applier",
    "ApplyError",
    "Backend",
    "BackendKey",
    "Certificate",
    "CheckFailed",
    "ConfigurationError",
    "Controller",
    "ControllerSettings",
    "DecodeError",
    "DefaultBackend",
    "DestinationPolicy",
    "Diagnostic",
    "Dynamic",
    "Endpoint",
    "Explanation",
    "FileSource",
    "Forward",
    "HostOwnership",
    "InProcessApplier",
    "InProcessRenderer",
    "Ingress",
    "IngressClass",
    "IngressKitError",
    "MemorySource",
    "NativeDialect",
    "NoOp",
    "ObjectKey",
    "ObjectRef",
    "Origin",
    "Outcome",
    "PathKind",
    "PathMatch",
    "Plan",
    "Policy",
    "PolicyRegistry",
    "PolicySet",
    "Protocol",
    "Proxy",
    "ProxySettings",
    "Reason",
    "Redirect",
    "Reload",
    "RenderError",
    "RenderedFile",
    "Renderer",
    "Rendering",
    "Request",
    "Respond",
    "Route",
    "RouteGraph",
    "Scope",
    "Severity",
    "Snapshot",
    "Source",
    "SourceError",
    "TranslateOptions",
    "Translation",
    "Translator",
    "VirtualHost",
    "WeightedBackend",
    "__version__",
    "annotated",
    "default_policies",
    "reconcile",
    "run",
    "serve",
]

__version__ = "0.1.0"

# Where each name lives. A test compares this with the imports above, which type checkers read.
_HOMES = {
    "Action": "ingresskit.graph",
    "Applier": "ingresskit.apply",
    "ApplyError": "ingresskit.errors",
    "Backend": "ingresskit.graph",
    "BackendKey": "ingresskit.graph",
    "Certificate": "ingresskit.graph",
    "CheckFailed": "ingresskit.errors",
    "ConfigurationError": "ingresskit.errors",
    "Controller": "ingresskit.controller",
    "ControllerSettings": "ingresskit.controller",
    "DecodeError": "ingresskit.errors",
    "DefaultBackend": "ingresskit.translate",
    "DestinationPolicy": "ingresskit.translate",
    "Diagnostic": "ingresskit.diagnostics",
    "Dynamic": "ingresskit.apply",
    "Endpoint": "ingresskit.graph",
    "Explanation": "ingresskit.filters",
    "FileSource": "ingresskit.sources",
    "Forward": "ingresskit.graph",
    "HostOwnership": "ingresskit.translate",
    "InProcessApplier": "ingresskit.apply",
    "InProcessRenderer": "ingresskit.render.inprocess",
    "Ingress": "ingresskit.models",
    "IngressClass": "ingresskit.models",
    "IngressKitError": "ingresskit.errors",
    "MemorySource": "ingresskit.sources",
    "NativeDialect": "ingresskit.policies",
    "NoOp": "ingresskit.apply",
    "ObjectKey": "ingresskit.models",
    "ObjectRef": "ingresskit.models",
    "Origin": "ingresskit.policies",
    "Outcome": "ingresskit.controller",
    "PathKind": "ingresskit.graph",
    "PathMatch": "ingresskit.graph",
    "Plan": "ingresskit.apply",
    "Policy": "ingresskit.policies",
    "PolicyRegistry": "ingresskit.policies",
    "PolicySet": "ingresskit.policies",
    "Protocol": "ingresskit.graph",
    "Proxy": "ingresskit.proxy",
    "ProxySettings": "ingresskit.proxy",
    "Reason": "ingresskit.diagnostics",
    "Redirect": "ingresskit.graph",
    "Reload": "ingresskit.apply",
    "RenderError": "ingresskit.errors",
    "RenderedFile": "ingresskit.render",
    "Renderer": "ingresskit.render",
    "Rendering": "ingresskit.render",
    "Request": "ingresskit.graph",
    "Respond": "ingresskit.graph",
    "Route": "ingresskit.graph",
    "RouteGraph": "ingresskit.graph",
    "Scope": "ingresskit.translate",
    "Severity": "ingresskit.diagnostics",
    "Snapshot": "ingresskit.models",
    "Source": "ingresskit.sources",
    "SourceError": "ingresskit.errors",
    "TranslateOptions": "ingresskit.translate",
    "Translation": "ingresskit.translate",
    "Translator": "ingresskit.translate",
    "VirtualHost": "ingresskit.graph",
    "WeightedBackend": "ingresskit.graph",
    "annotated": "ingresskit.policies",
    "default_policies": "ingresskit.policies",
    "reconcile": "ingresskit.controller",
    "run": "ingresskit.app",
    "serve": "ingresskit.app",
}

if not TYPE_CHECKING:  # or every misspelt name would have a type

    def __getattr__(name: str) -> object:
        if (home := _HOMES.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
