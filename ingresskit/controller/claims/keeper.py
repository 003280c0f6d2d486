"""The record of host claims from one pass to the next."""

from __future__ import annotations

from dataclasses import replace

import anyio

from ingresskit.models import NO_CLAIMS, HostClaims, Snapshot

__all__ = ["ClaimKeeper"]


class ClaimKeeper:
    """Adds the record of host claims to each snapshot, and learns the one that follows.

    A namespace in the record keeps its hosts while it claims them. Kept in memory: after a restart the
    oldest claim on each host decides.
    """

    def __init__(self) -> None:
        self._claims: HostClaims = NO_CLAIMS
        self._revision = 0
        self._announced: HostClaims = NO_CLAIMS
        self._changed = anyio.Event()

    @property
    def claims(self) -> HostClaims:
        """The record as the last translation left it."""
        return self._claims

    @property
    def revision(self) -> int:
        """Counts the announced changes of the record."""
        return self._revision

    async def wait_changed(self, revision: int) -> None:
        """Return once `revision` is above *revision*."""
        while self._revision <= revision:
            await self._changed.wait()

    def add_to(self, snapshot: Snapshot) -> Snapshot:
        """*snapshot* with the record. May be called in any thread, by one at a time."""
        return replace(snapshot, claims=self._claims)

    def learn(self, claims: HostClaims) -> None:
        """Keep the record that a translation gave. May be called in any thread, by one at a time."""
        self._claims = claims

    def announce(self) -> None:
        """Wake up who waits, if the record changed. To be called on the event loop."""
        if self._claims is not self._announced:
            self._announced = self._claims
            self._revision += 1
            self._changed.set()
            self._changed = anyio.Event()
