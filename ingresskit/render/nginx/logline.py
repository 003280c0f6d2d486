"""One line of nginx's access log, in both modes: a JSON object of texts, as nginx's variables are.

``client``, ``method``, ``host``, ``path``, ``rule``, ``backend`` (an id), ``id`` and ``reason`` (a
`ingresskit.graph.Termination`) are as in `ingresskit.render.access.AccessRecord`; the others are nginx's own
variables. Lists of tries are separated by commas, and by colons where nginx began anew.
"""

from __future__ import annotations

from typing import Final

from ingresskit.render.nginx.tree import Value, Variable

__all__ = ["LOG_LINE", "LOG_VARIABLES"]

LOG_VARIABLES: Final = {
    "time": "time_iso8601",
    "client": "ik_client",
    "method": "request_method",
    "host": "ik_log_host",
    "path": "ik_log_path",
    "status": "ik_status",
    "sent": "body_bytes_sent",
    "seconds": "request_time",
    "rule": "ik_rule",
    "backend": "ik_backend",
    "id": "ik_request_id",
    "reason": "ik_reason",
    "complete": "request_completion",
    "length": "upstream_http_content_length",
    "upstream": "upstream_addr",
    "upstreamStatus": "upstream_status",
    "upstreamConnect": "upstream_connect_time",
    "upstreamHeader": "upstream_header_time",
    "upstreamLength": "upstream_response_length",
    "upstreamReceived": "upstream_bytes_received",
}
"""By the name of each member, the variable of nginx that it holds."""


def _line() -> Value:
    parts: list[str | Variable] = ["{"]
    for index, (name, variable) in enumerate(LOG_VARIABLES.items()):
        parts += [f'{"," if index else ""}"{name}":"', Variable(variable), '"']
    return Value(*parts, "}")


LOG_LINE: Final = _line()
"""The format, for ``log_format … escape=json``."""
