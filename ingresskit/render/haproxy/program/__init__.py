"""The program: the text of ``haproxy.cfg``, which knows no tenant."""

from ingresskit.render.haproxy.program.assembly import program, slot_name

__all__ = ["program", "slot_name"]
