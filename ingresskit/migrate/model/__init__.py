"""What ingress-nginx does with a request: a model of it."""

from __future__ import annotations

from ingresskit.migrate.model.model import IngressNginxModel
from ingresskit.migrate.model.prediction import Prediction

__all__ = ["IngressNginxModel", "Prediction"]
