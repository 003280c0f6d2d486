"""The record of host claims over time: in memory, and in ConfigMaps that the leader writes."""

from ingresskit.controller.claims.keeper import ClaimKeeper
from ingresskit.controller.claims.record import RECORD_KEY, RECORD_LABEL
from ingresskit.controller.claims.settings import HostClaimSettings
from ingresskit.controller.claims.writer import HostClaimWriter

__all__ = ["RECORD_KEY", "RECORD_LABEL", "ClaimKeeper", "HostClaimSettings", "HostClaimWriter"]
