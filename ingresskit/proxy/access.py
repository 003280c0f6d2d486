"""What the access log says about one request: the same for every proxy, so it stands below all of them."""

from ingresskit.render.access import AccessRecord

__all__ = ["AccessRecord"]
