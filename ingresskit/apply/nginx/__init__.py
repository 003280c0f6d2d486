"""A running nginx, and artifacts put live in it."""

from ingresskit.apply.nginx.applier import NginxApplier
from ingresskit.apply.nginx.nginx import Nginx
from ingresskit.apply.nginx.probe import Found, find_nginx
from ingresskit.apply.nginx.settings import NginxProcessSettings
from ingresskit.apply.nginx.statistics import NginxBackendStatistics, NginxStatistics
from ingresskit.apply.nginx.workers import Workers

__all__ = [
    "Found",
    "Nginx",
    "NginxApplier",
    "NginxBackendStatistics",
    "NginxProcessSettings",
    "NginxStatistics",
    "Workers",
    "find_nginx",
]
