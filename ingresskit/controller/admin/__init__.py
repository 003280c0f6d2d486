"""The admin server: health, metrics, a read-only API and the dashboard. Needs the extra ``admin`` to run."""

from ingresskit.controller.admin.access import Authenticator, BasicFile, TokenFile
from ingresskit.controller.admin.server import AdminServer
from ingresskit.controller.admin.settings import AdminSettings

__all__ = ["AdminServer", "AdminSettings", "Authenticator", "BasicFile", "TokenFile"]
