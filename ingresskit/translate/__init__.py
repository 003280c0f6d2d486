"""From a snapshot to the route graph."""

from ingresskit.translate.budgets import Budgets
from ingresskit.translate.destinations import DestinationPolicy
from ingresskit.translate.ingress.referenced import ReferencedObjects
from ingresskit.translate.ingress.secrets import named_secrets
from ingresskit.translate.options import DefaultBackend, HostOwnership, Scope, TranslateOptions
from ingresskit.translate.places import Place
from ingresskit.translate.selectors import LabelSelector
from ingresskit.translate.translator import Translation, Translator, translate

__all__ = [
    "Budgets",
    "DefaultBackend",
    "DestinationPolicy",
    "HostOwnership",
    "LabelSelector",
    "Place",
    "ReferencedObjects",
    "Scope",
    "TranslateOptions",
    "Translation",
    "Translator",
    "named_secrets",
    "translate",
]
