"""The command ``ingresskit``, and programs in one call: the only room with flags, signals and log set-up."""

from ingresskit.app.command import main, run_controller
from ingresskit.app.program import ProxyProgram, run, serve

__all__ = ["ProxyProgram", "main", "run", "run_controller", "serve"]
