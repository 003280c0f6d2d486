"""The record of host claims over time: in memory, and in ConfigMaps that the leader writes."""

from ingresskit.controller.claims.keeper import ClaimKeeper

__all__ = ["ClaimKeeper"]
