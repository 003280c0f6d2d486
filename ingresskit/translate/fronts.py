"""The APIs that the translator reads."""

from __future__ import annotations

from ingresskit.policies import FOREIGN_FAMILIES, ForeignAnnotations
from ingresskit.translate.claims import Front
from ingresskit.translate.ingress.reading import IngressFront
from ingresskit.translate.options import TranslateOptions

__all__ = ["default_fronts", "foreign_annotations"]


def default_fronts(options: TranslateOptions) -> tuple[Front, ...]:
    """The fronts of the APIs that Kubernetes itself has, for one translator."""
    return (IngressFront(options, foreign_annotations(options)),)


def foreign_annotations(options: TranslateOptions) -> ForeignAnnotations:
    """What judges the annotations of other controllers."""
    return ForeignAnnotations(options.policies, FOREIGN_FAMILIES, protections=options.foreign_protections)
