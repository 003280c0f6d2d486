"""Leader election on a Lease: who writes to the cluster. Every replica serves, leader or not."""

from ingresskit.controller.leader.elector import LeaderElector, steady_clock
from ingresskit.controller.leader.settings import LeaderSettings
from ingresskit.controller.leader.term import Term

__all__ = ["LeaderElector", "LeaderSettings", "Term", "steady_clock"]
