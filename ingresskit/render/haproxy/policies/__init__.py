"""What each policy becomes in HAProxy, one file per theme. Adding a policy takes a handler in its theme."""

from ingresskit.render.haproxy.policies.base import DECIDING, Context, Draft, Handler, SettingRow
from ingresskit.render.haproxy.policies.limits import REWRITE_BYTES
from ingresskit.render.haproxy.policies.table import TABLE
from ingresskit.render.haproxy.policies.upstream import CONNECT_STEPS

__all__ = ["CONNECT_STEPS", "DECIDING", "REWRITE_BYTES", "TABLE", "Context", "Draft", "Handler", "SettingRow"]
