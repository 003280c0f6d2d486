"""Routes that a program hands to a delegate: the in-process data plane beside it."""

from ingresskit.render.delegate.chosen import DELEGATE_FIELD, ChosenRoute
from ingresskit.render.delegate.handover import DELEGATE, SHORT_BODY_BYTES, WHOLE_HOST, HandedOver, Handover
from ingresskit.render.delegate.renderer import Delegated, DelegatingRenderer
from ingresskit.render.delegate.settings import DelegateSettings

__all__ = [
    "DELEGATE",
    "DELEGATE_FIELD",
    "SHORT_BODY_BYTES",
    "WHOLE_HOST",
    "ChosenRoute",
    "DelegateSettings",
    "Delegated",
    "DelegatingRenderer",
    "HandedOver",
    "Handover",
]
